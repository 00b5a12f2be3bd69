//! What became of a message, seen from inside its function.

use std::any::Any;
use std::iter;

use shared_lambda::envelope::Envelope;
use shared_lambda::sqs::{Failure, Outgoing};
use shared_lambda::table::TableError;
use shared_lambda::telemetry;
use uuid::Uuid;

use crate::participants::Queue;

/// What became of one message, seen from inside its function.
#[derive(Clone, Debug)]
pub struct Handled {
    pub queue: Queue,
    /// Of the envelope: every copy of a message has the same.
    pub id: Uuid,
    pub order: Uuid,
    pub kind: String,
    pub how: How,
}

#[derive(Clone, Debug)]
pub enum How {
    /// The bodies of the messages that it led to.
    Done(Vec<String>),
    /// It may succeed later: why it did not now.
    Retried(String),
    /// What only correct services avoid.
    Wrong(String),
}

impl How {
    /// A message between correct services can be carried out, if not now then later.
    pub fn of(handled: &Result<Result<Vec<Outgoing>, Failure>, Box<dyn Any + Send>>) -> Self {
        match handled {
            Err(panic) => Self::Wrong(format!("made its function panic: {}", said(&**panic))),
            Ok(Ok(messages)) => Self::Done(messages.iter().map(|m| m.body().to_owned()).collect()),
            Ok(Err(failure)) if !failure.is_retried() => {
                Self::Wrong(format!("can never be carried out: {}", failure.detail()))
            }
            Ok(Err(failure)) => {
                let cause = failure.cause().map(telemetry::chain).unwrap_or_default();
                let why = format!("{}: {cause}", failure.detail());
                match failure.cause().is_some_and(is_lasting) {
                    true => Self::Wrong(format!("is retried in vain: {why}")),
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
            how: How::Done(Vec::new()),
        }
    }

    /// What is wrong with it whatever went wrong elsewhere.
    pub fn complaint(&self) -> Option<String> {
        let Self { kind, order, .. } = self;
        match &self.how {
            How::Wrong(why) => Some(format!("{kind} of order {order} {why}")),
            // A command is a question.
            How::Done(answers) if answers.len() != 1 && self.queue.answers() => {
                let times = answers.len();
                Some(format!(
                    "{kind} of order {order} was answered {times} times"
                ))
            }
            How::Done(_) | How::Retried(_) => None,
        }
    }
}

/// What a panic said.
pub fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("nothing")
}

/// Whether a table failed, at the bottom of it, for a reason that does not go away by itself.
fn is_lasting(error: &(dyn std::error::Error + 'static)) -> bool {
    iter::successors(Some(error), |error| error.source()).any(|error| {
        let of_table = error.downcast_ref::<TableError>();
        of_table.is_some_and(|error| !error.is_transient())
    })
}
