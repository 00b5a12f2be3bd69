//! Inventory's table: items, reservations, adjustments, and every way they are read and written.
//!
//! | pk | sk | |
//! | --- | --- | --- |
//! | `ITEM#<sku>` | `ITEM` | an item with its stock |
//! | `ITEM#<sku>` | `ADJUSTMENT#<id>` | one correction of its stock |
//! | `ORDER#<order id>` | `RESERVATION` | what an order holds, or why it holds nothing |
//!
//! The index `catalogue` lists the items by SKU. It holds keys alone, and no key ever changes, so
//! that the writes of reservations never reach it; a page's values are read from the table.
//!
//! Stock moves by `ADD` under a condition on the row itself, never by writing back what was read.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, from_items, to_item};
use shared_lambda::Error;
use shared_lambda::table::{
    self, TableError, cancellation_reasons, condition_failed, read_rows, was_contended,
};
use std::collections::HashMap;
use uuid::Uuid;

use crate::domain::{
    Adjustment, Currency, Delta, Item, ItemChange, ItemName, Levels, Outcome, Price, PriceAmount,
    Quantity, Reason, Refusal, RefusalCode, Reservation, ReservedLine, Sku,
};
use crate::migrations::CURRENT_SCHEMA;
use shared_lambda::contention::Tries;

/// The sparse index of items, and the one value of its partition key.
const CATALOGUE_INDEX: &str = "catalogue";
const CATALOGUE: &str = "ITEM";

const ITEM: &str = "ITEM";
const RESERVATION: &str = "RESERVATION";

/// What became of a conditional write. Neither of the last two changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// A row was not what the decision was based on: read again, decide again.
    Overtaken,
    /// Another transaction held a row just then: try again.
    Contended,
}

/// What became of a new item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Done,
    /// The SKU belongs to another item.
    Taken,
}

/// What became of an adjustment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjusted {
    Done,
    /// One of the same id was made before; nothing was done now.
    Before(Adjustment),
    /// It takes more than is available.
    Insufficient {
        available: i64,
    },
    NoSuchItem,
}

/// How current an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Perhaps some moments old, at half the price.
    Recent,
    /// Everything acknowledged before is in it.
    Current,
}

/// Some of the catalogue in the order of SKUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPage {
    pub items: Vec<Item>,
    /// The SKU the next page begins after, where there is a next page. It is as the index has it, so
    /// that a row that cannot be read does not end the list.
    pub next: Option<String>,
}

/// The service's table.
#[derive(Clone, Debug)]
pub struct InventoryStore {
    client: Client,
    table: String,
}

impl InventoryStore {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Adds an item whose SKU is free. `request` tells this call's own write, repeated by the
    /// client after a lost answer, from somebody else's.
    pub async fn create(&self, item: &Item, request: Uuid) -> Result<Created, TableError> {
        const OPERATION: &str = "create an item";
        let row = ItemRow::new(item, request);
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_row(OPERATION, &row)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match put {
            Ok(_) => return Ok(Created::Done),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(taken)) => {
                let by = taken.item().and_then(|row| row.get("created_by_request"));
                let ours = by.and_then(|id| id.as_s().ok()) == Some(&row.created_by_request);
                Ok(if ours { Created::Done } else { Created::Taken })
            }
            _ => Err(TableError::new(OPERATION, error)),
        }
    }

    /// An item as it is now.
    pub async fn item(&self, sku: &Sku) -> Result<Option<Item>, TableError> {
        const OPERATION: &str = "read an item";
        self.row::<ItemRow>(OPERATION, &item_pk(sku), ITEM).await
    }

    /// Items by SKU, in no order; those that do not exist are missing. At most 100, which is what
    /// one `BatchGetItem` takes.
    pub async fn items(
        &self,
        skus: &[Sku],
        read: Read,
        call: Uuid,
    ) -> Result<Vec<Item>, TableError> {
        const OPERATION: &str = "read several items";
        let pks: Vec<String> = skus.iter().map(item_pk).collect();
        let pks = pks.iter().map(String::as_str);
        let rows = self.batch(OPERATION, pks, read, call).await?;
        let read = |row| read_row::<ItemRow>(OPERATION, row);
        rows.into_iter().map(read).collect()
    }

    /// The rows of items.
    async fn batch<'a>(
        &self,
        operation: &'static str,
        pks: impl Iterator<Item = &'a str>,
        read: Read,
        call: Uuid,
    ) -> Result<Vec<table::Row>, TableError> {
        let mut wanted = KeysAndAttributes::builder()
            .set_keys(Some(pks.map(|pk| key(pk, ITEM)).collect()))
            .consistent_read(read == Read::Current)
            .build()
            .map_err(|error| TableError::corrupt(operation, error))?;
        let mut rows = Vec::new();
        let mut tries = Tries::new(call);
        while tries.next().await {
            let mut answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .map_err(|error| TableError::new(operation, error))?;
            let read = answer.responses.as_mut();
            rows.extend(
                read.and_then(|tables| tables.remove(&self.table))
                    .unwrap_or_default(),
            );
            match answer
                .unprocessed_keys
                .as_mut()
                .and_then(|tables| tables.remove(&self.table))
            {
                None => return Ok(rows),
                Some(rest) => wanted = rest,
            }
        }
        Err(TableError::contended(operation))
    }

    /// The part of the catalogue after a SKU, or its beginning. Stock is as it was moments ago. An item
    /// that cannot be read is left out and logged.
    pub async fn page(
        &self,
        after: Option<&str>,
        limit: usize,
        call: Uuid,
    ) -> Result<ItemPage, TableError> {
        const OPERATION: &str = "list the items";
        // One more than asked for tells whether there is a next page.
        let mut indexed = self.indexed(OPERATION, after, limit + 1).await?;
        let more = indexed.len() > limit;
        indexed.truncate(limit);
        let Some(last) = indexed.last() else {
            return Ok(ItemPage {
                items: Vec::new(),
                next: None,
            });
        };
        let next = more.then(|| last.sku.clone());
        let pks = indexed.iter().map(|row| row.pk.as_str());
        let rows = self.batch(OPERATION, pks, Read::Recent, call).await?;
        let read = read_rows(&self.table, rows, |row| read_row::<ItemRow>(OPERATION, row));
        let mut items = read.readable;
        items.sort_by(|a, b| a.sku.cmp(&b.sku));
        Ok(ItemPage { items, next })
    }

    async fn indexed(
        &self,
        operation: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<IndexRow>, TableError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(CATALOGUE_INDEX)
            .expression_attribute_values(":catalogue", text(CATALOGUE))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        query = match after {
            None => query.key_condition_expression("catalogue = :catalogue"),
            Some(sku) => query
                .key_condition_expression("catalogue = :catalogue AND sku > :after")
                .expression_attribute_values(":after", text(sku)),
        };
        let answer = query
            .send()
            .await
            .map_err(|error| TableError::new(operation, error))?;
        parsed(operation, from_items(answer.items.unwrap_or_default()))
    }

    /// Changes what an item is called or costs; the item after that, or nothing if there is none.
    pub async fn change(
        &self,
        sku: &Sku,
        change: &ItemChange,
        now: Timestamp,
        call: Uuid,
    ) -> Result<Option<Item>, TableError> {
        const OPERATION: &str = "change an item";
        let mut tries = Tries::new(call);
        while tries.next().await {
            let mut set = vec!["updated_at = :now"];
            let mut update = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key(&item_pk(sku), ITEM)))
                .condition_expression("attribute_exists(pk)")
                .expression_attribute_values(":now", time(now))
                .return_values(ReturnValue::AllNew);
            if let Some(name) = change.name() {
                set.push("#name = :name");
                update = update
                    .expression_attribute_names("#name", "name")
                    .expression_attribute_values(":name", text(name.as_str()));
            }
            if let Some(price) = change.price() {
                set.push("amount = :amount, currency = :currency");
                update = update
                    .expression_attribute_values(":amount", number(price.amount.get()))
                    .expression_attribute_values(":currency", text(price.currency.as_str()));
            }
            let updated = update
                .update_expression(format!("SET {}", set.join(", ")))
                .send()
                .await;
            let error = match updated {
                Ok(answer) => {
                    let row = answer.attributes.unwrap_or_default();
                    return read_row::<ItemRow>(OPERATION, row).map(Some);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => return Ok(None),
                Some(UpdateItemError::TransactionConflictException(_)) => {}
                _ => return Err(TableError::new(OPERATION, error)),
            }
        }
        Err(TableError::contended(OPERATION))
    }

    /// Adjusts an item's stock and records the adjustment, both or neither.
    pub async fn adjust(
        &self,
        adjustment: &Adjustment,
        call: Uuid,
    ) -> Result<Adjusted, TableError> {
        const OPERATION: &str = "adjust stock";
        let mut tries = Tries::new(call);
        while tries.next().await {
            match self.write_adjustment(OPERATION, adjustment).await? {
                Written::Done => return Ok(Adjusted::Done),
                Written::Contended => continue,
                Written::Overtaken => {}
            }
            // The record first: a repeat is answered as the first time, whatever the stock is now.
            if let Some(before) = self.adjustment(&adjustment.sku, adjustment.id).await? {
                return Ok(Adjusted::Before(before));
            }
            match self.item(&adjustment.sku).await? {
                None => return Ok(Adjusted::NoSuchItem),
                Some(item) if item.levels.available < adjustment.delta.takes() => {
                    return Ok(Adjusted::Insufficient {
                        available: item.levels.available,
                    });
                }
                // Units came back in between.
                Some(_) => {}
            }
        }
        Err(TableError::contended(OPERATION))
    }

    async fn write_adjustment(
        &self,
        operation: &'static str,
        adjustment: &Adjustment,
    ) -> Result<Written, TableError> {
        let stock = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&item_pk(&adjustment.sku), ITEM)))
            .update_expression("ADD available :delta, stocked :delta SET updated_at = :now")
            // Never true of an item that does not exist, which has no `available`.
            .condition_expression("available >= :takes")
            .expression_attribute_values(":delta", number(adjustment.delta.get()))
            .expression_attribute_values(":takes", number(adjustment.delta.takes()))
            .expression_attribute_values(":now", time(adjustment.created_at))
            .build();
        let record = Put::builder()
            .table_name(&self.table)
            .set_item(Some(to_row(operation, &AdjustmentRow::new(adjustment))?))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let record = parsed(operation, record)?;
        let stock = parsed(operation, stock)?;
        self.transact(operation, vec![put(record), update(stock)])
            .await
    }

    pub async fn adjustment(&self, sku: &Sku, id: Uuid) -> Result<Option<Adjustment>, TableError> {
        const OPERATION: &str = "read an adjustment";
        self.row::<AdjustmentRow>(OPERATION, &item_pk(sku), &adjustment_sk(id))
            .await
    }

    /// What is on record for an order, now.
    pub async fn reservation(&self, order_id: Uuid) -> Result<Option<Reservation>, TableError> {
        const OPERATION: &str = "read a reservation";
        self.row::<ReservationRow>(OPERATION, &order_pk(order_id), RESERVATION)
            .await
    }

    /// Carries out the decision about an order that has no record yet, and records it.
    pub async fn reserve(
        &self,
        order_id: Uuid,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Written, TableError> {
        match outcome {
            Outcome::Reserved(lines) => self.hold(order_id, lines, now).await,
            Outcome::Refused(refusal) => {
                let row = ReservationRow::refused(order_id, refusal, now);
                self.record("record a refusal", &row).await
            }
        }
    }

    /// Takes the units of every line and records the reservation, all or nothing.
    async fn hold(
        &self,
        order_id: Uuid,
        lines: &[ReservedLine],
        now: Timestamp,
    ) -> Result<Written, TableError> {
        const OPERATION: &str = "reserve stock";
        let row = ReservationRow::reserved(order_id, lines, now);
        let record = Put::builder()
            .table_name(&self.table)
            .set_item(Some(to_row(OPERATION, &row)?))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let mut writes = vec![put(parsed(OPERATION, record)?)];
        for line in lines {
            let stock = Update::builder()
                .table_name(&self.table)
                .set_key(Some(key(&item_pk(&line.sku), ITEM)))
                .update_expression("ADD available :less, held :more")
                // Never true of an item that does not exist, which has no `available`.
                .condition_expression(
                    "available >= :more AND amount = :amount AND currency = :currency",
                )
                .expression_attribute_values(":less", number(-line.quantity.get()))
                .expression_attribute_values(":more", number(line.quantity.get()))
                .expression_attribute_values(":amount", number(line.unit_price.amount.get()))
                .expression_attribute_values(":currency", text(line.unit_price.currency.as_str()))
                .build();
            writes.push(update(parsed(OPERATION, stock)?));
        }
        self.transact(OPERATION, writes).await
    }

    /// Gives the units of every line back and marks the reservation released, all or nothing.
    pub async fn release(
        &self,
        order_id: Uuid,
        lines: &[ReservedLine],
        now: Timestamp,
    ) -> Result<Written, TableError> {
        const OPERATION: &str = "release stock";
        let record = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&order_pk(order_id), RESERVATION)))
            .update_expression("SET #status = :released, updated_at = :now")
            .condition_expression("#status = :reserved")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":released", text(Status::Released.as_str()))
            .expression_attribute_values(":reserved", text(Status::Reserved.as_str()))
            .expression_attribute_values(":now", time(now))
            .build();
        let mut writes = vec![update(parsed(OPERATION, record)?)];
        for line in lines {
            let stock = Update::builder()
                .table_name(&self.table)
                .set_key(Some(key(&item_pk(&line.sku), ITEM)))
                .update_expression("ADD available :more, held :less")
                // Always true while the books are right: nothing is given back that is not held.
                .condition_expression("held >= :more")
                .expression_attribute_values(":more", number(line.quantity.get()))
                .expression_attribute_values(":less", number(-line.quantity.get()))
                .build();
            writes.push(update(parsed(OPERATION, stock)?));
        }
        self.transact(OPERATION, writes).await
    }

    /// Records that an order without a record is released, so that a reserve that comes late is
    /// refused.
    pub async fn forestall(&self, order_id: Uuid, now: Timestamp) -> Result<Written, TableError> {
        let row = ReservationRow::tombstone(order_id, now);
        self.record("forestall a reservation", &row).await
    }

    /// Writes the first record of an order.
    async fn record(
        &self,
        operation: &'static str,
        row: &ReservationRow,
    ) -> Result<Written, TableError> {
        let recorded = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_row(operation, row)?))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        let error = match recorded {
            Ok(_) => return Ok(Written::Done),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(Written::Overtaken),
            Some(PutItemError::TransactionConflictException(_)) => Ok(Written::Contended),
            _ => Err(TableError::new(operation, error)),
        }
    }

    async fn transact(
        &self,
        operation: &'static str,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Written, TableError> {
        let transacted = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await;
        match transacted {
            Ok(_) => Ok(Written::Done),
            Err(error) => cancelled(&error).ok_or_else(|| TableError::new(operation, error)),
        }
    }

    async fn row<R: Row>(
        &self,
        operation: &'static str,
        pk: &str,
        sk: &str,
    ) -> Result<Option<R::Value>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(pk, sk)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::new(operation, error))?;
        answer
            .item
            .map(|row| read_row::<R>(operation, row))
            .transpose()
    }
}

/// What a cancelled transaction means; nothing where it failed for another reason.
fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Written> {
    let reasons = cancellation_reasons(error)?;
    if was_contended(reasons) {
        Some(Written::Contended)
    } else if reasons.iter().any(condition_failed) {
        Some(Written::Overtaken)
    } else {
        None
    }
}

fn put(put: Put) -> TransactWriteItem {
    TransactWriteItem::builder().put(put).build()
}

fn update(update: Update) -> TransactWriteItem {
    TransactWriteItem::builder().update(update).build()
}

fn item_pk(sku: &Sku) -> String {
    format!("ITEM#{sku}")
}

fn order_pk(order_id: Uuid) -> String {
    format!("ORDER#{order_id}")
}

fn adjustment_sk(id: Uuid) -> String {
    format!("ADJUSTMENT#{id}")
}

fn key(pk: &str, sk: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn time(time: Timestamp) -> AttributeValue {
    AttributeValue::S(millis(time))
}

fn millis(time: Timestamp) -> String {
    format!("{time:.3}")
}

fn to_row(
    operation: &'static str,
    row: &impl Serialize,
) -> Result<HashMap<String, AttributeValue>, TableError> {
    parsed(operation, to_item(row))
}

/// A kind of row, and what it stands for.
trait Row: DeserializeOwned {
    type Value;

    fn parse(self) -> Result<Self::Value, Error>;
}

/// What a row says; where this code does not write such a one, which row it is and why.
fn read_row<R: Row>(
    operation: &'static str,
    row: HashMap<String, AttributeValue>,
) -> Result<R::Value, TableError> {
    let name = |key: &str| match row.get(key) {
        Some(AttributeValue::S(value)) => value.clone(),
        _ => "?".to_owned(),
    };
    let (pk, sk) = (name("pk"), name("sk"));
    from_item(row)
        .map_err(Error::from)
        .and_then(R::parse)
        .map_err(|error| TableError::corrupt(operation, format!("the row {pk}, {sk}: {error}")))
}

/// What this code makes for the table, unless it cannot be made.
fn parsed<T>(operation: &'static str, value: Result<T, impl Into<Error>>) -> Result<T, TableError> {
    value.map_err(|error| TableError::corrupt(operation, error))
}

/// What the index holds of an item: keys alone, which are always there.
#[derive(Deserialize)]
struct IndexRow {
    pk: String,
    sku: String,
}

/// What no reader needs is not read, so that a row without it, or with something else in its place, can
/// still be read.
#[derive(Serialize, Deserialize)]
struct ItemRow {
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    #[serde(skip_deserializing)]
    catalogue: String,
    #[serde(skip_deserializing)]
    sku: String,
    name: String,
    amount: i64,
    currency: String,
    stocked: i64,
    available: i64,
    held: i64,
    created_at: String,
    updated_at: String,
    #[serde(skip_deserializing)]
    created_by_request: String,
}

impl ItemRow {
    fn new(item: &Item, request: Uuid) -> Self {
        Self {
            pk: item_pk(&item.sku),
            sk: ITEM.to_owned(),
            schema: CURRENT_SCHEMA,
            catalogue: CATALOGUE.to_owned(),
            sku: item.sku.as_str().to_owned(),
            name: item.name.as_str().to_owned(),
            amount: item.price.amount.get(),
            currency: item.price.currency.as_str().to_owned(),
            stocked: item.levels.stocked,
            available: item.levels.available,
            held: item.levels.held,
            created_at: millis(item.created_at),
            updated_at: millis(item.updated_at),
            created_by_request: request.to_string(),
        }
    }
}

impl Row for ItemRow {
    type Value = Item;

    fn parse(self) -> Result<Item, Error> {
        Ok(Item {
            sku: sku_in(&self.pk)?,
            name: ItemName::stored(self.name),
            price: price(self.amount, &self.currency)?,
            levels: Levels {
                stocked: self.stocked,
                available: self.available,
                held: self.held,
            },
            created_at: self.created_at.parse::<Timestamp>()?,
            updated_at: self.updated_at.parse::<Timestamp>()?,
        })
    }
}

/// The SKU of an item, by the key of its rows.
fn sku_in(pk: &str) -> Result<Sku, Error> {
    let sku = pk.strip_prefix("ITEM#").ok_or("it is not under an item")?;
    Ok(Sku::stored(sku)?)
}

fn price(amount: i64, currency: &str) -> Result<Price, Error> {
    Ok(Price {
        amount: PriceAmount::stored(amount)?,
        currency: Currency::stored(currency)?,
    })
}

#[derive(Serialize, Deserialize)]
struct AdjustmentRow {
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    id: String,
    #[serde(skip_deserializing)]
    sku: String,
    delta: i64,
    reason: String,
    made_by: String,
    created_at: String,
}

impl AdjustmentRow {
    fn new(adjustment: &Adjustment) -> Self {
        Self {
            pk: item_pk(&adjustment.sku),
            sk: adjustment_sk(adjustment.id),
            schema: CURRENT_SCHEMA,
            id: adjustment.id.to_string(),
            sku: adjustment.sku.as_str().to_owned(),
            delta: adjustment.delta.get(),
            reason: adjustment.reason.as_str().to_owned(),
            made_by: adjustment.made_by.to_string(),
            created_at: millis(adjustment.created_at),
        }
    }
}

impl Row for AdjustmentRow {
    type Value = Adjustment;

    fn parse(self) -> Result<Adjustment, Error> {
        Ok(Adjustment {
            id: self.id.parse::<Uuid>()?,
            sku: sku_in(&self.pk)?,
            delta: Delta::stored(self.delta),
            reason: Reason::stored(self.reason),
            made_by: self.made_by.parse::<Uuid>()?,
            created_at: self.created_at.parse::<Timestamp>()?,
        })
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    Reserved,
    Refused,
    Released,
}

impl Status {
    /// As serde writes it.
    fn as_str(self) -> &'static str {
        match self {
            Status::Reserved => "RESERVED",
            Status::Refused => "REFUSED",
            Status::Released => "RELEASED",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct ReservationRow {
    #[serde(skip_deserializing)]
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    #[serde(skip_deserializing)]
    order_id: String,
    status: Status,
    /// What is or was held; a tombstone and a refusal hold nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalRow>,
    #[serde(skip_deserializing)]
    created_at: String,
    #[serde(skip_deserializing)]
    updated_at: String,
}

#[derive(Serialize, Deserialize)]
struct LineRow {
    sku: String,
    /// Rows that were written before names were kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    quantity: i64,
    amount: i64,
    currency: String,
}

#[derive(Serialize, Deserialize)]
struct RefusalRow {
    code: String,
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sku: Option<String>,
}

impl ReservationRow {
    fn new(order_id: Uuid, status: Status, now: Timestamp) -> Self {
        Self {
            pk: order_pk(order_id),
            sk: RESERVATION.to_owned(),
            schema: CURRENT_SCHEMA,
            order_id: order_id.to_string(),
            status,
            lines: Vec::new(),
            refusal: None,
            created_at: millis(now),
            updated_at: millis(now),
        }
    }

    fn reserved(order_id: Uuid, lines: &[ReservedLine], now: Timestamp) -> Self {
        let lines = lines.iter().map(|line| LineRow {
            sku: line.sku.as_str().to_owned(),
            name: line.name.as_ref().map(|name| name.as_str().to_owned()),
            quantity: line.quantity.get(),
            amount: line.unit_price.amount.get(),
            currency: line.unit_price.currency.as_str().to_owned(),
        });
        Self {
            lines: lines.collect(),
            ..Self::new(order_id, Status::Reserved, now)
        }
    }

    fn refused(order_id: Uuid, refusal: &Refusal, now: Timestamp) -> Self {
        Self {
            refusal: Some(RefusalRow {
                code: refusal.code.as_str().to_owned(),
                detail: refusal.detail.clone(),
                sku: refusal.sku.as_ref().map(|sku| sku.as_str().to_owned()),
            }),
            ..Self::new(order_id, Status::Refused, now)
        }
    }

    fn tombstone(order_id: Uuid, now: Timestamp) -> Self {
        Self::new(order_id, Status::Released, now)
    }
}

impl Row for ReservationRow {
    type Value = Reservation;

    fn parse(self) -> Result<Reservation, Error> {
        match self.status {
            Status::Released => Ok(Reservation::Released),
            Status::Refused => {
                let refusal = self.refusal.ok_or("a refusal without a reason")?;
                refusal.parse().map(Reservation::Refused)
            }
            Status::Reserved => self
                .lines
                .into_iter()
                .map(LineRow::parse)
                .collect::<Result<_, _>>()
                .map(Reservation::Reserved),
        }
    }
}

impl LineRow {
    fn parse(self) -> Result<ReservedLine, Error> {
        Ok(ReservedLine {
            sku: Sku::stored(&self.sku)?,
            name: self.name.map(ItemName::stored),
            quantity: Quantity::stored(self.quantity)?,
            unit_price: price(self.amount, &self.currency)?,
        })
    }
}

impl RefusalRow {
    fn parse(self) -> Result<Refusal, Error> {
        let code = RefusalCode::parse(&self.code).ok_or("a refusal with an unknown code");
        let sku = self.sku.as_deref().map(Sku::stored).transpose();
        Ok(Refusal {
            code: code?,
            detail: self.detail,
            sku: sku?,
        })
    }
}
