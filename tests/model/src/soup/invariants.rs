//! What must be true in the soup: at every step, and at rest.

use inventory::domain::Reservation;
use orders::domain::{Order, State};

use super::world::World;
use crate::services::Services;

/// Everything that is checked.
pub const INVARIANTS: [&str; 15] = [
    "an end is an end",
    "an ended order's money is right",
    "an ended order's units are right",
    "every message is handled at last",
    "every order ends",
    "nobody pays an unexpected total",
    "nothing acknowledged is lost",
    "nothing is charged twice",
    "nothing is oversold",
    "nothing is refunded beyond the charge",
    "participants never contradict each other",
    "replaying every message changes nothing",
    "stocked = available + held",
    "timelines only grow",
    "versions grow one by one",
];

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub step: u64,
    pub order: usize,
    pub detail: String,
}

impl<S: Services> World<'_, S> {
    /// After a write of an order: history is only ever added to, and an end is an end.
    pub(super) fn check_written(&mut self, at: usize, before: Option<&Order>) {
        let Some(after) = &self.orders[at] else {
            return;
        };
        let Some(before) = before else {
            if after.version != 1 {
                let detail = format!("the first is {}", after.version);
                self.violate("versions grow one by one", at, detail);
            }
            return;
        };
        if after.version != before.version + 1 {
            let detail = format!("{} follows {}", after.version, before.version);
            return self.violate("versions grow one by one", at, detail);
        }
        if !after.timeline.starts_with(&before.timeline) {
            let detail = "an entry is gone or has changed".to_owned();
            return self.violate("timelines only grow", at, detail);
        }
        let stays = match before.state {
            State::Rejected | State::Cancelled => false,
            // Only by cancelling, which begins with the refund.
            State::Confirmed => {
                matches!(
                    after.state,
                    State::Refunding(orders::domain::Ending::Cancelled)
                )
            }
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Refunding(_)
            | State::Releasing(_) => true,
        };
        if !stays {
            let detail = format!("{:?} follows {:?}", after.state, before.state);
            self.violate("an end is an end", at, detail);
        }
    }

    /// After units have moved: none is sold that is not there, none is lost or made.
    pub(super) fn check_stock(&mut self, at: usize) {
        for item in 0..self.items.len() {
            let levels = self.items[item].levels;
            if levels.available < 0 || levels.held < 0 {
                return self.violate("nothing is oversold", at, format!("{levels:?}"));
            }
            let sku = &self.items[item].sku;
            let held: i64 = self
                .reservations
                .iter()
                .flatten()
                .map(|record| match record {
                    Reservation::Reserved(lines) => lines
                        .iter()
                        .filter(|line| line.sku == *sku)
                        .map(|line| line.quantity.get())
                        .sum(),
                    Reservation::Refused(_) | Reservation::Released => 0,
                })
                .sum();
            if held != levels.held || levels.stocked != levels.available + levels.held {
                let detail = format!("{levels:?}, and reservations hold {held}");
                return self.violate("stocked = available + held", at, detail);
            }
        }
    }

    /// After the provider was asked: its books, not ours, say what was charged.
    pub(super) fn check_money(&mut self, at: usize) {
        let balance = self.ledger.balance(at);
        if balance.charges > 1 {
            self.violate("nothing is charged twice", at, format!("{balance:?}"));
        } else if balance.refunded > balance.charged {
            let invariant = "nothing is refunded beyond the charge";
            self.violate(invariant, at, format!("{balance:?}"));
        }
    }

    /// An order that has ended is right with everybody, from that moment on and not only at rest:
    /// whatever is still on its way must not matter any more.
    pub(super) fn check_ended(&mut self, at: usize) {
        let Some(order) = &self.orders[at] else {
            return;
        };
        let (due, units_held) = match order.state {
            State::Confirmed => (order.total.map_or(0, |total| total.amount), true),
            State::Rejected | State::Cancelled => (0, false),
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Refunding(_)
            | State::Releasing(_) => return,
        };
        let balance = self.ledger.balance(at);
        let net = balance.charged - balance.refunded;
        if net != due {
            let detail = format!("{:?}: {net} is paid and {due} is due", order.state);
            return self.violate("an ended order's money is right", at, detail);
        }
        let confirmed_otherwise = order.state == State::Confirmed
            && order
                .expected_total
                .is_some_and(|expected| order.total != Some(expected));
        if confirmed_otherwise {
            let detail = format!("{:?} instead of {:?}", order.total, order.expected_total);
            return self.violate("nobody pays an unexpected total", at, detail);
        }
        let holds = match &self.reservations[at] {
            Some(Reservation::Reserved(lines)) => lines.len() == order.lines.len(),
            Some(Reservation::Refused(_) | Reservation::Released) | None => false,
        };
        if holds != units_held {
            let detail = format!("{:?}: {:?}", order.state, self.reservations[at]);
            self.violate("an ended order's units are right", at, detail);
        }
    }

    pub(super) fn check_rest(&mut self) {
        for at in 0..self.orders.len() {
            match self.orders[at].as_ref().map(|order| order.state) {
                None if self.acknowledged[at] => {
                    let detail = "it was acknowledged and is not there".to_owned();
                    self.violate("nothing acknowledged is lost", at, detail);
                }
                None | Some(State::Confirmed | State::Rejected | State::Cancelled) => {}
                Some(
                    state @ (State::Verifying
                    | State::Reserving
                    | State::Charging
                    | State::Refunding(_)
                    | State::Releasing(_)),
                ) => self.violate("every order ends", at, format!("at rest it is {state:?}")),
            }
            self.check_money(at);
            self.check_ended(at);
            self.check_stock(at);
        }
    }
}
