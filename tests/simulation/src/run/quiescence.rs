//! What has to be right once nothing is under way any more.

use std::collections::BTreeMap;

use ops::audit::reconcile::{Finding, Kind, Subject, reconcile};
use ops::audit::rows::Rows as AuditedRows;

use super::actors::TimelineEvent;
use super::world::World;
use crate::abandoning::about;
use crate::books::{Order, Step, Violation};
use crate::chance::{Trouble, weather};
use crate::endings::{self, Day};
use crate::permissions;

impl World {
    pub(super) fn check_rest(&mut self) {
        let mut wrong = Vec::new();
        if self.poison.found != self.poison.sent {
            wrong.push(format!(
                "{} messages that nobody understands were sent, and {} came to a dead-letter queue",
                self.poison.sent, self.poison.found
            ));
        }
        for client in &self.people.clients {
            let id = client.order.to_string();
            let order = self.books.get(&id);
            if client.acknowledged && !order.is_some_and(|order| order.is_terminal()) {
                wrong.push(format!("order {id} was acknowledged and is {order:?}"));
            }
            let state = order.map_or("", |order| order.state.as_str());
            if client.cancelled == Some(202) && state != "cancelled" {
                wrong.push(format!(
                    "order {id}: the cancellation was taken, but it is {state}"
                ));
            }
            if client.cancelled == Some(409) && state != "rejected" {
                wrong.push(format!(
                    "order {id}: too late to cancel, they said, but it is {state}"
                ));
            }
            for step in Step::ALL {
                if order.is_some_and(|order| order.is_abandoned(step))
                    && !client.gave_up.contains(&step)
                {
                    wrong.push(format!(
                        "order {id}: its {} was abandoned and nobody asked for it",
                        step.name()
                    ));
                }
            }
            if state == "cancelled" && !client.cancels {
                wrong.push(format!("order {id} is cancelled and nobody wanted it"));
            }
        }
        for id in self.books.touched() {
            let Some(order) = self.books.get(&id) else {
                wrong.push(format!("there are records of {id}, which is no order"));
                continue;
            };
            let (charged, refunded) = self.books.money(&id);
            let owed = if order.state == "confirmed" {
                order.total
            } else {
                Some(0)
            };
            let settled_by_hand = order.is_abandoned(Step::Refund);
            if Some(charged - refunded) != owed && !settled_by_hand {
                wrong.push(format!(
                    "order {id} is {}: {charged} less {refunded}",
                    order.state
                ));
            }
        }
        wrong.extend(self.books.check_stock());
        wrong.extend(self.check_adjustments());
        wrong.extend(permissions::check(&self.books, &self.standings));
        let day = self.day();
        for client in &self.people.clients {
            let id = client.order.to_string();
            wrong.extend(endings::check(&self.books, &id, &client.wish, day));
        }
        wrong.extend(self.audit());
        for violation in wrong {
            self.wrong(violation);
        }
    }

    /// However often an administrator had to ask, each adjustment is made once.
    fn check_adjustments(&self) -> Vec<Violation> {
        let mut asked: BTreeMap<(usize, i64), (usize, usize)> = BTreeMap::new();
        for chore in &self.people.chores {
            if let TimelineEvent::Adjust { sku, delta, .. } = chore.what {
                let (answered, all) = asked.entry((sku, delta)).or_default();
                *answered += usize::from(chore.is_done);
                *all += 1;
            }
        }
        let made = asked.into_iter().filter_map(|((sku, delta), (answered, all))| {
            let sku = &self.people.skus[sku];
            let made = self.books.adjustments_of(sku, delta);
            let is_right = (answered..=all).contains(&made);
            (!is_right).then(|| {
                format!(
                    "{sku} by {delta} was asked for {all} times, answered {answered} times and made \
                     {made} times"
                )
            })
        });
        made.collect()
    }

    /// What this world's time was like.
    fn day(&self) -> Day {
        let weather = weather(&self.weather);
        let came = |kinds: &dyn Fn(Trouble) -> bool| {
            weather.counts().any(|(kind, came)| came > 0 && kinds(kind))
        };
        if came(&|kind| !kind.is_of_people()) {
            Day::Troubled
        } else if came(&Trouble::is_of_people) {
            Day::Busy
        } else {
            Day::Quiet
        }
    }

    /// What an operator would be told of these books.
    fn audit(&self) -> Vec<Violation> {
        let tables = &self.system.tables;
        let rows = |table| self.system.aws.dump(table);
        let rows = AuditedRows::read(
            &rows(&tables.users),
            &rows(&tables.orders),
            &rows(&tables.inventory),
            &rows(&tables.payments),
        );
        let audited = reconcile(&rows, self.system.clock.timestamp());
        let findings = audited.findings.into_iter();
        findings
            .filter(|finding| !self.is_settled_by_hand(finding))
            .map(|finding| format!("the audit: {}: {}", finding.subject, finding.what))
            .collect()
    }

    /// What was done after an operator had abandoned its undoing is theirs to settle, if somebody told
    /// them: the answer in a dead-letter queue, or the command whose answer never got out.
    fn is_settled_by_hand(&self, finding: &Finding) -> bool {
        let Subject::Order(id) = &finding.subject else {
            return false;
        };
        let id = id.to_string();
        let (step, command, answer) = match finding.kind {
            Kind::StillCharged | Kind::ChargedAfterAll | Kind::Unsettled => {
                (Step::Refund, "ChargePayment", "PaymentCharged")
            }
            Kind::StillReserved | Kind::ReservedAfterAll => {
                (Step::Release, "ReserveStock", "StockReserved")
            }
            _ => return false,
        };
        let told = |kind: &str| self.news.contains(&(id.clone(), kind.to_owned()));
        let left = self
            .network
            .abandoned
            .iter()
            .filter_map(|copy| about(&copy.body));
        let mut left = left.filter(|(order, _)| *order == id);
        let gave_up = |order: &Order| order.is_abandoned(step);
        self.books.get(&id).is_some_and(gave_up)
            && (told(answer) || left.any(|(_, kind)| kind == command))
    }
}
