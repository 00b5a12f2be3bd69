//! The invariants: a ledger of the rows of all four tables, and the checks on it.
//!
//! The ledger reads the rows straight from the engine after every write. It never asks the
//! services.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::clock::Millis;
use crate::history::{History, Moment};
use crate::tables::Tables;
use crate::template_config;

/// Attempts before a step times out or is parked.
pub const ATTEMPTS: i64 = 5;

/// The time between two attempts of a parked step.
const PARKED_RETRY: Millis = 3_600_000;

/// A violated invariant, as a sentence that names its order or item.
pub type Violation = String;

pub struct Ledger {
    /// Whether the ledger sees every write, or only samples.
    every_write: bool,
    items: BTreeMap<String, Item>,
    adjustments: BTreeMap<String, (String, i64)>,
    reservations: BTreeMap<String, Reservation>,
    orders: BTreeMap<String, Order>,
    payments: BTreeMap<String, Payment>,
    charges: BTreeMap<String, Charge>,
    refunds: BTreeMap<String, i64>,
    /// The count of rows recorded so far.
    now: Moment,
    /// The price and available units of each item over time.
    offers: History<Offer>,
    /// The status of each user over time.
    statuses: History<String>,
}

/// An item as customers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub available: i64,
    pub price: (i64, String),
}

#[derive(Clone, Debug)]
struct Item {
    initial: i64,
    stocked: i64,
    available: i64,
    held: i64,
}

#[derive(Clone, Debug)]
struct Reservation {
    status: String,
    lines: BTreeMap<String, i64>,
    /// The moment of the first record: the lines were reserved or refused then.
    begun: Moment,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub state: String,
    pub total: Option<i64>,
    pub currency: String,
    pub due_at: Option<String>,
    pub failure: Option<String>,
    pub parked: bool,
    version: i64,
    pub lines: BTreeMap<String, i64>,
    /// The unit price of each line, once known.
    pub prices: BTreeMap<String, (i64, String)>,
    user: Value,
    pub timeline: Vec<Value>,
    placed: Moment,
    ended: Option<Moment>,
}

#[derive(Clone, Debug)]
struct Payment {
    status: String,
    version: i64,
}

#[derive(Clone, Debug, PartialEq)]
struct Charge {
    outcome: String,
    amount: i64,
    currency: String,
}

impl Order {
    pub fn is_terminal(&self) -> bool {
        matches!(self.state.as_str(), "confirmed" | "rejected" | "cancelled")
    }

    pub fn was_parked(&self) -> bool {
        self.happened("order_parked")
    }

    /// Whether an operator abandoned a step. The services no longer settle it then.
    pub fn is_abandoned(&self, step: Step) -> bool {
        self.happened(match step {
            Step::Refund => "refund_abandoned",
            Step::Release => "release_abandoned",
        })
    }

    pub fn user(&self) -> &str {
        self.user.as_str().unwrap_or_default()
    }

    fn happened(&self, event: &str) -> bool {
        self.timeline.iter().any(|entry| entry["what"] == event)
    }
}

/// A compensation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Refund,
    Release,
}

impl Step {
    pub const ALL: [Self; 2] = [Self::Refund, Self::Release];

    pub fn name(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Release => "release",
        }
    }
}

impl Ledger {
    /// A ledger that sees every single write.
    pub fn observing_every_write() -> Self {
        Self {
            every_write: true,
            ..Self::sampling()
        }
    }

    /// A ledger that sees rows now and then.
    pub fn sampling() -> Self {
        Self {
            every_write: false,
            items: BTreeMap::new(),
            adjustments: BTreeMap::new(),
            reservations: BTreeMap::new(),
            orders: BTreeMap::new(),
            payments: BTreeMap::new(),
            charges: BTreeMap::new(),
            refunds: BTreeMap::new(),
            now: 0,
            offers: History::default(),
            statuses: History::default(),
        }
    }

    fn may_follow(&self, old: i64, new: i64) -> bool {
        match self.every_write {
            true => new == old + 1,
            false => new > old,
        }
    }

    /// Records a row after a write and returns the violations of its order.
    pub fn observe(
        &mut self,
        tables: &Tables,
        key: &(String, String, String),
        row: Option<&Value>,
    ) -> Vec<Violation> {
        let mut wrong = Vec::new();
        if let Some(order) = self.note(tables, key, row, &mut wrong) {
            self.check_order(&order, &mut wrong);
        }
        wrong
    }

    /// Records a row, reports impossible transitions and returns the order it belongs to.
    pub fn note(
        &mut self,
        tables: &Tables,
        (table, pk, sk): &(String, String, String),
        row: Option<&Value>,
        wrong: &mut Vec<Violation>,
    ) -> Option<String> {
        self.now += 1;
        let Some(row) = row else {
            if *table != tables.users && self.knows(pk, sk) {
                wrong.push(format!(
                    "{pk} {sk} was deleted; rows of orders are never deleted"
                ));
            }
            return None;
        };
        let order = || after("ORDER#", pk);
        if *table == tables.orders {
            self.order(&order(), row, wrong);
            return Some(order());
        }
        if *table == tables.users && sk == "USER" {
            let status = text(&row["status"]);
            self.statuses.note(&after("USER#", pk), self.now, status);
        }
        if *table == tables.inventory {
            match sk.as_str() {
                "ITEM" => self.item(row),
                "RESERVATION" => {
                    self.reservation(&order(), row, wrong);
                    return Some(order());
                }
                _ => {
                    let adjustment = (text(&row["sku"]), number(&row["delta"]));
                    self.adjustments.insert(sk.clone(), adjustment);
                }
            }
        }
        if *table == tables.payments {
            let Some(key) = pk.strip_prefix("SIMULATOR#") else {
                self.payment(&order(), row, wrong);
                return None;
            };
            self.provider_row(key, sk, row, wrong);
            let id = key.trim_start_matches("charge-");
            return Some(id.trim_end_matches("-refund").to_owned());
        }
        None
    }

    /// Checks every order.
    pub fn check_orders(&self) -> Vec<Violation> {
        let mut wrong = Vec::new();
        for id in self.order_ids() {
            self.check_order(&id, &mut wrong);
        }
        wrong
    }

    /// Checks the stock. One transaction changes several of its rows, so call this after it.
    pub fn check_stock(&self) -> Vec<Violation> {
        let mut wrong = Vec::new();
        for (sku, item) in &self.items {
            let Item {
                initial,
                stocked,
                available,
                held,
            } = item;
            if *available < 0 {
                wrong.push(format!("{sku} is oversold: {available} available"));
            }
            if *held < 0 || *stocked != available + held {
                wrong.push(format!(
                    "{sku}: {stocked} stocked is not {available} available plus {held} held"
                ));
            }
            let of_sku = |(of, delta): &&(String, i64)| (of == sku).then_some(*delta).is_some();
            let adjusted: i64 = self
                .adjustments
                .values()
                .filter(of_sku)
                .map(|(_, d)| d)
                .sum();
            if *stocked != initial + adjusted {
                wrong.push(format!(
                    "{sku}: {initial} plus {adjusted} adjusted is not {stocked} stocked"
                ));
            }
            let reserved: i64 = self
                .reservations
                .values()
                .filter(|reservation| reservation.status == "RESERVED")
                .filter_map(|reservation| reservation.lines.get(sku))
                .sum();
            if *held != reserved {
                wrong.push(format!(
                    "{sku}: {held} held, but {reserved} reserved by orders"
                ));
            }
        }
        wrong
    }

    pub fn orders(&self) -> impl Iterator<Item = (&String, &Order)> {
        self.orders.iter()
    }

    pub fn get(&self, id: &str) -> Option<&Order> {
        self.orders.get(id)
    }

    /// The states of an item between an order's placing and its reservation.
    pub fn offers(&self, id: &str, sku: &str) -> Vec<&Offer> {
        let placed = self.orders.get(id).map_or(0, |order| order.placed);
        let decided = self.reservations.get(id).map_or(self.now, |r| r.begun);
        self.offers.between(sku, placed, decided).collect()
    }

    pub fn was_deactivated_before_end(&self, id: &str) -> bool {
        self.orders.get(id).is_some_and(|order| {
            let user = order.user.as_str().unwrap_or_default();
            let ended = order.ended.unwrap_or(self.now);
            let mut statuses = self.statuses.between(user, order.placed, ended);
            statuses.any(|status| status == "deactivated")
        })
    }

    pub fn ever_had_status(&self, user: &str, status: &str) -> bool {
        let mut statuses = self.statuses.between(user, 0, self.now);
        statuses.any(|shown| shown == status)
    }

    pub fn ever_had_price(&self, sku: &str, amount: i64, currency: &str) -> bool {
        let mut offers = self.offers.between(sku, 0, self.now);
        offers.any(|offer| (offer.price.0, offer.price.1.as_str()) == (amount, currency))
    }

    pub fn has_item(&self, sku: &str) -> bool {
        self.items.contains_key(sku)
    }

    /// The recorded adjustments of an item by this many units.
    pub fn adjustments_of(&self, sku: &str, delta: i64) -> usize {
        let adjustments = self.adjustments.values();
        let such = adjustments.filter(|(of, by)| of == sku && *by == delta);
        such.count()
    }

    /// The charged and the refunded amount.
    pub fn money(&self, id: &str) -> (i64, i64) {
        let key = format!("charge-{id}");
        let charged = self
            .charges
            .get(&key)
            .filter(|charge| charge.outcome == "CHARGED");
        let refunded = self.refunds.get(&format!("{key}-refund"));
        (
            charged.map_or(0, |charge| charge.amount),
            refunded.copied().unwrap_or(0),
        )
    }

    /// Every order with a row in any table, acknowledged or not.
    pub fn order_ids(&self) -> BTreeSet<String> {
        let charged = self
            .charges
            .keys()
            .map(|key| key.trim_start_matches("charge-"));
        let ids = self
            .orders
            .keys()
            .chain(self.reservations.keys())
            .chain(self.payments.keys());
        ids.map(String::as_str)
            .chain(charged)
            .map(str::to_owned)
            .collect()
    }

    fn knows(&self, pk: &str, sk: &str) -> bool {
        let id = after("ORDER#", pk);
        match sk {
            "ORDER" => self.orders.contains_key(&id),
            "RESERVATION" => self.reservations.contains_key(&id),
            "PAYMENT" => self.payments.contains_key(&id),
            "ITEM" => self.items.contains_key(&after("ITEM#", pk)),
            "CHARGE" | "REFUND" => {
                let key = after("SIMULATOR#", pk);
                self.charges.contains_key(&key) || self.refunds.contains_key(&key)
            }
            _ => self.adjustments.contains_key(sk),
        }
    }

    fn item(&mut self, row: &Value) {
        let stocked = number(&row["stocked"]);
        let initial = self
            .items
            .get(&text(&row["sku"]))
            .map_or(stocked, |item| item.initial);
        let item = Item {
            initial,
            stocked,
            available: number(&row["available"]),
            held: number(&row["held"]),
        };
        let offer = Offer {
            available: item.available,
            price: (number(&row["amount"]), text(&row["currency"])),
        };
        self.offers.note(&text(&row["sku"]), self.now, offer);
        self.items.insert(text(&row["sku"]), item);
    }

    fn reservation(&mut self, id: &str, row: &Value, wrong: &mut Vec<Violation>) {
        let begun = self.reservations.get(id).map_or(self.now, |old| old.begun);
        let new = Reservation {
            status: text(&row["status"]),
            lines: quantities(row),
            begun,
        };
        let old = self.reservations.insert(id.to_owned(), new.clone());
        let allowed = match old.as_ref().map(|old| old.status.as_str()) {
            None => true,
            Some("RESERVED") => matches!(new.status.as_str(), "RESERVED" | "RELEASED"),
            Some(status) => status == new.status,
        };
        if !allowed {
            let old = old.map(|old| old.status).unwrap_or_default();
            wrong.push(format!(
                "order {id}: a reservation went from {old} to {}",
                new.status
            ));
        }
    }

    fn order(&mut self, id: &str, row: &Value, wrong: &mut Vec<Violation>) {
        let old = self.orders.get(id);
        let mut new = Order {
            state: text(&row["state"]),
            total: row["total"]["amount"].as_i64(),
            currency: text(&row["total"]["currency"]),
            due_at: row["due_at"].as_str().map(str::to_owned),
            failure: row["failure"]["code"].as_str().map(str::to_owned),
            parked: row["parked"] == true,
            version: number(&row["version"]),
            lines: quantities(row),
            prices: prices(row),
            user: row["user_id"].clone(),
            timeline: row["timeline"].as_array().cloned().unwrap_or_default(),
            placed: old.map_or(self.now, |old| old.placed),
            ended: None,
        };
        if new.is_terminal() {
            let ended = old.and_then(|old| old.ended);
            new.ended = Some(ended.unwrap_or(self.now));
        }
        if new.is_terminal() == new.due_at.is_some() {
            wrong.push(format!(
                "order {id} is {} and due at {:?}",
                new.state, new.due_at
            ));
        }
        if due_in_time(row) == Some(false) {
            wrong.push(format!(
                "order {id}, attempt {} of {}, updated at {}, is due too late, at {}",
                row["attempt"], new.state, row["updated_at"], row["due_at"]
            ));
        }
        if let Some(old) = old {
            if old.version == new.version {
                if old.state != new.state || old.timeline != new.timeline {
                    wrong.push(format!(
                        "order {id}: version {} was written twice",
                        new.version
                    ));
                }
            } else {
                if !self.may_follow(old.version, new.version) {
                    wrong.push(format!(
                        "order {id}: from version {} to {}",
                        old.version, new.version
                    ));
                }
                follows(id, old, &new, wrong);
                if self.every_write {
                    abandons_what_it_may(id, old, &new, wrong);
                }
            }
        } else if self.every_write && new.version != 1 {
            wrong.push(format!("order {id} began with version {}", new.version));
        }
        self.orders.insert(id.to_owned(), new);
    }

    fn payment(&mut self, id: &str, row: &Value, wrong: &mut Vec<Violation>) {
        let new = Payment {
            status: text(&row["status"]),
            version: number(&row["version"]),
        };
        if let Some(old) = self.payments.get(id)
            && (new.version, &new.status) != (old.version, &old.status)
        {
            if !self.may_follow(old.version, new.version) {
                let versions = (old.version, new.version);
                wrong.push(format!(
                    "payment of {id}: from version {} to {}",
                    versions.0, versions.1
                ));
            }
            if matches!(old.status.as_str(), "REFUNDED" | "VOIDED" | "DECLINED")
                && !matches!(new.status.as_str(), "REFUNDING" | "VOIDED")
            {
                wrong.push(format!(
                    "payment of {id}: from {} to {}",
                    old.status, new.status
                ));
            }
        }
        self.payments.insert(id.to_owned(), new);
    }

    /// The provider's rows are written once and never change.
    fn provider_row(&mut self, key: &str, sk: &str, row: &Value, wrong: &mut Vec<Violation>) {
        if sk == "CHARGE" {
            let outcome = text(&row["outcome"]);
            let new = Charge {
                outcome,
                amount: row["asked"]["amount"].as_i64().unwrap_or(0),
                currency: text(&row["asked"]["currency"]),
            };
            let old = self.charges.insert(key.to_owned(), new.clone());
            if old.is_some_and(|old| old != new) {
                wrong.push(format!("the provider's charge {key} was overwritten"));
            }
        } else {
            let amount = number(&row["amount"]);
            let old = self.refunds.insert(key.to_owned(), amount);
            if old.is_some_and(|old| old != amount) {
                wrong.push(format!("the provider's refund {key} was overwritten"));
            }
        }
    }

    /// Checks one order. These invariants hold at every moment.
    fn check_order(&self, id: &str, wrong: &mut Vec<Violation>) {
        let (charged, refunded) = self.money(id);
        // A refund is always complete.
        if refunded != 0 && refunded != charged {
            wrong.push(format!(
                "order {id}: {charged} charged and {refunded} refunded"
            ));
        }
        let reservation = self.reservations.get(id);
        let holds = reservation.is_some_and(|reservation| reservation.status == "RESERVED");
        let Some(order) = self.orders.get(id) else {
            if charged > 0 || holds {
                wrong.push(format!(
                    "order {id} does not exist, but {charged} charged, stock held: {holds}"
                ));
            }
            return;
        };
        if charged != 0 && Some(charged) != order.total {
            wrong.push(format!(
                "order {id} costs {:?} and {charged} was charged",
                order.total
            ));
        }
        let charge = self.charges.get(&format!("charge-{id}"));
        if let Some(charge) = charge.filter(|charge| charge.outcome == "CHARGED")
            && charge.currency != order.currency
        {
            wrong.push(format!(
                "order {id} costs {} and {} was charged",
                order.currency, charge.currency
            ));
        }
        for step in Step::ALL {
            if order.is_abandoned(step) && !order.was_parked() {
                wrong.push(format!(
                    "order {id}: its {} was abandoned but never parked",
                    step.name()
                ));
            }
        }
        match order.state.as_str() {
            "confirmed" => {
                if Some(charged - refunded) != order.total {
                    let net = charged - refunded;
                    wrong.push(format!(
                        "order {id}: CONFIRMED for {:?}, paid {net}",
                        order.total
                    ));
                }
                let lines = reservation
                    .filter(|_| holds)
                    .map(|reservation| &reservation.lines);
                if lines != Some(&order.lines) {
                    wrong.push(format!(
                        "order {id}: CONFIRMED for {:?}, holds {lines:?}",
                        order.lines
                    ));
                }
            }
            "rejected" | "cancelled" => {
                if charged != refunded && !order.is_abandoned(Step::Refund) {
                    let net = charged - refunded;
                    wrong.push(format!(
                        "order {id}: {} and {net} not refunded",
                        order.state
                    ));
                }
                if holds && !order.is_abandoned(Step::Release) {
                    wrong.push(format!("order {id}: {} and still holds stock", order.state));
                }
            }
            _ => {}
        }
    }
}

/// Only the step in which an order is parked can be abandoned.
fn abandons_what_it_may(id: &str, old: &Order, new: &Order, wrong: &mut Vec<Violation>) {
    for entry in new.timeline.iter().skip(old.timeline.len()) {
        let of = match entry["what"].as_str() {
            Some("refund_abandoned") => "refunding",
            Some("release_abandoned") => "releasing",
            _ => continue,
        };
        if !old.parked || !old.state.starts_with(of) {
            wrong.push(format!(
                "order {id}: {} while it was {}, parked: {}",
                entry["what"], old.state, old.parked
            ));
        }
    }
}

/// Whether a step is due in time: the timeout doubles with each attempt, and a parked step waits an
/// hour.
fn due_in_time(row: &Value) -> Option<bool> {
    let at = |name: &str| row[name].as_str()?.parse::<Timestamp>().ok();
    let waits = at("due_at")?.duration_since(at("updated_at")?).as_millis();
    let attempt = number(&row["attempt"]).clamp(1, ATTEMPTS);
    let longest = match row["parked"] == true {
        true => PARKED_RETRY,
        false => template_config::step_timeout() << (attempt - 1),
    };
    Some(waits <= i128::from(longest))
}

fn follows(id: &str, old: &Order, new: &Order, wrong: &mut Vec<Violation>) {
    if (&new.user, &new.lines) != (&old.user, &old.lines) {
        wrong.push(format!("order {id} changed its user or lines"));
    }
    if old.total.is_some() && new.total != old.total {
        wrong.push(format!(
            "order {id}: the total changed from {:?} to {:?}",
            old.total, new.total
        ));
    }
    if !new.timeline.starts_with(&old.timeline) {
        wrong.push(format!("order {id}: the timeline was rewritten"));
    }
    let ended = matches!(old.state.as_str(), "rejected" | "cancelled");
    let after_confirmed = old.state == "confirmed" && new.state != "refunding_to_cancel";
    if ended || after_confirmed {
        wrong.push(format!(
            "order {id} went from {} to {}",
            old.state, new.state
        ));
    }
}

fn quantities(row: &Value) -> BTreeMap<String, i64> {
    let lines = row["lines"].as_array().into_iter().flatten();
    lines
        .map(|line| (text(&line["sku"]), number(&line["quantity"])))
        .collect()
}

fn prices(row: &Value) -> BTreeMap<String, (i64, String)> {
    let lines = row["lines"].as_array().into_iter().flatten();
    lines
        .filter_map(|line| {
            let price = &line["unit_price"];
            let price = (price["amount"].as_i64()?, text(&price["currency"]));
            Some((text(&line["sku"]), price))
        })
        .collect()
}

fn after(prefix: &str, key: &str) -> String {
    key.strip_prefix(prefix).unwrap_or(key).to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(i64::MIN)
}
