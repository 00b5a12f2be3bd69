//! What became of each message: whether it failed for a reason, and was deleted only when it was
//! through.

use serde_json::Value;
use uuid::Uuid;

use super::delivery::POISON_ID;
use super::world::World;
use crate::abandoning::{about, is_of_abandoning};
use crate::handled::{Handled, How};
use crate::network::Copy;

/// How a handler says that others were always there first.
const CONTENDED: &str = "other writers kept getting in first";

/// How payments says that the provider fails.
const UNANSWERED: &str = "the outcome is not known yet";

/// How it goes on where it waited for the provider for all the time it has.
const TOO_LATE: &str = "deadline has elapsed";

impl World {
    /// Says what is wrong with what became of a message. `undisturbed` is a function that nothing
    /// can have befallen, for nothing went wrong anywhere since it began.
    pub(super) fn handled(&mut self, handled: &Handled, undisturbed: bool) {
        let Handled {
            id, order, kind, ..
        } = handled;
        let is_poison = *id == POISON_ID && self.poison.sent > 0;
        if let Some(complaint) = handled.complaint().filter(|_| !is_poison)
            && !is_of_abandoning(&self.books, &order.to_string(), &complaint)
        {
            self.wrong(complaint);
        }
        match &handled.how {
            How::Retried(why) if undisturbed && !self.is_provoked(*order, why) => {
                self.wrong(format!(
                    "{kind} of order {order} failed, and nothing had befallen its function: {why}"
                ));
            }
            How::Done(_) if !handled.queue.answers() => {
                let state = self.books.get(&order.to_string()).map(|order| &order.state);
                if let Some(state) = state.filter(|state| waits_for(state, kind)) {
                    self.wrong(format!("order {order} has its {kind} and is still {state}"));
                }
            }
            How::Done(_) | How::Retried(_) | How::Wrong(_) => {}
        }
    }

    /// Whether a payment method, or so many others at the same row, or a provider that seemed too slow
    /// while its function waited for others' calls, are reason enough to fail.
    fn is_provoked(&self, order: Uuid, why: &str) -> bool {
        let mut clients = self.people.clients.iter();
        let client = clients.find(|client| client.order == order);
        let provoked = client.is_some_and(|client| client.wish.provokes());
        why.contains(CONTENDED) || why.contains(UNANSWERED) && (provoked || why.ends_with(TOO_LATE))
    }

    /// A message is deleted when it was carried out and what it led to was taken, and not before. (Of
    /// answers that say the same, each was carried out for itself.)
    pub(super) fn deleted(&mut self, copy: &Copy, done: &mut Vec<(Uuid, Vec<String>)>) {
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
            true => "although what it led to was not sent",
            false => "without having been carried out",
        };
        let what = match about(&copy.body) {
            Some((order, kind)) => format!("{kind} of order {order}"),
            None => format!("the message {}", copy.body),
        };
        self.wrong(format!("{what} was deleted {why}"));
    }
}

/// Whether an order in this state waits for such an answer.
fn waits_for(state: &str, answer: &str) -> bool {
    match answer {
        "UserVerified" | "UserRefused" => state == "verifying",
        "StockReserved" | "StockRefused" => state == "reserving",
        "PaymentCharged" | "PaymentDeclined" => state == "charging",
        "PaymentRefunded" => state.starts_with("refunding"),
        "StockReleased" => state.starts_with("releasing"),
        _ => false,
    }
}
