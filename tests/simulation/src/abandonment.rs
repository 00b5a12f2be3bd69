//! Abandoned steps, and how operators settle the contradictions that follow.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use crate::invariants::{Ledger, Order, Step};
use crate::network::MessageCopy;

pub fn is_abandoned(order: &Order) -> bool {
    order.is_abandoned(Step::Refund) || order.is_abandoned(Step::Release)
}

/// Whether a violation only reports that an abandoned step was carried out after all.
pub fn follows_abandonment(ledger: &Ledger, order: &str, violation: &str) -> bool {
    violation.contains("had been abandoned") && ledger.get(order).is_some_and(is_abandoned)
}

/// The rows that may still change after an operator abandoned a step.
#[derive(Default)]
pub struct Abandoned {
    orders: Vec<String>,
    /// The items that these orders may hold: their levels change too.
    skus: BTreeSet<String>,
}

impl Abandoned {
    pub fn of(ledger: &Ledger) -> Self {
        let mut abandoned = Self::default();
        for (id, order) in ledger.orders().filter(|(_, order)| is_abandoned(order)) {
            abandoned.orders.push(id.clone());
            abandoned.skus.extend(order.lines.keys().cloned());
        }
        abandoned
    }

    pub fn is_any(&self) -> bool {
        !self.orders.is_empty()
    }

    pub fn concerns(&self, row: &Value) -> bool {
        let pk = row["pk"].as_str().unwrap_or_default();
        let is_item = row["sk"] == "ITEM";
        self.orders.iter().any(|order| pk.contains(order))
            || is_item
                && pk
                    .strip_prefix("ITEM#")
                    .is_some_and(|sku| self.skus.contains(sku))
    }
}

/// The order and the type of an answer that contradicts an abandoned step.
pub fn contradiction(ledger: &Ledger, body: &str) -> Option<(String, String)> {
    let (order, kind) = about(body)?;
    let step = match kind.as_str() {
        "PaymentCharged" => Step::Refund,
        "StockReserved" => Step::Release,
        _ => return None,
    };
    let contradicts_abandonment = ledger
        .get(&order)
        .is_some_and(|order| order.is_abandoned(step));
    contradicts_abandonment.then_some((order, kind))
}

/// Whether an operator leaves a dead letter in its queue because its step was abandoned.
///
/// For a third of the orders, they leave every such command. For a third, only compensations. For a
/// third, none, but no command is redriven twice: an unanswered charge would return for ever.
pub fn is_left_in_dead_letters(ledger: &Ledger, copy: &MessageCopy) -> bool {
    let Some((order, kind)) = about(&copy.body) else {
        return false;
    };
    let (step, undoes) = match kind.as_str() {
        "ChargePayment" => (Step::Refund, false),
        "RefundPayment" => (Step::Refund, true),
        "ReserveStock" => (Step::Release, false),
        "ReleaseStock" => (Step::Release, true),
        _ => return false,
    };
    let abandoned = |order: &Order| order.is_abandoned(step);
    let looks = Uuid::parse_str(&order).map_or(0, |id| id.as_u128() % 3);
    let is_seen = looks == 0 || looks == 1 && undoes || copy.redriven > 0;
    is_seen && ledger.get(&order).is_some_and(abandoned)
}

pub fn about(body: &str) -> Option<(String, String)> {
    let envelope: Value = serde_json::from_str(body).ok()?;
    let text = |name: &str| Some(envelope[name].as_str()?.to_owned());
    Some((text("order_id")?, text("type")?))
}
