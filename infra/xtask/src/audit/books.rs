//! The four services' books: what an audit needs of the rows of their tables, read without trust.
//!
//! Rows come as plain JSON, so that an AWS account, the emulator and a test's own engine are read
//! alike. A row that is not understood is kept as such: an audit must not pass over what it cannot
//! read.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Default)]
pub struct Books {
    pub users: BTreeSet<Uuid>,
    pub orders: Vec<Order>,
    pub items: Vec<Item>,
    pub adjustments: Vec<Adjustment>,
    pub reservations: Vec<Reservation>,
    pub payments: Vec<Payment>,
    /// The simulator's ledger: what the provider says, whatever payments has on record. A real
    /// provider's books are not in a table of ours.
    pub charges: Vec<Charge>,
    pub refunds: Vec<Refund>,
    pub unreadable: Vec<Unreadable>,
    /// Orders whose first row, or whose payment, came while the tables were read: whatever else has
    /// been read of them is the system at work.
    pub meanwhile: BTreeSet<Uuid>,
}

/// A row that is not what its service writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub table: &'static str,
    pub pk: String,
    pub sk: String,
    pub cause: String,
}

impl Unreadable {
    /// The order it belongs to.
    pub fn order(&self) -> Option<Uuid> {
        match self.pk.strip_prefix("ORDER#") {
            Some(id) => Uuid::try_parse(id).ok(),
            None => charged_for(self.pk.strip_prefix(LEDGER)?),
        }
    }

    /// The item it belongs to.
    pub fn sku(&self) -> Option<&str> {
        self.pk.strip_prefix("ITEM#")
    }
}

/// The order that a charge, or the refund of one, is for, by the key the provider knows it under.
pub fn charged_for(key: &str) -> Option<Uuid> {
    let id = key.strip_prefix("charge-")?;
    Uuid::try_parse(id.strip_suffix("-refund").unwrap_or(id)).ok()
}

/// What the provider's rows are kept under, before the key.
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
    pub due_at: Option<Timestamp>,
    pub due_shard: Option<String>,
    #[serde(default)]
    pub parked: bool,
    pub timeline: Vec<Entry>,
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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

/// As the orders' rows have it.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verifying => "verifying",
            Self::Reserving => "reserving",
            Self::Charging => "charging",
            Self::Confirmed => "confirmed",
            Self::RefundingToReject => "refunding_to_reject",
            Self::RefundingToCancel => "refunding_to_cancel",
            Self::ReleasingToReject => "releasing_to_reject",
            Self::ReleasingToCancel => "releasing_to_cancel",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        })
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
    pub sku: String,
    pub name: String,
    #[serde(flatten)]
    pub price: Money,
    pub stocked: i64,
    pub available: i64,
    pub held: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Adjustment {
    pub sku: String,
    pub delta: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Reservation {
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
    pub amount: i64,
    pub currency: String,
}

#[derive(Clone, Debug)]
pub struct Payment {
    pub order_id: Uuid,
    pub user_id: Uuid,
    pub status: PaymentStatus,
    pub charge: Option<AskedCharge>,
    pub payment_id: Option<String>,
    pub updated_at: Timestamp,
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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

/// As the payments' rows have it.
impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Charging => "CHARGING",
            Self::Charged => "CHARGED",
            Self::Declined => "DECLINED",
            Self::Refunding => "REFUNDING",
            Self::Refunded => "REFUNDED",
            Self::Voided => "VOIDED",
        })
    }
}

/// A charge in the provider's ledger.
#[derive(Clone, Debug)]
pub struct Charge {
    pub key: String,
    /// What was taken; nothing where it was declined or cancelled.
    pub taken: Option<Money>,
}

/// A refund in the provider's ledger.
#[derive(Clone, Debug)]
pub struct Refund {
    /// The charge it gives back.
    pub charge_key: String,
    pub given_back: Money,
}

/// A payment's id at the simulator is the charge's key behind this.
pub const SIMULATED: &str = "sim_";

impl Books {
    /// Reads the rows of the four tables. Kinds of rows that an audit does not need are left out.
    pub fn read(
        users: &[Value],
        orders: &[Value],
        inventory: &[Value],
        payments: &[Value],
    ) -> Self {
        let mut books = Self::default();
        books.add_users(users);
        for row in orders {
            if key(row, "pk").starts_with("ORDER#") {
                let order = books.parsed::<Order>("orders", row);
                books.orders.extend(order);
            }
        }
        for row in inventory {
            let sk = key(row, "sk");
            if sk == "ITEM" {
                let item = books.parsed::<Item>("inventory", row);
                books.items.extend(item);
            } else if sk == "RESERVATION" {
                let reservation = books.parsed::<Reservation>("inventory", row);
                books.reservations.extend(reservation);
            } else if sk.starts_with("ADJUSTMENT#") {
                let adjustment = books.parsed::<Adjustment>("inventory", row);
                books.adjustments.extend(adjustment);
            }
        }
        for row in payments {
            let (pk, sk) = (key(row, "pk"), key(row, "sk"));
            if let (Some(id), "PAYMENT") = (pk.strip_prefix("ORDER#"), sk) {
                let payment = Uuid::try_parse(id)
                    .map_err(|error| error.to_string())
                    .and_then(|order_id| {
                        let row: PaymentRow = from(row)?;
                        Ok(row.of(order_id))
                    });
                match payment {
                    Ok(payment) => books.payments.push(payment),
                    Err(cause) => books.unreadable("payments", row, &cause),
                }
            } else if let (Some(charge), "CHARGE") = (pk.strip_prefix(LEDGER), sk) {
                match from::<ChargeRow>(row).and_then(|row| row.of(charge)) {
                    Ok(charge) => books.charges.push(charge),
                    Err(cause) => books.unreadable("payments", row, &cause),
                }
            } else if let (true, "REFUND") = (pk.starts_with(LEDGER), sk) {
                match from::<RefundRow>(row).and_then(RefundRow::of) {
                    Ok(refund) => books.refunds.push(refund),
                    Err(cause) => books.unreadable("payments", row, &cause),
                }
            }
        }
        books
    }

    /// Whose reservation or payment was read, and no order.
    pub fn without_order(&self) -> BTreeSet<Uuid> {
        let ordered: BTreeSet<Uuid> = self.orders.iter().map(|order| order.id).collect();
        let reserved = self.reservations.iter().map(|r| r.order_id);
        let paid = self.payments.iter().map(|payment| payment.order_id);
        let mut ids: BTreeSet<Uuid> = reserved.chain(paid).collect();
        ids.retain(|id| !ordered.contains(id) && !self.has_unreadable("orders", *id));
        ids
    }

    /// For whom the provider took money, and no payment was read.
    pub fn without_payment(&self) -> BTreeSet<Uuid> {
        let paid: BTreeSet<Uuid> = self.payments.iter().map(|p| p.order_id).collect();
        let taken = self.charges.iter().filter(|charge| charge.taken.is_some());
        let mut ids: BTreeSet<Uuid> = taken.filter_map(|c| charged_for(&c.key)).collect();
        ids.retain(|id| !paid.contains(id) && !self.has_unreadable("payments", *id));
        ids
    }

    /// Takes in which users there are.
    pub fn add_users(&mut self, rows: &[Value]) {
        for row in rows {
            if let Some(id) = key(row, "pk").strip_prefix("USER#") {
                match Uuid::try_parse(id) {
                    Ok(id) => {
                        self.users.insert(id);
                    }
                    Err(error) => self.unreadable("users", row, &error.to_string()),
                }
            }
        }
    }

    pub fn who_ordered(&self) -> BTreeSet<Uuid> {
        self.orders.iter().map(|order| order.user_id).collect()
    }

    /// Takes in what was found of these when it was looked for by itself.
    pub fn found_meanwhile(&mut self, orders: &[Value], payments: &[Value]) {
        let found = Self::read(&[], orders, &[], payments);
        let orders = found.orders.iter().map(|order| order.id);
        let payments = found.payments.iter().map(|payment| payment.order_id);
        self.meanwhile.extend(orders.chain(payments));
        self.unreadable.extend(found.unreadable);
    }

    fn has_unreadable(&self, table: &str, order: Uuid) -> bool {
        let mut rows = self.unreadable.iter();
        rows.any(|row| row.table == table && row.order() == Some(order))
    }

    fn parsed<T: DeserializeOwned>(&mut self, table: &'static str, row: &Value) -> Option<T> {
        from(row)
            .map_err(|cause| self.unreadable(table, row, &cause))
            .ok()
    }

    fn unreadable(&mut self, table: &'static str, row: &Value, cause: &str) {
        self.unreadable.push(Unreadable {
            table,
            pk: key(row, "pk").to_owned(),
            sk: key(row, "sk").to_owned(),
            cause: cause.to_owned(),
        });
    }
}

impl State {
    /// Still to end.
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
}

fn key<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap_or_default()
}

fn from<T: DeserializeOwned>(row: &Value) -> Result<T, String> {
    T::deserialize(row).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct PaymentRow {
    user_id: Uuid,
    status: PaymentStatus,
    charge: Option<AskedCharge>,
    payment_id: Option<String>,
    updated_at: Timestamp,
    version: u64,
}

impl PaymentRow {
    fn of(self, order_id: Uuid) -> Payment {
        Payment {
            order_id,
            user_id: self.user_id,
            status: self.status,
            charge: self.charge,
            payment_id: self.payment_id,
            updated_at: self.updated_at,
            version: self.version,
        }
    }
}

#[derive(Deserialize)]
struct ChargeRow {
    asked: Option<Money>,
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Outcome {
    Charged,
    Declined,
    Cancelled,
}

impl ChargeRow {
    fn of(self, key: &str) -> Result<Charge, String> {
        let taken = match self.outcome {
            Outcome::Charged => Some(self.asked.ok_or("it is charged without an amount")?),
            Outcome::Declined | Outcome::Cancelled => None,
        };
        Ok(Charge {
            key: key.to_owned(),
            taken,
        })
    }
}

#[derive(Deserialize)]
struct RefundRow {
    payment_id: String,
    #[serde(flatten)]
    money: Money,
}

impl RefundRow {
    fn of(self) -> Result<Refund, String> {
        let charge_key = self
            .payment_id
            .strip_prefix(SIMULATED)
            .ok_or("its payment_id is not the simulator's")?;
        Ok(Refund {
            charge_key: charge_key.to_owned(),
            given_back: self.money,
        })
    }
}
