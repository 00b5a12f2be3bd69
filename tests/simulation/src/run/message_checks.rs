//! Checks each message: it fails only for a reason, and is deleted only after it was carried out.

use orders::domain::State;
use serde_json::Value;
use uuid::Uuid;

use super::delivery::POISON_ID;
use super::world::World;
use crate::abandonment::{about, follows_abandonment};
use crate::handled::{Handled, HandlerResult};
use crate::network::MessageCopy;

/// The text of a handler that lost to other writers too often.
const CONTENDED: &str = "other writers kept getting in first";

/// The text of payments when the provider fails.
const UNANSWERED: &str = "the outcome is not known yet";

/// The end of that text if the provider took too long.
const TOO_LATE: &str = "deadline has elapsed";

impl World {
    /// Reports a message's violation. `undisturbed`: no fault occurred since the function began.
    pub(super) fn handled(&mut self, handled: &Handled, undisturbed: bool) {
        let Handled {
            id, order, kind, ..
        } = handled;
        let is_poison = *id == POISON_ID && self.poison.sent > 0;
        if let Some(violation) = handled.violation().filter(|_| !is_poison)
            && !follows_abandonment(&self.ledger, &order.to_string(), &violation)
        {
            self.report(violation);
        }
        match &handled.result {
            HandlerResult::Retried(why) if undisturbed && !self.is_provoked(*order, why) => {
                self.report(format!(
                    "{kind} of order {order} failed without a fault: {why}"
                ));
            }
            HandlerResult::Done(_) if !handled.queue.answers() => {
                let state = self
                    .ledger
                    .get(&order.to_string())
                    .map(|order| &order.state);
                if let Some(state) = state.filter(|state| waits_for(state, kind)) {
                    self.report(format!(
                        "order {order} handled its {kind} and is still {state}"
                    ));
                }
            }
            HandlerResult::Done(_) | HandlerResult::Retried(_) | HandlerResult::Wrong(_) => {}
        }
    }

    /// Whether contention, the payment method or a slow provider explains a failure without faults.
    fn is_provoked(&self, order: Uuid, why: &str) -> bool {
        let mut clients = self.actors.clients.iter();
        let client = clients.find(|client| client.order == order);
        let provoked = client.is_some_and(|client| client.request.fails_on_purpose());
        why.contains(CONTENDED) || why.contains(UNANSWERED) && (provoked || why.ends_with(TOO_LATE))
    }

    /// A message may be deleted once it was carried out and its answers were sent. Copies count one
    /// by one.
    pub(super) fn deleted(&mut self, copy: &MessageCopy, done: &mut Vec<(Uuid, Vec<String>)>) {
        let envelope: Value = serde_json::from_str(&copy.body).unwrap_or_default();
        let id = envelope["id"]
            .as_str()
            .and_then(|id| Uuid::parse_str(id).ok());
        let history = &self.network.history;
        let was_sent = |body: &String| history.iter().rev().any(|sent| sent.1 == *body);
        let of_it = |of: &Uuid| Some(*of) == id;
        let is_through =
            |(of, led_to): &(Uuid, Vec<String>)| of_it(of) && led_to.iter().all(was_sent);
        if let Some(position) = done.iter().position(is_through) {
            done.swap_remove(position);
            return;
        }
        let why = match done.iter().any(|(of, _)| of_it(of)) {
            true => "although its answer was not sent",
            false => "before it was handled",
        };
        let what = match about(&copy.body) {
            Some((order, kind)) => format!("{kind} of order {order}"),
            None => format!("the message {}", copy.body),
        };
        self.report(format!("{what} was deleted {why}"));
    }
}

/// Whether an order in this state waits for such an answer.
fn waits_for(state: &str, answer: &str) -> bool {
    let owed = State::parse(state).and_then(State::command);
    owed.is_some_and(|command| {
        let mut answers = command.action().answers();
        answers.any(|event| format!("{event:?}") == answer)
    })
}
