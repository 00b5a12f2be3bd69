//! What operators abandoned, and what they do about what comes of it all the same.

use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use crate::books::{Books, Order, Step};
use crate::network::Copy;

/// Whether anything of an order was abandoned.
pub fn is_abandoned(order: &Order) -> bool {
    order.is_abandoned(Step::Refund) || order.is_abandoned(Step::Release)
}

/// Whether this is the news that something was done whose undoing an operator had abandoned.
pub fn is_of_abandoning(books: &Books, order: &str, complaint: &str) -> bool {
    complaint.contains("had been abandoned") && books.get(order).is_some_and(is_abandoned)
}

/// The rows of orders that an operator gave something up of.
#[derive(Default)]
pub struct Abandoned {
    orders: Vec<String>,
    /// What these orders may hold: the items' levels go with it.
    skus: BTreeSet<String>,
}

impl Abandoned {
    pub fn of(books: &Books) -> Self {
        let mut abandoned = Self::default();
        for (id, order) in books.orders().filter(|(_, order)| is_abandoned(order)) {
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

/// The order and the type of an answer that says what was done of which an operator had abandoned the
/// undoing.
pub fn news_after_abandoning(books: &Books, body: &str) -> Option<(String, String)> {
    let (order, kind) = about(body)?;
    let step = match kind.as_str() {
        "PaymentCharged" => Step::Refund,
        "StockReserved" => Step::Release,
        _ => return None,
    };
    let contradicts_abandonment = books
        .get(&order)
        .is_some_and(|order| order.is_abandoned(step));
    contradicts_abandonment.then_some((order, kind))
}

/// Whether an operator leaves a command where it is that would do or undo what was settled otherwise.
/// For one order in three they do, for another they only look after what undoes, for the third they
/// do not look; and nobody sends such a one back again and again. (A charge that is never answered would
/// come back for ever, for what ends it was abandoned.)
pub fn is_left_alone(books: &Books, copy: &Copy) -> bool {
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
    let gave_up = |order: &Order| order.is_abandoned(step);
    let looks = Uuid::parse_str(&order).map_or(0, |id| id.as_u128() % 3);
    let is_seen = looks == 0 || looks == 1 && undoes || copy.redriven > 0;
    is_seen && books.get(&order).is_some_and(gave_up)
}

/// The order and the type of a message.
pub fn about(body: &str) -> Option<(String, String)> {
    let envelope: Value = serde_json::from_str(body).ok()?;
    let text = |name: &str| Some(envelope[name].as_str()?.to_owned());
    Some((text("order_id")?, text("type")?))
}
