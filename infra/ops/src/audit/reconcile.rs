//! Compares the four services' rows: a pure function of the rows and the time.
//!
//! For every order that has ended:
//! - stock: for each SKU `stocked = available + held`, no level is negative, and `held` is the sum
//!   of the reservations of confirmed orders and orders in flight;
//! - money: the net charge is the order's total if it is confirmed, and zero otherwise. Payments'
//!   records and the provider's ledger agree. No refund exceeds its charge.
//!
//! Each finding names a next step and disappears once that step is done.
//!
//! An order in flight is reported only if it is stuck or in a state that its saga cannot reach. A
//! step that an operator abandoned is written off, not a discrepancy, unless the charge or
//! reservation came after the decision.
//!
//! An order with an unreadable row is reported only for that row, which may hold what the others
//! lack.

mod ledger;
mod money;
mod next;
mod progress;
mod stock;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::rows::{Misfiled, Order, Payment, Reservation, ReservationStatus, RowKey, Rows, State};
use ledger::{LedgerEntry, ledger};
use money::refund_abandoned;

/// The totals and the findings.
#[derive(Debug, Default, Serialize)]
pub struct Reconciliation {
    pub stock: BTreeMap<String, Stock>,
    pub money: BTreeMap<String, Cash>,
    pub orders: Counts,
    pub written_off: Vec<WrittenOff>,
    /// Carried out after an operator abandoned it. The books balance.
    pub after_all: Vec<WrittenOff>,
    /// Unusual, but balanced.
    pub remarks: Vec<String>,
    /// The number of rows read, by table.
    pub rows: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

/// The units of a SKU. `held` is the sum of the four fields after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stock {
    pub stocked: i128,
    pub available: i128,
    pub held: i128,
    pub confirmed: i128,
    pub in_flight: i128,
    pub written_off: i128,
    pub unexplained: i128,
}

/// The money of a currency, in minor units. `charged - refunded` is the sum of the four fields
/// after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cash {
    pub charged: i128,
    pub refunded: i128,
    pub confirmed: i128,
    pub in_flight: i128,
    pub written_off: i128,
    pub unexplained: i128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub confirmed: usize,
    pub rejected: usize,
    pub cancelled: usize,
    pub in_flight: usize,
}

/// A difference that an operator settled by hand, so the books still show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrittenOff {
    pub order: Uuid,
    pub what: String,
    /// The operator and the reason.
    pub decision: String,
    /// The next step if the refund or release happened twice.
    pub next: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub subject: Subject,
    pub kind: Kind,
    pub what: String,
    pub next: String,
    /// The versions of the rows behind this finding. Two snapshots with equal evidence saw the same
    /// rows.
    #[serde(skip)]
    pub evidence: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Order(Uuid),
    Item(String),
    Row(String),
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Order(id) => write!(f, "order {id}"),
            Subject::Item(sku) => write!(f, "item {sku}"),
            Subject::Row(key) => write!(f, "row {key}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Unreadable,
    Misshapen,
    Misfiled,
    Overdue,
    Parked,
    NeverDue,
    NoSuchUser,
    TotalDiffers,
    NotReserved,
    ReservedOtherwise,
    StillReserved,
    ReservedAfterAll,
    ReservationOfNobody,
    NoSuchItem,
    LevelsDiffer,
    BelowZero,
    HeldDiffers,
    AdjustmentsDiffer,
    NotCharged,
    ChargedOtherwise,
    StillCharged,
    ChargedAfterAll,
    OverRefunded,
    Unsettled,
    AnotherUser,
    PaymentOfNobody,
    LedgerDiffers,
    LedgerOfNobody,
    RefundBeyondCharge,
}

pub fn reconcile(rows: &Rows, now: Timestamp) -> Reconciliation {
    let mut audit = Audit {
        reservations: rows.reservations.iter().map(|r| (r.order_id, r)).collect(),
        payments: rows.payments.iter().map(|p| (p.order_id, p)).collect(),
        adjusted: rows
            .adjustments
            .iter()
            .fold(BTreeMap::new(), |mut all, one| {
                let sum = all.entry(&*one.sku).or_default();
                *sum = add(*sum, one.delta.into());
                all
            }),
        ledger: ledger(rows),
        orders: rows.orders.iter().map(|order| (order.id, order)).collect(),
        unreadable: rows
            .unreadable
            .iter()
            .filter_map(|unreadable| unreadable.row.order())
            .collect(),
        rows,
        now,
        done: Reconciliation {
            rows: rows.rows.clone(),
            ..Reconciliation::default()
        },
    };
    audit.judge_rows();
    for order in &rows.orders {
        audit.order(order);
    }
    audit.reservations_without_order();
    audit.payments_without_order();
    audit.ledger_entries();
    audit.stock();
    audit.done.findings.sort();
    audit.done
}

struct Audit<'b> {
    rows: &'b Rows,
    now: Timestamp,
    orders: BTreeMap<Uuid, &'b Order>,
    reservations: BTreeMap<Uuid, &'b Reservation>,
    payments: BTreeMap<Uuid, &'b Payment>,
    /// The sum of each item's adjustments.
    adjusted: BTreeMap<&'b str, i128>,
    /// By the key of the charge.
    ledger: BTreeMap<&'b str, LedgerEntry<'b>>,
    /// Orders with an unreadable row in any table.
    unreadable: BTreeSet<Uuid>,
    done: Reconciliation,
}

fn sum(amounts: impl Iterator<Item = i128>) -> i128 {
    amounts.fold(0, add)
}

fn add(a: i128, b: i128) -> i128 {
    a.checked_add(b)
        .expect("fewer than 2^63 rows of 64-bit amounts add up to less than 2^127")
}

impl<'b> Audit<'b> {
    fn find(&mut self, subject: Subject, kind: Kind, what: String, evidence: String) {
        let next = match &subject {
            Subject::Order(id) => kind.next().replace("{id}", &id.to_string()),
            Subject::Item(_) | Subject::Row(_) => kind.next(),
        };
        self.find_next(subject, kind, what, next, evidence);
    }

    /// For a next step that depends on more than the kind.
    fn find_next(
        &mut self,
        subject: Subject,
        kind: Kind,
        what: String,
        next: String,
        evidence: String,
    ) {
        self.done.findings.push(Finding {
            subject,
            kind,
            what,
            next,
            evidence,
        });
    }

    fn find_in(&mut self, order: &Order, kind: Kind, what: String) {
        let evidence = self.evidence(order);
        self.find(Subject::Order(order.id), kind, what, evidence);
    }

    fn evidence(&self, order: &Order) -> String {
        let payment = self.payments.get(&order.id);
        let reservation = self.reservations.get(&order.id);
        format!(
            "{} {:?} {:?}",
            order.version,
            payment.map(|payment| payment.version),
            reservation.map(|reservation| &reservation.updated_at)
        )
    }

    fn judge_rows(&mut self) {
        for unreadable in &self.rows.unreadable {
            let (row, cause) = (&unreadable.row, &unreadable.cause);
            let subject = match subject_of(row) {
                // An unreadable item does not make its stock wrong.
                Subject::Item(_) => Subject::Row(row.to_string()),
                subject => subject,
            };
            let its_row = its_row(&subject, row);
            let what = format!("{its_row} cannot be read: {cause}");
            self.find(subject, Kind::Unreadable, what, cause.clone());
        }
        for misshapen in &self.rows.misshapen {
            let (row, cause) = (&misshapen.row, &misshapen.cause);
            let subject = subject_of(row);
            let its_row = its_row(&subject, row);
            let what = format!("its service may not read {its_row}: {cause}");
            self.find(subject, Kind::Misshapen, what, cause.clone());
        }
        for misfiled in &self.rows.misfiled {
            self.misfiled(misfiled);
        }
        for row in &self.rows.unknown {
            let remark = format!("row {row}: this version does not know its kind");
            self.done.remarks.push(remark);
        }
    }

    fn misfiled(&mut self, misfiled: &Misfiled) {
        let Misfiled {
            row,
            attribute,
            is,
            must_be,
            effect,
        } = misfiled;
        let next = match must_be {
            Some(text) => format!("set its {attribute} to {text} in its row {row}"),
            None => format!("remove its {attribute} from its row {row}"),
        };
        let what = format!("its {attribute} is {is}: {effect}");
        let evidence = format!("{attribute} {is}");
        self.find_next(subject_of(row), Kind::Misfiled, what, next, evidence);
    }

    fn order(&mut self, order: &'b Order) {
        let (counts, state) = (&mut self.done.orders, order.state);
        counts.confirmed += usize::from(state == State::Confirmed);
        counts.rejected += usize::from(state == State::Rejected);
        counts.cancelled += usize::from(state == State::Cancelled);
        counts.in_flight += usize::from(state.is_in_flight());
        if self.unreadable.contains(&order.id) {
            self.book_unjudged(order);
            return;
        }
        if !self.rows.users.contains(&order.user_id) {
            let what = format!("its user {} does not exist", order.user_id);
            self.find_in(order, Kind::NoSuchUser, what);
        }
        self.progress(order);
        self.total(order);
        self.reservation(order);
        self.payment(order);
    }

    /// Books the readable amounts of an order that cannot be judged.
    fn book_unjudged(&mut self, order: &Order) {
        let reservation = self.reservations.get(&order.id).copied();
        if let Some(reservation) = reservation.filter(|r| r.status == ReservationStatus::Reserved) {
            self.hold(order, reservation);
        }
        let payment = self.payments.get(&order.id).copied();
        if let Some(payment) = payment
            && let Some(net) = self.net(payment)
        {
            let is_abandoned = refund_abandoned(order, payment).is_some();
            self.book(order, &net, is_abandoned);
        }
    }
}

fn subject_of(row: &RowKey) -> Subject {
    match (row.order(), row.sku()) {
        (Some(id), _) => Subject::Order(id),
        (None, Some(sku)) => Subject::Item(sku.to_owned()),
        (None, None) => Subject::Row(row.to_string()),
    }
}

fn its_row(subject: &Subject, row: &RowKey) -> String {
    match subject {
        Subject::Row(_) => "it".to_owned(),
        Subject::Order(_) | Subject::Item(_) => format!("its row {row}"),
    }
}

#[cfg(test)]
pub(super) mod tests;
