//! What can go wrong with a call, and the plan of which call it befalls.

use crate::wire::Call;
use std::{pin::Pin, sync::Arc};

/// What befalls one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the request arrives: nothing happened.
    BeforeEffect,
    /// The request took effect and the connection broke before the answer came.
    AfterEffect,
    /// The service refuses for its load: `ThrottlingException`, `RequestThrottled`. Nothing happened.
    Throttle,
    /// Another transaction holds the first item: a cancelled transaction with
    /// that reason, or a `TransactionConflictException` for a single write.
    TransactionConflict,
    /// A batch of messages is accepted but for the entries at these positions.
    PartialSend(Vec<usize>),
    /// A DynamoDB batch does the first key or write of each table and hands the rest back.
    Unprocessed,
    /// A DynamoDB batch does nothing and hands everything back.
    WhollyUnprocessed,
    /// A read that need not be current sees its table as it was before the last so many of its
    /// rows were written. Needs [`Aws::keep_history`](crate::Aws::keep_history).
    Stale(usize),
    /// The caller's process ends before the request arrives. Needs [`crashable`](fn@crate::crashable).
    KillBefore,
    /// The caller's process ends once the request took effect. Needs [`crashable`](fn@crate::crashable).
    KillAfter,
}

impl Fault {
    /// Whether AWS could answer this call so.
    pub fn can_befall(&self, call: &Call) -> bool {
        self.can_befall_action(&call.name())
            && (!matches!(self, Fault::Stale(_)) || call.may_be_stale())
    }

    /// Whether the request does what it asks for all the same, in part at least.
    pub fn takes_effect(&self) -> bool {
        match self {
            Fault::AfterEffect
            | Fault::KillAfter
            | Fault::PartialSend(_)
            | Fault::Unprocessed
            | Fault::Stale(_) => true,
            Fault::BeforeEffect
            | Fault::KillBefore
            | Fault::Throttle
            | Fault::TransactionConflict
            | Fault::WhollyUnprocessed => false,
        }
    }

    fn can_befall_action(&self, name: &str) -> bool {
        match self {
            Fault::BeforeEffect
            | Fault::AfterEffect
            | Fault::Throttle
            | Fault::KillBefore
            | Fault::KillAfter => true,
            Fault::TransactionConflict => matches!(
                name,
                "dynamodb:PutItem"
                    | "dynamodb:UpdateItem"
                    | "dynamodb:DeleteItem"
                    | "dynamodb:TransactWriteItems"
                    | "dynamodb:TransactGetItems"
            ),
            Fault::PartialSend(_) => name == "sqs:SendMessageBatch",
            Fault::Unprocessed | Fault::WhollyUnprocessed => {
                matches!(name, "dynamodb:BatchGetItem" | "dynamodb:BatchWriteItem")
            }
            Fault::Stale(_) => matches!(
                name,
                "dynamodb:GetItem" | "dynamodb:BatchGetItem" | "dynamodb:Query" | "dynamodb:Scan"
            ),
        }
    }
}

/// Decides each call as it comes; a simulation may also wait here for its turn.
/// A fault it names must be able to befall the call.
pub type Hook =
    Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Option<Fault>> + Send>> + Send + Sync>;

/// The faults that were asked for and have not come yet.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    writes_so_far: usize,
    at_write: Vec<(usize, Fault)>,
    on_action: Vec<(String, Fault)>,
    fired: usize,
}

impl Plan {
    pub(crate) fn at(&mut self, nth: usize, fault: Fault) {
        self.at_write.push((self.writes_so_far + nth, fault));
    }

    pub(crate) fn on(&mut self, action: &str, fault: Fault) {
        assert!(
            matches!(
                action.split_once(':'),
                Some(("dynamodb" | "sqs" | "ssm", _))
            ),
            "{action:?} is not a service and an action, as in dynamodb:PutItem"
        );
        assert!(
            fault.can_befall_action(action),
            "{fault:?} cannot befall {action}"
        );
        self.on_action.push((action.to_owned(), fault));
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes_so_far
    }

    pub(crate) fn fired(&self) -> usize {
        self.fired
    }

    pub(crate) fn count_fired(&mut self) {
        self.fired += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.at_write.clear();
        self.on_action.clear();
    }

    /// The fault planned for this call, which counts as a write where it is one.
    pub(crate) fn next(&mut self, call: &Call) -> Option<Fault> {
        let at_write = call.is_write().then(|| {
            let index = self.writes_so_far;
            self.writes_so_far += 1;
            take(&mut self.at_write, |planned, _| *planned == index)
        });
        if let Some(fault) = at_write.flatten().filter(|fault| fault.can_befall(call)) {
            return Some(fault);
        }
        take(&mut self.on_action, |planned, fault| {
            *planned == call.name() && fault.can_befall(call)
        })
    }
}

fn take<K>(planned: &mut Vec<(K, Fault)>, is_due: impl Fn(&K, &Fault) -> bool) -> Option<Fault> {
    let is_due = |(key, fault): &(K, Fault)| is_due(key, fault);
    let position = planned.iter().position(is_due)?;
    Some(planned.remove(position).1)
}
