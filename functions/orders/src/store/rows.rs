//! An order as a row of the table.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_lambda::Error;
use shared_lambda::table::{Row, TableError, millis, read_row, to_row};
use uuid::Uuid;

use super::due::DuePartition;
use super::timeline::EntryRow;
use crate::domain::{
    Command, Failure, InjectedFaults, Line, Money, Order, OrderId, PaymentMethod, Quantity, Sku,
    State, UserId,
};

/// The sort key of every order.
pub(super) const SK: &str = "ORDER";

/// An order's row. Attributes that only queries use derive from the others and are not read back.
#[derive(Serialize, Deserialize)]
pub(super) struct OrderRow {
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    id: Uuid,
    user_id: Uuid,
    #[serde(skip_deserializing)]
    placed: String,
    lines: Vec<LineRow>,
    payment_method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_total: Option<MoneyRow>,
    fingerprint: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "rehearsal")]
    faults: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<MoneyRow>,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureRow>,
    attempt: u32,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    parked: bool,
    timeline: Vec<EntryRow>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct LineRow {
    sku: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    quantity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price: Option<MoneyRow>,
}

#[derive(Serialize, Deserialize)]
struct MoneyRow {
    amount: i64,
    currency: String,
}

#[derive(Serialize, Deserialize)]
struct FailureRow {
    code: String,
    detail: String,
}

/// The schema of the rows that this code writes.
pub const SCHEMA: u32 = 2;

/// The row cannot have been written by this version of the code.
#[derive(Debug, thiserror::Error)]
#[error("the order's row has an unknown, missing or invalid {0}")]
pub(super) struct InvalidRow(pub &'static str);

pub(super) fn pk(id: OrderId) -> String {
    format!("ORDER#{}", id.0)
}

pub(super) fn item(order: &Order, operation: &'static str) -> Result<Row, TableError> {
    to_row(operation, &OrderRow::from(order))
}

pub(super) fn order_of(item: Row, operation: &'static str) -> Result<Order, TableError> {
    read_row(operation, item, order)
}

pub(super) fn order(row: OrderRow) -> Result<Order, Error> {
    Ok(Order::try_from(row)?)
}

impl From<&Order> for OrderRow {
    fn from(order: &Order) -> Self {
        Self {
            pk: pk(order.id),
            sk: SK.to_owned(),
            schema: SCHEMA,
            id: order.id.0,
            user_id: order.user_id.0,
            placed: format!("{}#{}", millis(order.created_at), order.id.0),
            lines: order.lines.iter().map(LineRow::from).collect(),
            payment_method: order.payment_method.as_str().to_owned(),
            expected_total: order.expected_total.map(MoneyRow::from),
            fingerprint: order.fingerprint,
            faults: order.faults.as_ref().map(InjectedFaults::to_string),
            total: order.total.map(MoneyRow::from),
            state: order.state.as_str().to_owned(),
            failure: order.failure.clone().map(|failure| FailureRow {
                code: failure.code,
                detail: failure.detail,
            }),
            attempt: order.attempt,
            due_shard: order.due_at.map(|_| DuePartition::of(order).key()),
            due_at: order.due_at.map(millis),
            parked: order.parked,
            timeline: order
                .timeline
                .iter()
                .map(|entry| EntryRow::of(entry, order.created_at))
                .collect(),
            created_at: order.created_at,
            updated_at: order.updated_at,
            version: order.version,
        }
    }
}

impl From<&Line> for LineRow {
    fn from(line: &Line) -> Self {
        Self {
            sku: line.sku.as_str().to_owned(),
            name: line.name.clone(),
            quantity: i64::from(line.quantity.units()),
            unit_price: line.unit_price.map(MoneyRow::from),
        }
    }
}

impl From<Money> for MoneyRow {
    fn from(money: Money) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency.as_str().to_owned(),
        }
    }
}

impl TryFrom<OrderRow> for Order {
    type Error = InvalidRow;

    fn try_from(row: OrderRow) -> Result<Self, InvalidRow> {
        let due_at = row.due_at.map(|text| text.parse());
        let id = OrderId(row.id);
        // Its commands would name the other order.
        if row.pk != pk(id) {
            return Err(InvalidRow("id that is not its key's"));
        }
        let state = State::parse(&row.state).ok_or(InvalidRow("state"))?;
        // Without the total that its command needs, the order would wait for ever.
        if state.command().is_some_and(Command::needs_total) && row.total.is_none() {
            return Err(InvalidRow("total"));
        }
        Ok(Self {
            id,
            user_id: UserId(row.user_id),
            lines: row.lines.into_iter().map(line).collect::<Result<_, _>>()?,
            payment_method: PaymentMethod::stored(&row.payment_method)
                .map_err(|_| InvalidRow("payment_method"))?,
            expected_total: row.expected_total.map(money).transpose()?,
            fingerprint: row.fingerprint,
            faults: row
                .faults
                .map_or(Ok(None), |text| InjectedFaults::from_record(&text))
                .map_err(|_| InvalidRow("rehearsal"))?,
            total: row.total.map(money).transpose()?,
            state,
            failure: row.failure.map(|failure| Failure {
                code: failure.code,
                detail: failure.detail,
            }),
            attempt: row.attempt,
            due_at: due_at.transpose().map_err(|_| InvalidRow("due_at"))?,
            parked: row.parked,
            timeline: row
                .timeline
                .into_iter()
                .map(|entry| entry.read(row.created_at))
                .collect::<Option<_>>()
                .ok_or(InvalidRow("timeline entry"))?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

fn line(row: LineRow) -> Result<Line, InvalidRow> {
    Ok(Line {
        sku: Sku::stored(&row.sku).map_err(|_| InvalidRow("sku"))?,
        name: row.name,
        quantity: Quantity::stored(row.quantity).map_err(|_| InvalidRow("quantity"))?,
        unit_price: row.unit_price.map(money).transpose()?,
    })
}

fn money(row: MoneyRow) -> Result<Money, InvalidRow> {
    Money::stored(row.amount, &row.currency).map_err(|_| InvalidRow("amount"))
}
