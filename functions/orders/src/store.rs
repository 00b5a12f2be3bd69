//! The orders table.
//!
//! | what | pk | sk |
//! | --- | --- | --- |
//! | order | `ORDER#<id>` | `ORDER` |
//!
//! Index `by_user` (`user_id`, `placed`) lists a customer's orders, newest first. Index `by_due`
//! (`due_shard`, `due_at`) is sparse: only orders that still owe something are in it, spread over
//! [`DUE_SHARDS`] partitions, and parked ones under a partition of their own. Both hold keys only,
//! so that a change of status writes no index entry.
//!
//! The timeline lives in the order's own item: one conditional write is the whole step, at half
//! the price of a transaction over two items.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure, Select,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_lambda::table::{Row, TableError, read_rows};
use uuid::Uuid;

use crate::domain::{
    Entry, Failure, Line, Money, Order, OrderId, PaymentMethod, Quantity, Rehearsal, Sku, State,
    Status, UserId, What,
};
use crate::migrations::CURRENT_SCHEMA;

/// How many partitions the orders in flight are spread over. One partition takes 1,000 writes a
/// second (DynamoDB developer guide, "Designing partition keys").
pub const DUE_SHARDS: u8 = 8;

const BY_USER: &str = "by_user";
const BY_DUE: &str = "by_due";
const PARKED: &str = "PARKED";

/// `BatchGetItem` takes at most this many keys.
const BATCH_GET_KEYS: usize = 100;

/// How often a batch is asked for the keys it left out before the caller is told to come back.
const BATCH_GET_TRIES: usize = 5;

/// How many rows a page of a list reads at most. The page may then be short, and the next one goes
/// on where this one ended. It is one batch, and no less than the longest page.
pub const MAX_READ_PER_PAGE: usize = BATCH_GET_KEYS;

/// Orders, in their table.
pub struct OrderStore {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// What became of an insert.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    New,
    /// The id is taken: by this order.
    Existing(Box<Order>),
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    Done,
    /// Somebody else wrote first: load and decide again.
    Overtaken,
}

/// One page of a list.
#[derive(Debug)]
pub struct OrderPage {
    pub orders: Vec<Order>,
    /// After which row the next page begins, where there is one.
    pub next: Option<Place>,
}

/// Where a row stands in its customer's list: the sort key of the index, whatever it says. A key
/// that this code does not write must not end the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    #[serde(deserialize_with = "shared_lambda::cursor::sort_key")]
    placed: String,
}

/// Some of the orders of a partition.
#[derive(Debug, Default)]
pub struct DuePage {
    pub entries: Vec<Due>,
    /// Entries of the index that name no order or no time.
    pub unreadable: usize,
    /// Where the next page begins, where there may be one.
    pub next: Option<DuePlace>,
}

/// An order's entry in the sweeper's index. The index runs behind: the order itself may have moved
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub id: OrderId,
    pub at: Timestamp,
}

/// Where a page of the sweeper's index ends: the key of its last entry, but for the partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DuePlace {
    pk: String,
    sk: String,
    due_at: String,
}

impl DuePlace {
    fn of(key: &Row) -> Self {
        Self {
            pk: text(key, "pk"),
            sk: text(key, "sk"),
            due_at: text(key, "due_at"),
        }
    }

    fn key(self, partition: DuePartition) -> Row {
        let names = ["pk", "sk", "due_at", "due_shard"].map(str::to_owned);
        let values = [self.pk, self.sk, self.due_at, partition.key()].map(AttributeValue::S);
        names.into_iter().zip(values).collect()
    }
}

/// Which due orders to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuePartition {
    Shard(u8),
    Parked,
}

impl DuePartition {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..DUE_SHARDS).map(Self::Shard).chain([Self::Parked])
    }

    fn key(self) -> String {
        match self {
            Self::Shard(shard) => format!("DUE#{shard}"),
            Self::Parked => PARKED.to_owned(),
        }
    }

    fn of(order: &Order) -> Self {
        if order.parked {
            Self::Parked
        } else {
            Self::Shard(order.id.0.as_bytes()[15] % DUE_SHARDS)
        }
    }
}

impl OrderStore {
    pub fn new(client: aws_sdk_dynamodb::Client, table: String) -> Self {
        Self { client, table }
    }

    /// Writes a new order, or finds the one that has its id already. The id is made of the user, so
    /// an order of another user under it is an error, and nothing of that order is told.
    pub async fn insert(&self, order: &Order) -> Result<Inserted, TableError> {
        const OPERATION: &str = "insert order";
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(order, OPERATION)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Inserted::New),
            Err(SdkError::ServiceError(error))
                if error.err().is_conditional_check_failed_exception() =>
            {
                let PutItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    return Err(TableError::contended(OPERATION));
                };
                // Without the old item (some engines leave it out) it is read.
                let existing = match failed.item {
                    Some(existing) => order_of(existing, OPERATION)?,
                    None => self
                        .get(order.id)
                        .await?
                        .ok_or_else(|| TableError::contended(OPERATION))?,
                };
                if existing.user_id != order.user_id {
                    let cause = format!("order {} belongs to another user", order.id.0);
                    return Err(TableError::corrupt(OPERATION, cause));
                }
                Ok(Inserted::Existing(Box::new(existing)))
            }
            Err(error) => Err(TableError::new(OPERATION, error)),
        }
    }

    /// Writes the next version of an order, if nobody has yet.
    ///
    /// Where the answer is lost, the client's own repeat meets what it wrote itself: that is no
    /// other writer, and what the order owes has not been sent by anybody.
    pub async fn update(&self, order: &Order) -> Result<Updated, TableError> {
        const OPERATION: &str = "update order";
        let next = item(order, OPERATION)?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(next.clone()))
            .condition_expression("version = :before")
            .expression_attribute_values(
                ":before",
                AttributeValue::N((order.version - 1).to_string()),
            )
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Updated::Done),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(if failed.item.as_ref() == Some(&next) {
                        Updated::Done
                    } else {
                        Updated::Overtaken
                    })
                }
                _ => Err(TableError::new(OPERATION, error)),
            },
        }
    }

    /// The order as last written.
    pub async fn get(&self, id: OrderId) -> Result<Option<Order>, TableError> {
        const OPERATION: &str = "read order";
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(pk(id))))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::new(OPERATION, error))?;
        answer
            .item
            .map(|item| order_of(item, OPERATION))
            .transpose()
    }

    /// A customer's orders, newest first, of one status or of any. `after` is a page's `next`. A page
    /// is short, or empty, where [`MAX_READ_PER_PAGE`] rows have no more.
    pub async fn list(
        &self,
        user: UserId,
        status: Option<Status>,
        limit: usize,
        mut after: Option<Place>,
    ) -> Result<OrderPage, TableError> {
        let is_wanted = |order: &Order| status.is_none_or(|status| order.status() == status);
        let mut orders: Vec<Order> = Vec::new();
        let mut left = MAX_READ_PER_PAGE;
        loop {
            // Unfiltered, every row read is an order given. Filtered, most may not be: read as many
            // as one batch holds, so that a rare status does not cost a round trip an order.
            let window = match status {
                None => left.min(limit - orders.len()),
                Some(_) => left,
            };
            // One row more than is read tells whether the list goes on.
            let mut rows = self.placed_by(user, window + 1, after.clone()).await?;
            let goes_on = rows.len() > window;
            rows.truncate(window);
            left -= rows.len();
            let mut found = self.get_all(&rows).await?;
            let mut rows = rows.into_iter();
            for Placed { pk, place } in rows.by_ref() {
                after = Some(place);
                orders.extend(found.remove(&pk).filter(is_wanted));
                if orders.len() == limit {
                    break;
                }
            }
            let goes_on = goes_on || rows.any(|row| found.get(&row.pk).is_some_and(is_wanted));
            if orders.len() == limit || !goes_on || left == 0 {
                return Ok(OrderPage {
                    orders,
                    next: after.filter(|_| goes_on),
                });
            }
        }
    }

    /// A customer's newest orders, at most `limit`, none placed before `since`. The index runs behind,
    /// so the very newest may be missing; a row that cannot be read is left out.
    pub async fn recent(
        &self,
        user: UserId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Order>, TableError> {
        let mut rows = self.placed_by(user, limit, None).await?;
        let since = sortable(since);
        rows.retain(|row| row.place.placed >= since);
        Ok(self.get_all(&rows).await?.into_values().collect())
    }

    /// Orders of a partition that were due by then, or all of them, the longest due first. `after`
    /// is a page's `next`.
    pub async fn due(
        &self,
        partition: DuePartition,
        by: Option<Timestamp>,
        limit: usize,
        after: Option<DuePlace>,
    ) -> Result<DuePage, TableError> {
        const OPERATION: &str = "find due orders";
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_DUE)
            .expression_attribute_values(":shard", AttributeValue::S(partition.key()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|place| place.key(partition)));
        query = match by {
            None => query.key_condition_expression("due_shard = :shard"),
            Some(by) => query
                .key_condition_expression("due_shard = :shard AND due_at <= :by")
                .expression_attribute_values(":by", AttributeValue::S(sortable(by))),
        };
        let answer = query
            .send()
            .await
            .map_err(|error| TableError::new(OPERATION, error))?;
        let mut page = DuePage {
            next: answer.last_evaluated_key.as_ref().map(DuePlace::of),
            ..DuePage::default()
        };
        for entry in answer.items.unwrap_or_default() {
            match due_entry(&entry) {
                Some(entry) => page.entries.push(entry),
                None => page.unreadable += 1,
            }
        }
        Ok(page)
    }

    /// How many orders a partition holds, due or not.
    pub async fn count(&self, partition: DuePartition) -> Result<usize, TableError> {
        const OPERATION: &str = "count orders in flight";
        let mut count = 0;
        let mut after = None;
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_DUE)
                .key_condition_expression("due_shard = :shard")
                .expression_attribute_values(":shard", AttributeValue::S(partition.key()))
                .select(Select::Count)
                .set_exclusive_start_key(after)
                .send()
                .await
                .map_err(|error| TableError::new(OPERATION, error))?;
            count += usize::try_from(answer.count).unwrap_or_default();
            after = answer.last_evaluated_key;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Where a customer's orders stand, newest first.
    async fn placed_by(
        &self,
        user: UserId,
        limit: usize,
        after: Option<Place>,
    ) -> Result<Vec<Placed>, TableError> {
        const OPERATION: &str = "list orders";
        let user = user.0.to_string();
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_USER)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .expression_attribute_values(":user", AttributeValue::S(user));
        // A condition instead of a start key: it cannot point outside the caller's own list.
        query = match after {
            None => query.key_condition_expression("user_id = :user"),
            Some(after) => query
                .key_condition_expression("user_id = :user AND placed < :after")
                .expression_attribute_values(":after", AttributeValue::S(after.placed)),
        };
        let answer = query
            .send()
            .await
            .map_err(|error| TableError::new(OPERATION, error))?;
        let rows = answer.items.unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| Placed {
                pk: text(row, "pk"),
                place: Place {
                    placed: text(row, "placed"),
                },
            })
            .collect())
    }

    /// The orders of these rows by `pk`. One that cannot be read is left out.
    async fn get_all(&self, rows: &[Placed]) -> Result<HashMap<String, Order>, TableError> {
        const OPERATION: &str = "read orders";
        let mut found = HashMap::new();
        for batch in rows.chunks(BATCH_GET_KEYS) {
            let mut keys: Vec<_> = batch.iter().map(|row| key(row.pk.clone())).collect();
            for _ in 0..BATCH_GET_TRIES {
                if keys.is_empty() {
                    break;
                }
                let wanted = KeysAndAttributes::builder()
                    .set_keys(Some(keys))
                    .consistent_read(true)
                    .build()
                    .expect("keys are set");
                let answer = self
                    .client
                    .batch_get_item()
                    .request_items(&self.table, wanted)
                    .send()
                    .await
                    .map_err(|error| TableError::new(OPERATION, error))?;
                let rows = answer.responses.unwrap_or_default().into_values().flatten();
                let read = read_rows(&self.table, rows, |row| {
                    let pk = text(&row, "pk");
                    Ok((pk, order_of(row, OPERATION)?))
                });
                found.extend(read.readable);
                keys = answer
                    .unprocessed_keys
                    .unwrap_or_default()
                    .into_values()
                    .flat_map(|left| left.keys)
                    .collect();
            }
            if !keys.is_empty() {
                return Err(TableError::contended(OPERATION));
            }
        }
        Ok(found)
    }
}

/// An entry of the index of a customer's orders.
struct Placed {
    pk: String,
    place: Place,
}

/// Attributes that only look-ups use are written and not read back. They follow from the others.
#[derive(Serialize, Deserialize)]
struct OrderRow {
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
    rehearsal: Option<String>,
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

#[derive(Serialize, Deserialize)]
struct EntryRow {
    at: Timestamp,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// A row that this version of the code cannot have written.
#[derive(Debug, thiserror::Error)]
#[error("the order's row has an unknown, missing or invalid {0}")]
struct InvalidRow(&'static str);

fn pk(id: OrderId) -> String {
    format!("ORDER#{}", id.0)
}

fn key(pk: String) -> Row {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(pk)),
        ("sk".to_owned(), AttributeValue::S("ORDER".to_owned())),
    ])
}

/// A key attribute, which DynamoDB only takes as a text.
fn text(row: &Row, name: &str) -> String {
    let value = row.get(name).and_then(|value| value.as_s().ok());
    value.cloned().unwrap_or_default()
}

fn due_entry(entry: &Row) -> Option<Due> {
    let text = |name: &str| entry.get(name)?.as_s().ok();
    let id = text("pk")?.strip_prefix("ORDER#")?;
    Some(Due {
        id: OrderId(Uuid::try_parse(id).ok()?),
        at: text("due_at")?.parse().ok()?,
    })
}

/// Milliseconds always, so that text sorts as time does.
fn sortable(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn item(order: &Order, operation: &'static str) -> Result<Row, TableError> {
    serde_dynamo::to_item(OrderRow::from(order))
        .map_err(|error| TableError::corrupt(operation, error))
}

fn order_of(item: Row, operation: &'static str) -> Result<Order, TableError> {
    // The path says which field of the row it is; serde_dynamo alone does not.
    let row = serde_dynamo::Deserializer::from_attribute_value(AttributeValue::M(item).into());
    let row: OrderRow = serde_path_to_error::deserialize(row)
        .map_err(|error| TableError::corrupt(operation, error))?;
    Order::try_from(row).map_err(|error| TableError::corrupt(operation, error))
}

impl From<&Order> for OrderRow {
    fn from(order: &Order) -> Self {
        Self {
            pk: pk(order.id),
            sk: "ORDER".to_owned(),
            schema: CURRENT_SCHEMA,
            id: order.id.0,
            user_id: order.user_id.0,
            placed: format!("{}#{}", sortable(order.created_at), order.id.0),
            lines: order.lines.iter().map(LineRow::from).collect(),
            payment_method: order.payment_method.as_str().to_owned(),
            expected_total: order.expected_total.map(MoneyRow::from),
            fingerprint: order.fingerprint,
            rehearsal: order.rehearsal.as_ref().map(Rehearsal::to_string),
            total: order.total.map(MoneyRow::from),
            state: order.state.as_str().to_owned(),
            failure: order.failure.clone().map(|failure| FailureRow {
                code: failure.code,
                detail: failure.detail,
            }),
            attempt: order.attempt,
            due_shard: order.due_at.map(|_| DuePartition::of(order).key()),
            due_at: order.due_at.map(sortable),
            parked: order.parked,
            timeline: order.timeline.iter().map(EntryRow::from).collect(),
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

impl From<&Entry> for EntryRow {
    fn from(entry: &Entry) -> Self {
        Self {
            at: entry.at,
            what: entry.what.as_str().to_owned(),
            attempt: entry.attempt,
            detail: entry.detail.clone(),
        }
    }
}

impl TryFrom<OrderRow> for Order {
    type Error = InvalidRow;

    fn try_from(row: OrderRow) -> Result<Self, InvalidRow> {
        let due_at = row.due_at.map(|text| text.parse());
        let id = OrderId(row.id);
        // Its commands would go out for the other order.
        if row.pk != pk(id) {
            return Err(InvalidRow("id that is not its key's"));
        }
        let state = State::parse(&row.state).ok_or(InvalidRow("state"))?;
        // Without its total there is nothing to charge, and the order would wait without an end.
        if state == State::Charging && row.total.is_none() {
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
            rehearsal: row
                .rehearsal
                .map_or(Ok(None), |text| Rehearsal::from_record(&text))
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
                .map(entry)
                .collect::<Result<_, _>>()?,
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

fn entry(row: EntryRow) -> Result<Entry, InvalidRow> {
    Ok(Entry {
        at: row.at,
        what: What::parse(&row.what).ok_or(InvalidRow("timeline entry"))?,
        attempt: row.attempt,
        detail: row.detail,
    })
}
