//! The result of a message, seen inside its function: the queue runner would hide it.

use std::any::Any;
use std::iter;

use shared_lambda::envelope::Envelope;
use shared_lambda::sqs::{Failure, Outgoing};
use shared_lambda::table::TableError;
use shared_lambda::telemetry;
use uuid::Uuid;

use crate::participants::Queue;

/// The result of one message.
#[derive(Clone, Debug)]
pub struct Handled {
    pub queue: Queue,
    /// The envelope's id: all copies of a message share it.
    pub id: Uuid,
    pub order: Uuid,
    pub kind: String,
    pub result: HandlerResult,
}

#[derive(Clone, Debug)]
pub enum HandlerResult {
    /// The bodies of the messages it sent.
    Done(Vec<String>),
    /// A retry may succeed: why it failed now.
    Retried(String),
    /// A failure that correct services never have.
    Wrong(String),
}

impl HandlerResult {
    /// Correct services can carry out every message, now or after a retry. A panic, a refusal and a
    /// lasting table error are bugs.
    pub fn of(handled: &Result<Result<Vec<Outgoing>, Failure>, Box<dyn Any + Send>>) -> Self {
        match handled {
            Err(panic) => Self::Wrong(format!(
                "made its function panic: {}",
                panic_message(&**panic)
            )),
            Ok(Ok(messages)) => Self::Done(messages.iter().map(|m| m.body().to_owned()).collect()),
            Ok(Err(failure)) if !failure.is_retried() => {
                Self::Wrong(format!("can never be carried out: {}", failure.detail()))
            }
            Ok(Err(failure)) => {
                let cause = failure.cause().map(telemetry::chain).unwrap_or_default();
                let why = format!("{}: {cause}", failure.detail());
                match failure.cause().is_some_and(is_lasting) {
                    true => Self::Wrong(format!("fails at every retry: {why}")),
                    false => Self::Retried(why),
                }
            }
        }
    }
}

impl Handled {
    pub fn of(queue: Queue, envelope: &Envelope) -> Self {
        Self {
            queue,
            id: envelope.id,
            order: envelope.subject,
            kind: envelope.kind.clone(),
            result: HandlerResult::Done(Vec::new()),
        }
    }

    /// The violation, if any, that no fault excuses.
    pub fn violation(&self) -> Option<String> {
        let Self { kind, order, .. } = self;
        match &self.result {
            HandlerResult::Wrong(why) => Some(format!("{kind} of order {order} {why}")),
            // A command has exactly one answer.
            HandlerResult::Done(answers) if answers.len() != 1 && self.queue.answers() => {
                let times = answers.len();
                Some(format!(
                    "{kind} of order {order} was answered {times} times"
                ))
            }
            HandlerResult::Done(_) | HandlerResult::Retried(_) => None,
        }
    }
}

/// The text of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("nothing")
}

/// Whether the root cause is a table error that no retry mends.
fn is_lasting(error: &(dyn std::error::Error + 'static)) -> bool {
    iter::successors(Some(error), |error| error.source()).any(|error| {
        let of_table = error.downcast_ref::<TableError>();
        of_table.is_some_and(|error| !error.is_transient())
    })
}
