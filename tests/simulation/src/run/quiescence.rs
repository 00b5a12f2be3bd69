//! The checks of a quiescent world: no request, message or order is open.

use std::collections::BTreeMap;

use ops::audit::reconcile::{Finding, Kind, Subject, reconcile};
use ops::audit::rows::Rows as AuditedRows;

use super::actors::AdminAction;
use super::world::{Poison, World};
use crate::abandonment::about;
use crate::fault_profile::{FaultKind, lock_profile};
use crate::invariants::{Order, Step, Violation, ensure};
use crate::outcomes::{self, Conditions};
use crate::permissions;

impl World {
    pub(super) fn check_quiescence(&mut self) {
        let mut violations = Vec::new();
        let wrong = &mut violations;
        let Poison { sent, found, .. } = self.poison;
        ensure(wrong, found == sent, || {
            format!("{sent} poison messages were sent, but {found} reached a dead-letter queue")
        });
        for client in &self.actors.clients {
            let id = client.order.to_string();
            let order = self.ledger.get(&id);
            let has_ended = order.is_some_and(|order| order.is_terminal());
            ensure(wrong, !client.acknowledged || has_ended, || {
                format!("order {id} was acknowledged, but is {order:?}")
            });
            let state = order.map_or("", |order| order.state.as_str());
            let allowed = match client.cancelled {
                Some(202) => state == "cancelled",
                Some(409) => state == "rejected",
                _ => true,
            };
            ensure(wrong, allowed, || {
                let answer = client.cancelled;
                format!("order {id}: the cancellation was answered {answer:?}, but it is {state}")
            });
            for step in Step::ALL {
                let is_abandoned = order.is_some_and(|order| order.is_abandoned(step));
                ensure(
                    wrong,
                    !is_abandoned || client.abandoned.contains(&step),
                    || {
                        let step = step.name();
                        format!("order {id}: its {step} was abandoned without a request")
                    },
                );
            }
            ensure(wrong, state != "cancelled" || client.cancels, || {
                format!("order {id} was cancelled without a request")
            });
        }
        for id in self.ledger.order_ids() {
            let Some(order) = self.ledger.get(&id) else {
                wrong.push(format!("rows exist for {id}, but no order"));
                continue;
            };
            let (charged, refunded) = self.ledger.money(&id);
            let state = &order.state;
            let owed = match state.as_str() {
                "confirmed" => order.total,
                _ => Some(0),
            };
            let is_settled = Some(charged - refunded) == owed || order.is_abandoned(Step::Refund);
            ensure(wrong, is_settled, || {
                format!("order {id} is {state}, but {charged} charged and {refunded} refunded")
            });
        }
        wrong.extend(self.ledger.check_stock());
        wrong.extend(self.check_adjustments());
        wrong.extend(permissions::check(&self.ledger, &self.statuses));
        let conditions = self.conditions();
        for client in &self.actors.clients {
            let id = client.order.to_string();
            let request = &client.request;
            wrong.extend(outcomes::check(&self.ledger, &id, request, conditions));
        }
        wrong.extend(self.audit());
        for violation in violations {
            self.report(violation);
        }
    }

    /// Each adjustment is applied once, however often it was requested.
    fn check_adjustments(&self) -> Vec<Violation> {
        let mut asked: BTreeMap<(usize, i64), (usize, usize)> = BTreeMap::new();
        for task in &self.actors.tasks {
            if let AdminAction::Adjust { sku, delta, .. } = task.action {
                let (answered, all) = asked.entry((sku, delta)).or_default();
                *answered += usize::from(task.is_done);
                *all += 1;
            }
        }
        let made = asked.into_iter().filter_map(|((sku, delta), (answered, all))| {
            let sku = &self.actors.skus[sku];
            let made = self.ledger.adjustments_of(sku, delta);
            let is_right = (answered..=all).contains(&made);
            (!is_right).then(|| {
                format!(
                    "an adjustment of {sku} by {delta} was requested {all} times, answered {answered} \
                     times and applied {made} times"
                )
            })
        });
        made.collect()
    }

    fn conditions(&self) -> Conditions {
        let profile = lock_profile(&self.profile);
        let occurred = |kinds: &dyn Fn(FaultKind) -> bool| {
            profile
                .counts()
                .any(|(kind, count)| count > 0 && kinds(kind))
        };
        if occurred(&|kind| !kind.is_user_action()) {
            Conditions::Faulty
        } else if occurred(&FaultKind::is_user_action) {
            Conditions::Busy
        } else {
            Conditions::Quiet
        }
    }

    /// The findings of the operator's audit on these rows.
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

    /// Whether the operator settles a finding by hand: its step was abandoned, and they saw the
    /// answer as a dead letter or left the command there.
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
        let seen = |kind: &str| self.contradictions.contains(&(id.clone(), kind.to_owned()));
        let left = self
            .network
            .abandoned
            .iter()
            .filter_map(|copy| about(&copy.body));
        let mut left = left.filter(|(order, _)| *order == id);
        let abandoned = |order: &Order| order.is_abandoned(step);
        self.ledger.get(&id).is_some_and(abandoned)
            && (seen(answer) || left.any(|(_, kind)| kind == command))
    }
}
