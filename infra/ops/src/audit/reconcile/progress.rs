//! Checks that the saga of an order in flight continues by itself.

use jiff::{SignedDuration, Timestamp};

use super::{Audit, Kind, Subject};
use crate::audit::rows::Order;

/// The sweeper runs every minute: an order it skipped twice is stuck.
const OVERDUE: SignedDuration = SignedDuration::from_secs(120);

/// Longer than any step: the largest timeout is an hour, times 16 for the last attempt.
const NEVER: SignedDuration = SignedDuration::from_hours(24);

impl Audit<'_> {
    pub(super) fn progress(&mut self, order: &Order) {
        if !order.state.is_in_flight() {
            return;
        }
        let state = order.state;
        let Some(due_at) = order.due() else {
            let what = format!("it is {state} without due_at: the sweeper cannot find it");
            self.find_in(order, Kind::NeverDue, what);
            return;
        };
        if let Some((what, attribute, must_be)) = self.missed_by_sweeper(order, due_at) {
            let what = format!("it is {state} and {what}");
            // Before the deadline, a retry of a first attempt only sends the command again and
            // leaves the row.
            if due_at <= self.now || order.parked || order.attempt != 1 {
                self.find_in(order, Kind::NeverDue, what);
            } else {
                let row = format!("ORDER#{} ORDER of the orders table", order.id);
                let next = format!("set its {attribute} to {must_be} in its row {row}");
                let evidence = self.evidence(order);
                self.find_next(
                    Subject::Order(order.id),
                    Kind::NeverDue,
                    what,
                    next,
                    evidence,
                );
            }
        } else if order.parked {
            self.find_in(order, Kind::Parked, format!("it is parked in {state}"));
        } else if self.now.duration_since(due_at) > OVERDUE {
            let what = format!("it is {state} and was due at {due_at}");
            self.find_in(order, Kind::Overdue, what);
        }
    }

    /// Finds why the sweeper will not find an order: the cause, the attribute and its right value.
    fn missed_by_sweeper(
        &self,
        order: &Order,
        due_at: Timestamp,
    ) -> Option<(String, &'static str, String)> {
        if !order.is_swept() {
            let shard = order.due_shard.as_deref().unwrap_or("missing");
            let what =
                format!("its due_shard is {shard}: the sweeper does not read that partition");
            return Some((what, "due_shard", order.shard()));
        }
        let spelled = order.due_at.as_deref().unwrap_or_default();
        let must_be = format!("{due_at:.3}");
        if spelled != must_be {
            let what = format!("its due_at has the format {spelled}: the sweeper compares texts");
            return Some((what, "due_at", must_be));
        }
        (due_at.duration_since(self.now) > NEVER).then(|| {
            let what = format!("is not due before {due_at}: the sweeper skips it until then");
            (what, "due_at", format!("{:.3}", self.now))
        })
    }
}
