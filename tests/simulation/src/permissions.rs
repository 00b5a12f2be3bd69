//! Who was let order: whether the user may have been allowed to when somebody said that they were.
//!
//! Users is asked over REST while an order is placed, and its yes is believed for a while; or by queue,
//! and then its yes is as old as the messages are late.

use std::collections::BTreeMap;

use jiff::Timestamp;
use orders::users_client::PERMISSION_LIFETIME;
use serde_json::Value;

use crate::books::{Books, Order, Violation};
use crate::clock::{Millis, millis};
use crate::template_config;

/// Since when each user has had which standing, by their ids.
#[derive(Default)]
pub struct Standings(BTreeMap<String, Vec<(Millis, String)>>);

impl Standings {
    pub fn note(&mut self, user: &str, now: Millis, standing: &str) {
        let had = self.0.entry(user.to_owned()).or_default();
        had.push((now, standing.to_owned()));
    }

    /// Whether a user was active at some moment from the first to the last.
    fn was_active(&self, user: &str, first: Millis, last: Millis) -> bool {
        let had = self.0.get(user).map_or(&[][..], Vec::as_slice);
        let until = had.iter().skip(1).map(|(at, _)| *at).chain([Millis::MAX]);
        had.iter().zip(until).any(|((from, standing), until)| {
            standing == "active" && *from <= last && until >= first
        })
    }
}

/// The orders whose user was verified and cannot have been.
pub fn check(books: &Books, standings: &Standings) -> Vec<Violation> {
    books
        .orders()
        .filter_map(|(id, order)| {
            let (first, last) = verified(order)?;
            let user = order.user();
            (!standings.was_active(user, first, last)).then(|| {
                format!(
                    "order {id}: its user {user} was verified between {first} and {last} ms, and not \
                     active at any time then"
                )
            })
        })
        .collect()
}

/// Between when and when the yes was given.
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
