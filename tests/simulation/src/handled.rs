//! The result of a message, seen inside its function: the queue runner would hide it.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;

use futures_util::FutureExt;
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

/// The results of messages in one world, of all its functions.
#[derive(Clone, Default)]
pub struct Record(Rc<RefCell<Vec<Handled>>>);

impl Record {
    /// Records the result of a message. The queue runner would hide a panic or a refusal: it retries the
    /// message.
    pub async fn keep<T>(
        &self,
        about: Handled,
        handled: impl Future<Output = T>,
        result: impl FnOnce(&T) -> HandlerResult,
    ) -> T {
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        let result = match &handled {
            Ok(handled) => result(handled),
            Err(panic) => HandlerResult::Wrong(format!(
                "made its function panic: {}",
                panic_message(&**panic)
            )),
        };
        self.0.borrow_mut().push(Handled { result, ..about });
        handled.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The results since the last call.
    pub fn take(&self) -> Vec<Handled> {
        self.0.take()
    }
}

impl Handled {
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
