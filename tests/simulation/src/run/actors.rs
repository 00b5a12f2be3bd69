//! The actors: customers and administrators, with their planned actions.

use orders::domain::{OrderId, UserId};
use uuid::Uuid;

use super::world::World;
use crate::clock::Millis;
use crate::fault_profile::{FaultKind, Rng, lock_profile};
use crate::invariants::Step;
use crate::outcomes::OrderRequest;

/// A customer with one order.
pub(super) struct Client {
    pub(super) user: Uuid,
    pub(super) key: String,
    pub(super) body: String,
    pub(super) order: Uuid,
    pub(super) request: OrderRequest,
    pub(super) next_place: Option<Millis>,
    pub(super) next_cancel: Option<Millis>,
    /// The time of an operator's retry.
    pub(super) next_retry: Option<Millis>,
    /// The time at which an operator abandons the parked step.
    pub(super) next_abandon: Option<Millis>,
    /// The steps that an operator asked to abandon.
    pub(super) abandoned: Vec<Step>,
    pub(super) cancels: bool,
    pub(super) acknowledged: bool,
    pub(super) refused: bool,
    /// The status of the last answer to a cancellation.
    pub(super) cancelled: Option<u16>,
}

impl Client {
    pub(super) fn is_done(&self) -> bool {
        let next = [
            self.next_place,
            self.next_cancel,
            self.next_retry,
            self.next_abandon,
        ];
        next.iter().all(Option::is_none)
    }
}

/// An administrator's action, repeated until it is answered.
pub(super) struct AdminTask {
    pub(super) at: Option<Millis>,
    pub(super) action: AdminAction,
    pub(super) is_done: bool,
}

impl AdminTask {
    pub(super) fn at(at: Millis, action: AdminAction) -> Self {
        Self {
            at: Some(at),
            action,
            is_done: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum AdminAction {
    Price { sku: usize, amount: i64 },
    Adjust { sku: usize, delta: i64, key: String },
    Status { user: usize, status: &'static str },
}

impl World {
    pub(super) fn client(
        &mut self,
        number: usize,
        items: &[(String, i64, i64)],
        soon: bool,
    ) -> Client {
        // A separate generator: with fewer orders, the others stay the same.
        let mut rng = Rng::new(self.plan.seed, 100 + number as u64);
        let user = *rng.pick(&self.actors.users);
        let mut lines = Vec::new();
        let mut expected = 0;
        let first = match rng.chance(300) {
            true => rng.below(items.len() as u64) as usize,
            false => 0,
        };
        for (sku, amount, _) in &items[first..] {
            if lines.is_empty() || rng.chance(300) {
                let quantity = rng.between(1, 3);
                expected += quantity * amount;
                lines.push((sku.clone(), quantity));
            }
        }
        if rng.chance(30) {
            lines.push(("NO-SUCH-ITEM".to_owned(), 1));
        }
        let method = *rng.pick(&[
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_chargeDeclined",
            "pm_card_chargeDeclinedInsufficientFunds",
            "pm_sim_lostReply",
            "pm_sim_slow",
            "pm_sim_unavailable",
        ]);
        let expected = rng.chance(300).then(|| {
            let wrong_by = i64::from(rng.chance(200));
            (expected + wrong_by, self.actors.currencies[first])
        });
        let request = OrderRequest {
            lines,
            method,
            expected,
        };
        let key = format!("order-{number}");
        let placed_at = rng.between(0, self.faults_until / 2);
        let mut profile = lock_profile(&self.profile);
        let cancels = profile.will_occur(FaultKind::Cancel);
        let within = if soon { 2_000 } else { self.faults_until };
        let cancel_at = placed_at + profile.rng(FaultKind::Cancel).between(0, within);
        let retries = profile.will_occur(FaultKind::Operator);
        let rng = profile.rng(FaultKind::Operator);
        let retry_at = placed_at + rng.between(0, self.faults_until);
        Client {
            user,
            order: OrderId::of_key(UserId(user), &key).0,
            key,
            body: request.body().to_string(),
            request,
            next_place: Some(placed_at),
            next_cancel: cancels.then_some(cancel_at),
            next_retry: retries.then_some(retry_at),
            next_abandon: None,
            abandoned: Vec::new(),
            cancels,
            acknowledged: false,
            refused: false,
            cancelled: None,
        }
    }

    pub(super) fn plan_admin_tasks(&mut self) {
        let until = self.faults_until;
        let (skus, users) = (self.actors.skus.len(), self.actors.users.len());
        let mut profile = lock_profile(&self.profile);
        let mut plan = |at, action| self.actors.tasks.push(AdminTask::at(at, action));
        for sku in 0..skus {
            if profile.occurs(FaultKind::Price) {
                let rng = profile.rng(FaultKind::Price);
                let amount = rng.between(1, 50) * 100;
                plan(rng.between(0, until), AdminAction::Price { sku, amount });
            }
            if profile.occurs(FaultKind::Adjustment) {
                let rng = profile.rng(FaultKind::Adjustment);
                let delta = *rng.pick(&[-3, -1, 1, 5]);
                let key = format!("count-{sku}");
                let action = AdminAction::Adjust { sku, delta, key };
                plan(rng.between(0, until), action);
            }
        }
        for user in 0..users {
            if profile.occurs(FaultKind::Deactivation) {
                let status = |status| AdminAction::Status { user, status };
                let rng = profile.rng(FaultKind::Deactivation);
                let at = rng.between(0, until);
                plan(at, status("deactivated"));
                if rng.chance(700) {
                    plan(at + rng.between(1_000, 100_000), status("active"));
                }
            }
        }
    }

    /// An operator may abandon the step of a parked order.
    pub(super) fn look_for_parked(&mut self, pk: &str) {
        let id = pk.strip_prefix("ORDER#").unwrap_or(pk);
        if !self.ledger.get(id).is_some_and(|order| order.parked) {
            return;
        }
        let now = self.now();
        let client = self
            .actors
            .clients
            .iter_mut()
            .find(|client| client.order.to_string() == id);
        let Some(client) = client.filter(|client| client.next_abandon.is_none()) else {
            return;
        };
        let mut profile = lock_profile(&self.profile);
        if profile.will_occur(FaultKind::Abandon) {
            let within = *profile.rng(FaultKind::Abandon).pick(&[1_000, 4_000_000]);
            let wait = profile.rng(FaultKind::Abandon).between(1, within);
            client.next_abandon = Some(now + wait);
        }
    }
}
