//! The faults of calls, and the plan of the calls they hit.

use crate::wire::Call;
use std::{pin::Pin, sync::Arc};

/// A fault of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the request arrives. No effect.
    BeforeEffect,
    /// The request takes effect, then the connection breaks.
    AfterEffect,
    /// The service throttles: `ThrottlingException`, `RequestThrottled`. No effect.
    Throttle,
    /// Another transaction holds the first item: a cancelled transaction with that reason, or a
    /// `TransactionConflictException` for a single write.
    TransactionConflict,
    /// A batch of messages is accepted, except the entries at these positions.
    PartialSend(Vec<usize>),
    /// A DynamoDB batch processes the first key or write of each table only.
    Unprocessed,
    /// A DynamoDB batch processes nothing.
    WhollyUnprocessed,
    /// An eventually consistent read misses this many of the last writes to its table. Needs
    /// [`Aws::keep_history`](crate::Aws::keep_history).
    Stale(usize),
    /// The process crashes before the request arrives. Needs [`crashable`](fn@crate::crashable).
    KillBefore,
    /// The process crashes after the request took effect. Needs [`crashable`](fn@crate::crashable).
    KillAfter,
}

impl Fault {
    /// Whether AWS could answer this call so.
    pub fn applies_to(&self, call: &Call) -> bool {
        self.applies_to_action(&call.name())
            && (!matches!(self, Fault::Stale(_)) || call.may_be_stale())
    }

    /// Whether the request takes effect, at least in part.
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

    fn applies_to_action(&self, name: &str) -> bool {
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

/// Decides the fault of each call, and may wait. The fault must apply to the call.
pub type Hook =
    Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Option<Fault>> + Send>> + Send + Sync>;

/// The planned faults.
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
            fault.applies_to_action(action),
            "{fault:?} does not apply to {action}"
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

    /// The fault planned for this call. Counts writes.
    pub(crate) fn next(&mut self, call: &Call) -> Option<Fault> {
        let at_write = call.is_write().then(|| {
            let index = self.writes_so_far;
            self.writes_so_far += 1;
            take(&mut self.at_write, |planned, _| *planned == index)
        });
        if let Some(fault) = at_write.flatten().filter(|fault| fault.applies_to(call)) {
            return Some(fault);
        }
        take(&mut self.on_action, |planned, fault| {
            *planned == call.name() && fault.applies_to(call)
        })
    }
}

fn take<K>(planned: &mut Vec<(K, Fault)>, is_due: impl Fn(&K, &Fault) -> bool) -> Option<Fault> {
    let is_due = |(key, fault): &(K, Fault)| is_due(key, fault);
    let position = planned.iter().position(is_due)?;
    Some(planned.remove(position).1)
}
