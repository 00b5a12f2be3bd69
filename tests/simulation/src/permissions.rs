//! Checks that each verified user could be active at the time.
//!
//! Orders asks users over REST and caches a positive answer for a short time. By queue, the answer
//! is as old as its messages are late.

use jiff::Timestamp;
use orders::users_client::PERMISSION_LIFETIME;
use serde_json::Value;

use crate::clock::{Millis, millis};
use crate::history::History;
use crate::invariants::{Ledger, Order, Violation};
use crate::template_config;

/// The violations of orders whose user was verified while inactive.
pub fn check(ledger: &Ledger, statuses: &History<String>) -> Vec<Violation> {
    ledger
        .orders()
        .filter_map(|(id, order)| {
            let (first, last) = verified(order)?;
            let user = order.user();
            // The status just before `first` counts too.
            let mut shown = statuses.between(user, first - 1, last);
            (!shown.any(|status| status == "active")).then(|| {
                format!(
                    "order {id}: its user {user} was verified between {first} and {last} ms, while it was \
                     not active"
                )
            })
        })
        .collect()
}

/// The period in which the positive answer was given.
fn verified(order: &Order) -> Option<(Millis, Millis)> {
    let at = |what: &str| {
        let entry = order.timeline.iter().find(|entry| entry["what"] == what)?;
        moment(&entry["at"])
    };
    let (placed, verified) = (at("order_placed")?, at("user_verified")?);
    Some(if placed == verified {
        let lifetime = PERMISSION_LIFETIME.as_millis() as Millis;
        (
            placed - lifetime,
            placed + template_config::timeout("orders-place"),
        )
    } else {
        (placed, verified)
    })
}

fn moment(at: &Value) -> Option<Millis> {
    let at: Timestamp = at.as_str()?.parse().ok()?;
    Some(millis(at))
}
