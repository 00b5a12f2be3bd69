//! Parses the rows of the four tables without trusting them.
//!
//! Rows are plain JSON, so that an AWS account, the emulator and a test's engine are read alike.
//! Every row is parsed, unreadable or of an unknown kind. A parsed row may still be one that its
//! service cannot read (`misshapen`). It may also be missing from a list, because an index
//! attribute is wrong (`misfiled`).
//!
//! Unknown attributes are allowed, so that newer rows can be read.

mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use shape::{
    AdjustmentShape, ChargeShape, ItemShape, KeyShape, OrderShape, PaymentShape, RefundShape,
    ReservationShape, Shape,
};

#[derive(Debug, Default)]
pub struct Rows {
    pub users: BTreeSet<Uuid>,
    pub orders: Vec<Order>,
    pub items: Vec<Item>,
    pub adjustments: Vec<Adjustment>,
    pub reservations: Vec<Reservation>,
    pub payments: Vec<Payment>,
    /// The simulator's ledger: the provider's own view. A real provider's ledger is not in our
    /// tables.
    pub charges: Vec<Charge>,
    pub refunds: Vec<Refund>,
    pub unreadable: Vec<Unreadable>,
    /// Parsed here, but not readable for their service.
    pub misshapen: Vec<Unreadable>,
    pub misfiled: Vec<Misfiled>,
    /// Rows of an unknown kind.
    pub unknown: Vec<RowKey>,
    /// The number of rows, by table.
    pub rows: BTreeMap<&'static str, usize>,
    /// Orders whose row or payment was written during the scan: their other rows are work in
    /// progress.
    pub meanwhile: BTreeSet<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    pub table: &'static str,
    pub pk: String,
    pub sk: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub row: RowKey,
    pub cause: String,
}

/// An index attribute with another value than its service writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfiled {
    pub row: RowKey,
    pub attribute: &'static str,
    pub is: String,
    /// `None` if the attribute must be absent.
    pub must_be: Option<String>,
    pub effect: &'static str,
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of the {} table", self.pk, self.sk, self.table)
    }
}

impl RowKey {
    fn of(table: &'static str, row: &Value) -> Self {
        Self {
            table,
            pk: key(row, "pk").to_owned(),
            sk: key(row, "sk").to_owned(),
        }
    }

    pub fn order(&self) -> Option<Uuid> {
        match self.pk.strip_prefix("ORDER#") {
            Some(id) => Uuid::try_parse(id).ok(),
            None => charged_for(self.pk.strip_prefix(LEDGER)?),
        }
    }

    pub fn sku(&self) -> Option<&str> {
        self.pk.strip_prefix("ITEM#")
    }
}

/// The order of a charge or refund, from the provider's key.
pub fn charged_for(key: &str) -> Option<Uuid> {
    let id = key.strip_prefix("charge-")?;
    Uuid::try_parse(id.strip_suffix("-refund").unwrap_or(id)).ok()
}

/// The partition key of a table's own row about its migrations.
pub const MIGRATIONS: &str = "MIGRATIONS";

/// The prefix of the provider's keys.
const LEDGER: &str = "SIMULATOR#";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Money {
    pub amount: i64,
    pub currency: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    pub id: Uuid,
    pub user_id: Uuid,
    pub lines: Vec<Line>,
    pub total: Option<Money>,
    pub state: State,
    pub attempt: u32,
    /// As text, because the sweeper's index compares texts.
    pub due_at: Option<String>,
    pub due_shard: Option<String>,
    #[serde(default)]
    pub parked: bool,
    pub timeline: Vec<Entry>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Verifying,
    Reserving,
    Charging,
    Confirmed,
    RefundingToReject,
    RefundingToCancel,
    ReleasingToReject,
    ReleasingToCancel,
    Rejected,
    Cancelled,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
    pub unit_price: Option<Money>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub what: String,
    pub detail: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Item {
    /// From the key.
    #[serde(skip)]
    pub sku: String,
    #[serde(flatten)]
    pub price: Money,
    pub stocked: i64,
    pub available: i64,
    pub held: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Adjustment {
    /// From the key.
    #[serde(skip)]
    pub sku: String,
    pub delta: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Reservation {
    /// From the key.
    #[serde(skip)]
    pub order_id: Uuid,
    pub status: ReservationStatus,
    #[serde(default)]
    pub lines: Vec<ReservedLine>,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReservationStatus {
    Reserved,
    Refused,
    Released,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ReservedLine {
    pub sku: String,
    pub quantity: i64,
    #[serde(flatten)]
    pub price: Money,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Payment {
    /// From the key.
    #[serde(skip)]
    pub order_id: Uuid,
    pub user_id: Uuid,
    pub status: PaymentStatus,
    pub charge: Option<AskedCharge>,
    pub payment_id: Option<String>,
    pub updated_at: Timestamp,
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentStatus {
    Charging,
    Charged,
    Declined,
    Refunding,
    Refunded,
    Voided,
}

#[derive(Clone, Debug, Deserialize)]
pub struct AskedCharge {
    pub key: String,
    #[serde(flatten)]
    pub money: Money,
}

impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A charge in the provider's ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    /// From the key.
    #[serde(skip)]
    pub key: String,
    asked: Option<Money>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Outcome {
    Charged,
    Declined,
    Cancelled,
}

impl Charge {
    /// The charged amount; `None` if the charge was declined or cancelled.
    pub fn taken(&self) -> Option<&Money> {
        self.asked
            .as_ref()
            .filter(|_| self.outcome == Outcome::Charged)
    }
}

/// A refund in the provider's ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Refund {
    payment_id: String,
    #[serde(flatten)]
    pub given_back: Money,
}

impl Refund {
    pub fn charge_key(&self) -> Option<&str> {
        self.payment_id.strip_prefix(SIMULATED)
    }
}

/// The simulator's payment id is this prefix and the charge's key.
pub const SIMULATED: &str = "sim_";

impl Rows {
    /// Parses the four tables. Of users, only the attributes of their lists are read.
    pub fn read(
        users: &[Value],
        orders: &[Value],
        inventory: &[Value],
        payments: &[Value],
    ) -> Self {
        let mut rows = Self::default();
        rows.add_users(users);
        let is_data = |row: &&Value| row["pk"] != MIGRATIONS;
        for row in orders.iter().filter(is_data) {
            rows.add_order(row);
        }
        for row in inventory.iter().filter(is_data) {
            rows.add_stock(row);
        }
        for row in payments.iter().filter(is_data) {
            rows.add_payment(row);
        }
        rows
    }

    fn add_order(&mut self, row: &Value) {
        let place = self.count("orders", row);
        if !place.pk.starts_with("ORDER#") || place.sk != "ORDER" {
            self.unknown.push(place);
            return;
        }
        let mut row = row.clone();
        if let Some(entries) = row.get("timeline").map(|_| timeline(&row)) {
            row["timeline"] = entries;
        }
        let row = &row;
        let order = self.parsed::<Order, OrderShape>(&place, row, |order| {
            is_keyed(&place, "id", order.id, "ORDER#")?;
            match (&order.due_at, order.due()) {
                (Some(due_at), None) => Err(format!("due_at {due_at:?} is not a time")),
                (Some(_), Some(_)) | (None, _) => Ok(()),
            }
        });
        if let Some(order) = order {
            self.file_order(&place, row, &order);
            self.orders.push(order);
        }
    }

    /// Checks the attributes that the indexes of the orders table use.
    fn file_order(&mut self, place: &RowKey, row: &Value, order: &Order) {
        const NOT_LISTED: &str = "its customer's list omits or misplaces it";
        const NO_END: &str = "the sweeper processes it every minute, although it has ended";
        let mut file = |attribute, must_be: Option<String>, effect| {
            self.file(place, row, attribute, must_be, effect);
        };
        let user = order.user_id.to_string();
        file("user_id", Some(user), NOT_LISTED);
        let placed = format!("{:.3}#{}", order.created_at, order.id);
        file("placed", Some(placed), NOT_LISTED);
        // For an order in flight, `progress` judges these.
        if !order.state.is_in_flight() {
            file("due_at", None, NO_END);
            file("due_shard", None, NO_END);
        }
    }

    fn add_stock(&mut self, row: &Value) {
        let place = self.count("inventory", row);
        let (is_item, is_order) = (
            place.pk.starts_with("ITEM#"),
            place.pk.starts_with("ORDER#"),
        );
        if is_item && place.sk == "ITEM" {
            if let Some(mut item) = self.parsed::<Item, ItemShape>(&place, row, |_| Ok(())) {
                const NOT_LISTED: &str = "the catalogue does not list it";
                let catalogue = Some("ITEM".to_owned());
                self.file(&place, row, "catalogue", catalogue, NOT_LISTED);
                item.sku = place.sku().unwrap_or_default().to_owned();
                self.file(&place, row, "sku", Some(item.sku.clone()), NOT_LISTED);
                self.items.push(item);
            }
        } else if is_order && place.sk == "RESERVATION" {
            let own = |_: &Reservation| is_of_an_order(&place);
            let reservation = self.parsed::<_, ReservationShape>(&place, row, own);
            let order_id = place.order().unwrap_or_default();
            let keyed = reservation.map(|row| Reservation { order_id, ..row });
            self.reservations.extend(keyed);
        } else if is_item && place.sk.starts_with("ADJUSTMENT#") {
            let own = |_: &Adjustment| Ok(());
            let adjustment = self.parsed::<_, AdjustmentShape>(&place, row, own);
            let sku = place.sku().unwrap_or_default().to_owned();
            let keyed = adjustment.map(|row| Adjustment { sku, ..row });
            self.adjustments.extend(keyed);
        } else if place.pk.starts_with("KEY#") && place.sk == "KEY" {
            self.parsed::<Value, KeyShape>(&place, row, |_| Ok(()));
        } else {
            self.unknown.push(place);
        }
    }

    fn add_payment(&mut self, row: &Value) {
        let place = self.count("payments", row);
        let is_ledger = place.pk.starts_with(LEDGER);
        if place.pk.starts_with("ORDER#") && place.sk == "PAYMENT" {
            let own = |_: &Payment| is_of_an_order(&place);
            let payment = self.parsed::<_, PaymentShape>(&place, row, own);
            let order_id = place.order().unwrap_or_default();
            let keyed = payment.map(|row| Payment { order_id, ..row });
            self.payments.extend(keyed);
        } else if is_ledger && place.sk == "CHARGE" {
            let own = |charge: &Charge| match (charge.outcome, &charge.asked) {
                (Outcome::Charged, None) => Err("it is charged but has no amount".to_owned()),
                (Outcome::Charged | Outcome::Declined | Outcome::Cancelled, _) => Ok(()),
            };
            let charge = self.parsed::<_, ChargeShape>(&place, row, own);
            let key = place.pk.strip_prefix(LEDGER).unwrap_or_default().to_owned();
            self.charges.extend(charge.map(|row| Charge { key, ..row }));
        } else if is_ledger && place.sk == "REFUND" {
            let own = |refund: &Refund| match refund.charge_key() {
                Some(_) => Ok(()),
                None => Err("its payment_id is not the simulator's".to_owned()),
            };
            let refund = self.parsed::<_, RefundShape>(&place, row, own);
            self.refunds.extend(refund);
        } else {
            self.unknown.push(place);
        }
    }

    /// The orders of reservations and payments whose order was not read.
    pub fn without_order(&self) -> BTreeSet<Uuid> {
        let ordered: BTreeSet<Uuid> = self.orders.iter().map(|order| order.id).collect();
        let reserved = self.reservations.iter().map(|r| r.order_id);
        let paid = self.payments.iter().map(|payment| payment.order_id);
        let mut ids: BTreeSet<Uuid> = reserved.chain(paid).collect();
        ids.retain(|id| !ordered.contains(id) && !self.has_unreadable("orders", *id));
        ids
    }

    /// The orders of charges whose payment was not read.
    pub fn without_payment(&self) -> BTreeSet<Uuid> {
        let paid: BTreeSet<Uuid> = self.payments.iter().map(|p| p.order_id).collect();
        let taken = self
            .charges
            .iter()
            .filter(|charge| charge.taken().is_some());
        let mut ids: BTreeSet<Uuid> = taken.filter_map(|c| charged_for(&c.key)).collect();
        ids.retain(|id| !paid.contains(id) && !self.has_unreadable("payments", *id));
        ids
    }

    /// Adds existing users, and checks the attributes of their lists.
    pub fn add_users(&mut self, rows: &[Value]) {
        for row in rows {
            let place = self.count("users", row);
            // Other rows of this table are not audited.
            let Some(id) = place.pk.strip_prefix("USER#") else {
                continue;
            };
            match Uuid::try_parse(id) {
                Ok(id) => {
                    self.users.insert(id);
                    const NOT_LISTED: &str = "no list of users has it";
                    self.file(&place, row, "id", Some(id.to_string()), NOT_LISTED);
                    if !STATUSES.contains(&key(row, "status")) {
                        const EFFECT: &str = "no list of users has it; after deactivating it, an \
                                              administrator can activate it";
                        let status = Some("deactivated".to_owned());
                        self.file(&place, row, "status", status, EFFECT);
                    }
                }
                Err(error) => self.unreadable(place, error.to_string()),
            }
        }
    }

    pub fn who_ordered(&self) -> BTreeSet<Uuid> {
        self.orders.iter().map(|order| order.user_id).collect()
    }

    /// Adds the rows that were looked up after the scan.
    pub fn found_meanwhile(&mut self, orders: &[Value], payments: &[Value]) {
        let found = Self::read(&[], orders, &[], payments);
        let orders = found.orders.iter().map(|order| order.id);
        let payments = found.payments.iter().map(|payment| payment.order_id);
        self.meanwhile.extend(orders.chain(payments));
        self.unreadable.extend(found.unreadable);
    }

    fn has_unreadable(&self, table: &str, order: Uuid) -> bool {
        let mut rows = self.unreadable.iter().map(|unreadable| &unreadable.row);
        rows.any(|row| row.table == table && row.order() == Some(order))
    }

    fn count(&mut self, table: &'static str, row: &Value) -> RowKey {
        *self.rows.entry(table).or_default() += 1;
        RowKey::of(table, row)
    }

    /// Compares an index attribute with the value that its service writes.
    fn file(
        &mut self,
        place: &RowKey,
        row: &Value,
        attribute: &'static str,
        must_be: Option<String>,
        effect: &'static str,
    ) {
        let is = &row[attribute];
        if is.as_str() == must_be.as_deref() && (must_be.is_some() || is.is_null()) {
            return;
        }
        self.misfiled.push(Misfiled {
            row: place.clone(),
            attribute,
            is: match is {
                Value::Null => "missing".to_owned(),
                is => is.to_string(),
            },
            must_be,
            effect,
        });
    }

    fn unreadable(&mut self, row: RowKey, cause: String) {
        self.unreadable.push(Unreadable { row, cause });
    }

    /// Parses a row and checks its key. `misshapen` gets a row that its service could not read.
    fn parsed<T: DeserializeOwned, S: Shape>(
        &mut self,
        place: &RowKey,
        row: &Value,
        is_its_own: impl FnOnce(&T) -> Result<(), String>,
    ) -> Option<T> {
        let read = from::<T>(row).and_then(|read| is_its_own(&read).map(|()| read));
        match (read, from::<S>(row).and_then(|shape| shape.check(place))) {
            (Err(cause), _) => {
                self.unreadable(place.clone(), cause);
                None
            }
            (Ok(read), Ok(())) => Some(read),
            (Ok(read), Err(cause)) => {
                let row = place.clone();
                self.misshapen.push(Unreadable { row, cause });
                Some(read)
            }
        }
    }
}

/// The part of an order that a participant holds for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// The command or its compensation may not have run yet.
    Unknown,
    All,
}

impl State {
    /// The order's stock at inventory, and its money at the payment provider.
    pub fn held(self) -> (Held, Held) {
        match self {
            State::Verifying | State::Rejected | State::Cancelled => (Held::Nothing, Held::Nothing),
            State::Reserving | State::ReleasingToReject | State::ReleasingToCancel => {
                (Held::Unknown, Held::Nothing)
            }
            State::Charging | State::RefundingToReject | State::RefundingToCancel => {
                (Held::All, Held::Unknown)
            }
            State::Confirmed => (Held::All, Held::All),
        }
    }

    pub fn is_in_flight(self) -> bool {
        match self {
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::RefundingToReject
            | State::RefundingToCancel
            | State::ReleasingToReject
            | State::ReleasingToCancel => true,
            State::Confirmed | State::Rejected | State::Cancelled => false,
        }
    }
}

impl Order {
    pub fn has(&self, what: &str) -> Option<&Entry> {
        self.timeline.iter().find(|entry| entry.what == what)
    }

    /// The deadline that the sweeper checks.
    pub fn due(&self) -> Option<Timestamp> {
        self.due_at.as_ref()?.parse().ok()
    }

    /// The sweeper's partition for this order.
    pub fn shard(&self) -> String {
        match self.parked {
            true => PARKED.to_owned(),
            false => format!("DUE#{}", self.id.as_bytes()[15] % DUE_SHARDS),
        }
    }

    /// Whether the sweeper reads the partition the order is in.
    pub fn is_swept(&self) -> bool {
        let shard = self.due_shard.as_deref();
        shard.is_some_and(|shard| swept_shards().any(|swept| swept == shard))
    }
}

/// An order's timeline with each entry as a map. Schema 2 has texts such as
/// `1250 charge_payment_requested#2: detail`, with the milliseconds since `created_at`.
pub fn timeline(row: &Value) -> Value {
    let created_at = row["created_at"]
        .as_str()
        .and_then(|text| text.parse().ok());
    let Some((entries, created_at)) = row["timeline"].as_array().zip(created_at) else {
        return row["timeline"].clone();
    };
    let entries = entries.iter().map(|entry| {
        let read = entry.as_str().and_then(|text| entry_in(text, created_at));
        read.unwrap_or_else(|| entry.clone())
    });
    entries.collect()
}

fn entry_in(text: &str, created_at: Timestamp) -> Option<Value> {
    let (millis, rest) = text.split_once(' ')?;
    let after = SignedDuration::from_millis(millis.parse().ok()?);
    let (head, detail) = rest
        .split_once(": ")
        .map_or((rest, None), |(head, detail)| (head, Some(detail)));
    let (what, attempt) = match head.split_once('#') {
        Some((what, attempt)) => (what, Some(attempt.parse::<u32>().ok()?)),
        None => (head, None),
    };
    let at = created_at.checked_add(after).ok()?;
    let mut entry = json!({"at": at, "what": what, "attempt": attempt, "detail": detail});
    // As in schema 1, so that entries of both schemas are equal.
    entry.as_object_mut()?.retain(|_, value| !value.is_null());
    Some(entry)
}

/// The partitions of the sweeper's index.
pub const DUE_SHARDS: u8 = 8;
const PARKED: &str = "PARKED";

/// Every `due_shard` that the sweeper reads.
pub fn swept_shards() -> impl Iterator<Item = String> {
    let due = (0..DUE_SHARDS).map(|number| format!("DUE#{number}"));
    due.chain([PARKED.to_owned()])
}

/// The statuses with a list of users.
const STATUSES: [&str; 2] = ["active", "deactivated"];

/// The timeline events that orders writes; a test compares them.
pub const EVENTS: [&str; 25] = [
    "order_placed",
    "rehearsal_begun",
    "verify_user_requested",
    "user_verified",
    "user_refused",
    "reserve_stock_requested",
    "stock_reserved",
    "stock_refused",
    "charge_payment_requested",
    "payment_charged",
    "payment_declined",
    "order_confirmed",
    "cancel_requested",
    "price_changed",
    "step_timed_out",
    "refund_payment_requested",
    "payment_refunded",
    "release_stock_requested",
    "stock_released",
    "order_parked",
    "retry_requested",
    "refund_abandoned",
    "release_abandoned",
    "order_rejected",
    "order_cancelled",
];

/// The reasons inventory refuses for; a test compares them.
pub const REFUSALS: [&str; 4] = ["unknown_item", "mixed_currency", "out_of_stock", "released"];

/// Checks that a row is under its own key.
fn is_keyed(place: &RowKey, name: &str, is: impl ToString, prefix: &str) -> Result<(), String> {
    let is = is.to_string();
    match place.pk.strip_prefix(prefix) == Some(&*is) {
        true => Ok(()),
        false => Err(format!(
            "its {name} is {is:?} and its key is {:?}",
            place.pk
        )),
    }
}

fn is_of_an_order(place: &RowKey) -> Result<(), String> {
    match place.order() {
        Some(id) => is_keyed(place, "order", id, "ORDER#"),
        None => Err("its key has no order id".to_owned()),
    }
}

fn key<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap_or_default()
}

fn from<T: DeserializeOwned>(row: &Value) -> Result<T, String> {
    T::deserialize(row).map_err(|error| error.to_string())
}
