//! The invariants: a ledger of the rows of all four tables, and the checks on it.
//!
//! The ledger reads the rows straight from the engine after every write. It never asks the
//! services.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ops::audit::rows::timeline;
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
            let is_lost = *table != tables.users && self.knows(pk, sk);
            ensure(wrong, !is_lost, || {
                format!("{pk} {sk} was deleted; rows of orders are never deleted")
            });
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
        let mut violations = Vec::new();
        let wrong = &mut violations;
        for (sku, item) in &self.items {
            let Item {
                initial,
                stocked,
                available,
                held,
            } = item;
            ensure(wrong, *available >= 0, || {
                format!("{sku} is oversold: {available} available")
            });
            ensure(wrong, *held >= 0 && *stocked == available + held, || {
                format!("{sku}: {stocked} stocked is not {available} available plus {held} held")
            });
            let adjustments = self.adjustments.values().filter(|(of, _)| of == sku);
            let adjusted: i64 = adjustments.map(|(_, delta)| delta).sum();
            ensure(wrong, *stocked == initial + adjusted, || {
                format!("{sku}: {initial} plus {adjusted} adjusted is not {stocked} stocked")
            });
            let reservations = self.reservations.values();
            let reserved: i64 = reservations
                .filter(|reservation| reservation.status == "RESERVED")
                .filter_map(|reservation| reservation.lines.get(sku))
                .sum();
            ensure(wrong, *held == reserved, || {
                format!("{sku}: {held} held, but {reserved} reserved by orders")
            });
        }
        violations
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
        ensure(wrong, allowed, || {
            let (old, new) = (old.map(|old| old.status).unwrap_or_default(), new.status);
            format!("order {id}: a reservation went from {old} to {new}")
        });
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
            timeline: timeline(row).as_array().cloned().unwrap_or_default(),
            placed: old.map_or(self.now, |old| old.placed),
            ended: None,
        };
        if new.is_terminal() {
            let ended = old.and_then(|old| old.ended);
            new.ended = Some(ended.unwrap_or(self.now));
        }
        let Order {
            state,
            due_at,
            version,
            ..
        } = &new;
        ensure(wrong, new.is_terminal() == due_at.is_none(), || {
            format!("order {id} is {state} and due at {due_at:?}")
        });
        ensure(wrong, due_in_time(row) != Some(false), || {
            let [attempt, updated, due] =
                ["attempt", "updated_at", "due_at"].map(|name| &row[name]);
            format!(
                "order {id}: attempt {attempt} of {state} at {updated} is due too late, at {due}"
            )
        });
        match old {
            None => ensure(wrong, !self.every_write || *version == 1, || {
                format!("order {id} began with version {version}")
            }),
            Some(old) if old.version == *version => {
                let is_same = (&old.state, &old.timeline) == (state, &new.timeline);
                ensure(wrong, is_same, || {
                    format!("order {id}: version {version} was written twice")
                });
            }
            Some(old) => {
                let before = old.version;
                ensure(wrong, self.may_follow(before, *version), || {
                    format!("order {id}: from version {before} to {version}")
                });
                check_transition(id, old, &new, wrong);
                if self.every_write {
                    check_abandonment(id, old, &new, wrong);
                }
            }
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
            let (before, after) = (old.version, new.version);
            ensure(wrong, self.may_follow(before, after), || {
                format!("payment of {id}: from version {before} to {after}")
            });
            let (before, after) = (old.status.as_str(), new.status.as_str());
            let ended = matches!(before, "REFUNDED" | "VOIDED" | "DECLINED");
            ensure(
                wrong,
                !ended || matches!(after, "REFUNDING" | "VOIDED"),
                || format!("payment of {id}: from {before} to {after}"),
            );
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
            ensure(wrong, old.is_none_or(|old| old == new), || {
                format!("the provider's charge {key} was overwritten")
            });
        } else {
            let amount = number(&row["amount"]);
            let old = self.refunds.insert(key.to_owned(), amount);
            ensure(wrong, old.is_none_or(|old| old == amount), || {
                format!("the provider's refund {key} was overwritten")
            });
        }
    }

    /// Checks one order. These invariants hold at every moment.
    fn check_order(&self, id: &str, wrong: &mut Vec<Violation>) {
        let (charged, refunded) = self.money(id);
        ensure(wrong, refunded == 0 || refunded == charged, || {
            format!("order {id}: {charged} charged and {refunded} refunded")
        });
        let reservation = self.reservations.get(id);
        let reserved = reservation.filter(|reservation| reservation.status == "RESERVED");
        let holds = reserved.is_some();
        let Some(order) = self.orders.get(id) else {
            ensure(wrong, charged == 0 && !holds, || {
                format!("order {id} does not exist, but {charged} charged, stock held: {holds}")
            });
            return;
        };
        let Order {
            state,
            total,
            currency,
            lines,
            ..
        } = order;
        ensure(wrong, charged == 0 || Some(charged) == *total, || {
            format!("order {id} costs {total:?} and {charged} was charged")
        });
        let charge = self.charges.get(&format!("charge-{id}"));
        if let Some(charge) = charge.filter(|charge| charge.outcome == "CHARGED") {
            let paid = &charge.currency;
            ensure(wrong, paid == currency, || {
                format!("order {id} costs {currency} and {paid} was charged")
            });
        }
        for step in Step::ALL {
            ensure(
                wrong,
                !order.is_abandoned(step) || order.was_parked(),
                || {
                    let step = step.name();
                    format!("order {id}: its {step} was abandoned but never parked")
                },
            );
        }
        let net = charged - refunded;
        match state.as_str() {
            "confirmed" => {
                ensure(wrong, Some(net) == *total, || {
                    format!("order {id}: CONFIRMED for {total:?}, paid {net}")
                });
                let held = reserved.map(|reservation| &reservation.lines);
                ensure(wrong, held == Some(lines), || {
                    format!("order {id}: CONFIRMED for {lines:?}, holds {held:?}")
                });
            }
            "rejected" | "cancelled" => {
                ensure(wrong, net == 0 || order.is_abandoned(Step::Refund), || {
                    format!("order {id}: {state} and {net} not refunded")
                });
                ensure(wrong, !holds || order.is_abandoned(Step::Release), || {
                    format!("order {id}: {state} and still holds stock")
                });
            }
            _ => {}
        }
    }
}

/// Adds a violation unless the invariant holds.
pub(crate) fn ensure(
    violations: &mut Vec<Violation>,
    holds: bool,
    why: impl FnOnce() -> Violation,
) {
    if !holds {
        violations.push(why());
    }
}

/// Only the step in which an order is parked can be abandoned.
fn check_abandonment(id: &str, old: &Order, new: &Order, wrong: &mut Vec<Violation>) {
    for entry in new.timeline.iter().skip(old.timeline.len()) {
        let of = match entry["what"].as_str() {
            Some("refund_abandoned") => "refunding",
            Some("release_abandoned") => "releasing",
            _ => continue,
        };
        let (state, parked, abandoned) = (&old.state, old.parked, &entry["what"]);
        ensure(wrong, parked && state.starts_with(of), || {
            format!("order {id}: {abandoned} while it was {state}, parked: {parked}")
        });
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

fn check_transition(id: &str, old: &Order, new: &Order, wrong: &mut Vec<Violation>) {
    ensure(
        wrong,
        (&new.user, &new.lines) == (&old.user, &old.lines),
        || format!("order {id} changed its user or lines"),
    );
    let (before, after) = (old.total, new.total);
    ensure(wrong, before.is_none() || before == after, || {
        format!("order {id}: the total changed from {before:?} to {after:?}")
    });
    ensure(wrong, new.timeline.starts_with(&old.timeline), || {
        format!("order {id}: the timeline was rewritten")
    });
    let (before, after) = (old.state.as_str(), new.state.as_str());
    let allowed = match before {
        "rejected" | "cancelled" => false,
        "confirmed" => after == "refunding_to_cancel",
        _ => true,
    };
    ensure(wrong, allowed, || {
        format!("order {id} went from {before} to {after}")
    });
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
