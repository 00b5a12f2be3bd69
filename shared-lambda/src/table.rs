//! A service's DynamoDB table: rows, unreadable rows and failed calls.

mod error;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, KeysAndAttributes, TransactWriteItem,
};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;
use uuid::Uuid;

use crate::Error;
use crate::contention::Tries;
use crate::telemetry::chain;

pub use error::TableError;

/// A row in DynamoDB's form, or its key.
pub type Row = HashMap<String, AttributeValue>;

/// The outcome of a conditional write. The last two changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The write succeeded.
    Done,
    /// A row has changed since the decision: read and decide again.
    Overtaken,
    /// Another transaction held a row: try again.
    Contended,
}

/// A table and its client.
#[derive(Clone, Debug)]
pub struct Table {
    /// The client.
    pub client: Client,
    /// The table's name.
    pub name: String,
}

impl Table {
    /// The table with this name.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Reads the current row.
    pub async fn get<R: DeserializeOwned, T>(
        &self,
        operation: &'static str,
        pk: &str,
        sk: &str,
        parse: impl FnOnce(R) -> Result<T, Error>,
    ) -> Result<Option<T>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key(pk, sk)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::new(operation, error))?;
        answer
            .item
            .map(|row| read_row(operation, row, parse))
            .transpose()
    }

    /// Reads up to 100 rows (the limit of `BatchGetItem`) by their keys, in no order, without those
    /// that do not exist. Without `consistent`, a row may be slightly old.
    pub async fn batch_get(
        &self,
        operation: &'static str,
        keys: Vec<Row>,
        consistent: bool,
        call: Uuid,
    ) -> Result<Vec<Row>, TableError> {
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(consistent)
            .build();
        let mut wanted = parsed(operation, wanted)?;
        let mut rows = Vec::new();
        let mut tries = Tries::new(call);
        while tries.next().await {
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted)
                .send()
                .await
                .map_err(|error| TableError::new(operation, error))?;
            let mut read = answer.responses.unwrap_or_default();
            rows.extend(read.remove(&self.name).unwrap_or_default());
            let mut left = answer.unprocessed_keys.unwrap_or_default();
            match left.remove(&self.name) {
                None => return Ok(rows),
                Some(rest) => wanted = rest,
            }
        }
        Err(TableError::contended(operation))
    }

    /// Writes a row if its key is free.
    pub async fn insert(
        &self,
        operation: &'static str,
        row: &impl Serialize,
    ) -> Result<Written, TableError> {
        let put = self.client.put_item().table_name(&self.name);
        let put = put
            .set_item(Some(to_row(operation, row)?))
            .condition_expression("attribute_not_exists(pk)");
        written(operation, put.send().await)
    }

    /// Makes all writes or none.
    pub async fn transact(
        &self,
        operation: &'static str,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Written, TableError> {
        let transaction = self.client.transact_write_items();
        let Err(error) = transaction.set_transact_items(Some(writes)).send().await else {
            return Ok(Written::Done);
        };
        match cancellation_reasons(&error) {
            Some(reasons) if was_contended(reasons) => Ok(Written::Contended),
            Some(reasons) if reasons.iter().any(condition_failed) => Ok(Written::Overtaken),
            _ => Err(TableError::new(operation, error)),
        }
    }
}

/// The outcome of a conditional put.
pub fn written<R: std::fmt::Debug + Send + Sync + 'static>(
    operation: &'static str,
    put: Result<PutItemOutput, SdkError<PutItemError, R>>,
) -> Result<Written, TableError> {
    let Err(error) = put else {
        return Ok(Written::Done);
    };
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(Written::Overtaken),
        Some(PutItemError::TransactionConflictException(_)) => Ok(Written::Contended),
        _ => Err(TableError::new(operation, error)),
    }
}

/// A row's key.
pub fn key(pk: &str, sk: &str) -> Row {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// A text attribute.
pub fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A number attribute.
pub fn number(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

/// A time with milliseconds, so that rows sort by time as text.
pub fn millis(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Converts a row to DynamoDB's form.
pub fn to_row(operation: &'static str, row: &impl Serialize) -> Result<Row, TableError> {
    parsed(operation, to_item(row))
}

/// Turns an invalid value into a [`TableError::corrupt`].
pub fn parsed<T>(
    operation: &'static str,
    value: Result<T, impl Into<Error>>,
) -> Result<T, TableError> {
    value.map_err(|error| TableError::corrupt(operation, error))
}

/// Parses a row. The error of an invalid row names the row and the attribute.
pub fn read_row<R: DeserializeOwned, T>(
    operation: &'static str,
    row: Row,
    parse: impl FnOnce(R) -> Result<T, Error>,
) -> Result<T, TableError> {
    let name = |key: &str| match row.get(key) {
        Some(AttributeValue::S(value)) => value.clone(),
        _ => "?".to_owned(),
    };
    let (pk, sk) = (name("pk"), name("sk"));
    let row = serde_dynamo::Deserializer::from_attribute_value(AttributeValue::M(row).into());
    serde_path_to_error::deserialize(row)
        .map_err(Error::from)
        .and_then(parse)
        .map_err(|error| TableError::corrupt(operation, format!("the row {pk}, {sk}: {error}")))
}

/// The rows of a list.
#[derive(Debug)]
pub struct Rows<T> {
    /// The values, in the order of the rows.
    pub readable: Vec<T>,
    /// The rows without a value.
    pub unreadable: Vec<Unreadable>,
}

/// A row that this code cannot read.
#[derive(Debug)]
pub struct Unreadable {
    /// The row's partition key, or `?`.
    pub pk: String,
    /// The cause.
    pub error: TableError,
}

/// Reads the rows of a list, in their order. One bad row must not hide the others: a row that `parse`
/// refuses is logged as an error and left out. All services read their lists with this function.
pub fn read_rows<T>(
    table: &str,
    rows: impl IntoIterator<Item = Row>,
    mut parse: impl FnMut(Row) -> Result<T, TableError>,
) -> Rows<T> {
    let mut read = Rows {
        readable: Vec::new(),
        unreadable: Vec::new(),
    };
    for row in rows {
        let pk = row.get("pk").and_then(|pk| pk.as_s().ok()).cloned();
        match parse(row) {
            Ok(value) => read.readable.push(value),
            Err(error) => {
                let pk = pk.unwrap_or_else(|| "?".to_owned());
                tracing::error!(
                    event = "row_unreadable",
                    table,
                    pk,
                    cause = chain(&error),
                    "a list leaves out a row that cannot be read; repair the attribute that the cause \
                     names, or delete the row"
                );
                read.unreadable.push(Unreadable { pk, error });
            }
        }
    }
    read
}

/// The reasons of a cancelled transaction, in the order of its items, or none if it failed for
/// another reason.
pub fn cancellation_reasons<R>(
    error: &SdkError<TransactWriteItemsError, R>,
) -> Option<&[CancellationReason]> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            Some(cancelled.cancellation_reasons())
        }
        _ => None,
    }
}

/// Whether the item's own condition failed.
pub fn condition_failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Whether a retry helps: another transaction held an item, or the table throttled.
pub fn was_contended(reasons: &[CancellationReason]) -> bool {
    reasons.iter().any(|reason| {
        matches!(
            reason.code(),
            Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
        )
    })
}
