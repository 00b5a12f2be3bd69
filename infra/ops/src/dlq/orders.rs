//! Checks whether an operator abandoned a command's step. A redrive must not repeat a refund that
//! was paid by hand.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::Queue;
use super::dead_letter::DeadLetter;
use crate::error::Result;

/// Asks `orders-admin` for an order.
pub type Ask<'a> = dyn Fn(Uuid) -> Result<Value> + 'a;

/// After this many failed calls in a row `orders-admin` is not called again, because each call may
/// take long.
const UNANSWERED: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// An operator abandoned this step.
    Abandoned(String),
    /// The reason why this is unknown.
    Unknown(String),
}

/// The orders of messages; each is asked for once.
pub struct Orders<'a> {
    ask: &'a Ask<'a>,
    known: BTreeMap<Uuid, std::result::Result<Value, String>>,
    unanswered: usize,
}

impl<'a> Orders<'a> {
    pub fn new(ask: &'a Ask<'a>) -> Self {
        Self {
            ask,
            known: BTreeMap::new(),
            unanswered: 0,
        }
    }

    /// Checks only commands: replies go to orders itself, and no reply can be abandoned.
    pub fn verdict(&mut self, queue: Queue, letter: &DeadLetter) -> Verdict {
        let Some(envelope) = letter
            .envelope
            .as_ref()
            .filter(|_| !queue.consumer.starts_with("orders-"))
        else {
            return Verdict::Send;
        };
        let answer = match self.order(envelope.order) {
            Ok(answer) => answer,
            Err(why) => return Verdict::Unknown(why.clone()),
        };
        let order = &answer["order"];
        match answer["outcome"].as_str() {
            // An older `orders-admin` returns neither `next` nor `abandoned`.
            Some("found") if order["next"].is_string() => {
                let forbids = |step: &&Value| {
                    let mut commands = step["commands"].as_array().into_iter().flatten();
                    commands.any(|command| *command == *envelope.kind)
                };
                let mut steps = order["abandoned"].as_array().into_iter().flatten();
                match steps.find(forbids) {
                    Some(step) => {
                        Verdict::Abandoned(step["step"].as_str().unwrap_or("step").to_owned())
                    }
                    None => Verdict::Send,
                }
            }
            Some("no_such_order") => Verdict::Send,
            _ => Verdict::Unknown(format!("orders-admin answers {answer}")),
        }
    }

    fn order(&mut self, id: Uuid) -> &std::result::Result<Value, String> {
        let (ask, unanswered) = (self.ask, &mut self.unanswered);
        self.known.entry(id).or_insert_with(|| {
            if *unanswered >= UNANSWERED {
                return Err(
                    "orders-admin did not answer before, so it was not called again".to_owned(),
                );
            }
            let answer = ask(id).map_err(|error| error.to_string());
            *unanswered = if answer.is_ok() { 0 } else { *unanswered + 1 };
            answer
        })
    }
}
