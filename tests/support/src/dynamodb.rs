//! DynamoDB: passes requests to the engine, and builds the answers that the engine never gives.

use crate::wire::{Answer, Call};
use dynoxide::actions::{
    delete_item::DeleteItemRequest, get_item::GetItemRequest, put_item::PutItemRequest,
    scan::ScanRequest,
};
use dynoxide::{AttributeValue, Database, DynoxideError, Item};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Number, Value, json};
use std::collections::VecDeque;

pub(crate) fn answer(database: &Database, call: &Call) -> Answer {
    // The engine's types borrow strings, so they need the request as text.
    let request = &*call.text;
    let outcome = match call.action.as_str() {
        "PutItem" => relay(request, |request| database.put_item(request)),
        "GetItem" => relay(request, |request| database.get_item(request)),
        "UpdateItem" => relay(request, |request| database.update_item(request)),
        "DeleteItem" => relay(request, |request| database.delete_item(request)),
        "Query" => relay(request, |request| database.query(request)),
        "Scan" => relay(request, |request| database.scan(request)),
        "BatchGetItem" => relay(request, |request| database.batch_get_item(request)),
        "BatchWriteItem" => relay(request, |request| database.batch_write_item(request)),
        "TransactWriteItems" => relay(request, |request| database.transact_write_items(request)),
        "TransactGetItems" => relay(request, |request| database.transact_get_items(request)),
        "CreateTable" => relay(request, |request| database.create_table(request)),
        "DescribeTable" => relay(request, |request| database.describe_table(request)),
        _ => return Answer::unknown_operation(call),
    };
    match outcome {
        Ok(body) => Answer::json(200, body),
        Err(error) => Answer::json(error.status_code(), error.to_json()),
    }
}

/// A request and its answer as text.
fn relay<Request: DeserializeOwned, Response: Serialize>(
    request: &str,
    action: impl FnOnce(Request) -> dynoxide::Result<Response>,
) -> dynoxide::Result<String> {
    let request = serde_json::from_str(request).map_err(unreadable)?;
    let response = action(request)?;
    Ok(serde_json::to_string(&response).expect("the engine's answers are JSON"))
}

/// A request and its answer as values.
fn run<Request: DeserializeOwned, Response: Serialize>(
    request: &Value,
    action: impl FnOnce(Request) -> dynoxide::Result<Response>,
) -> dynoxide::Result<Value> {
    let request = serde_json::from_str(&request.to_string()).map_err(unreadable)?;
    let response = action(request)?;
    Ok(serde_json::to_value(response).expect("the engine's answers are JSON"))
}

/// The engine's message says which DynamoDB error an unreadable request is.
fn unreadable(error: serde_json::Error) -> DynoxideError {
    let message = error.to_string();
    match message.strip_prefix("SERIALIZATION:") {
        Some(rest) => DynoxideError::SerializationException(rest.to_owned()),
        None => DynoxideError::ValidationException(
            message
                .trim_start_matches("VALIDATION_REQUEST:")
                .trim_start_matches("VALIDATION:")
                .to_owned(),
        ),
    }
}

pub(crate) fn throttled() -> Answer {
    Answer::error(
        "com.amazon.coral.availability#ThrottlingException",
        "Throughput exceeds the current capacity of your table or index.",
    )
}

/// The error of a conflict with another transaction, on the first item.
pub(crate) fn conflict(call: &Call) -> Answer {
    const MESSAGE: &str = "Transaction is ongoing for the item";
    let Some(items) = call.request["TransactItems"].as_array() else {
        return Answer::error(
            "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
            MESSAGE,
        );
    };
    let reasons: Vec<Value> = (0..items.len())
        .map(|position| match position {
            0 => json!({ "Code": "TransactionConflict", "Message": MESSAGE }),
            _ => json!({ "Code": "None" }),
        })
        .collect();
    let codes: Vec<&str> = reasons.iter().filter_map(|r| r["Code"].as_str()).collect();
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        ),
        "CancellationReasons": reasons,
    });
    Answer::json(400, body.to_string())
}

/// Returns all keys or writes as unprocessed.
pub(crate) fn answer_with_nothing(call: &Call) -> Answer {
    let asked = &call.request["RequestItems"];
    Answer::ok(&match call.action.as_str() {
        "BatchGetItem" => json!({ "Responses": {}, "UnprocessedKeys": asked }),
        _ => json!({ "UnprocessedItems": asked }),
    })
}

/// Processes the first key or write of each table and returns the rest as unprocessed.
pub(crate) fn answer_in_part(database: &Database, call: &Call) -> Answer {
    let mut done = Value::clone(&call.request);
    let mut rest = Map::new();
    let tables = done["RequestItems"].as_object_mut();
    for (table, asked) in tables.into_iter().flatten() {
        let mut left = asked.clone();
        for (keep, entries) in [(true, &mut *asked), (false, &mut left)] {
            let entries = match entries {
                Value::Array(writes) => Some(writes),
                reads => reads["Keys"].as_array_mut(),
            };
            let entries = entries.expect("a batch lists keys or writes for each table");
            match keep {
                true => entries.truncate(1),
                false => drop(entries.remove(0)),
            }
        }
        let is_empty = left.as_array().is_some_and(Vec::is_empty)
            || left["Keys"].as_array().is_some_and(Vec::is_empty);
        if !is_empty {
            rest.insert(table.clone(), left);
        }
    }
    let outcome = match call.action.as_str() {
        "BatchGetItem" => run(&done, |request| database.batch_get_item(request)),
        _ => run(&done, |request| database.batch_write_item(request)),
    };
    match outcome {
        Ok(mut body) => {
            let member = match call.action.as_str() {
                "BatchGetItem" => "UnprocessedKeys",
                _ => "UnprocessedItems",
            };
            body[member] = Value::Object(rest);
            Answer::ok(&body)
        }
        Err(error) => Answer::json(error.status_code(), error.to_json()),
    }
}

pub(crate) fn create_table(database: &Database, request: &Value) {
    if let Err(error) = run(request, |request| database.create_table(request)) {
        panic!("the engine refuses this table: {error}\n{request:#}");
    }
}

/// Every item of a table in plain JSON, in the order of its canonical text.
pub(crate) fn dump(database: &Database, table: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut start = None;
    loop {
        let request = ScanRequest {
            table_name: table.to_owned(),
            consistent_read: Some(true),
            exclusive_start_key: start.take(),
            ..ScanRequest::default()
        };
        let page = database
            .scan(request)
            .unwrap_or_else(|error| panic!("{table} cannot be read: {error}"));
        items.extend(page.items.iter().flatten().map(from_item));
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    items.sort_by_cached_key(canonical);
    items
}

/// An item in plain JSON.
pub(crate) fn item(database: &Database, table: &str, pk: &str, sk: &str) -> Option<Value> {
    get(database, table, pk, sk).as_ref().map(from_item)
}

fn get(database: &Database, table: &str, pk: &str, sk: &str) -> Option<Item> {
    let request = GetItemRequest {
        table_name: table.to_owned(),
        key: key(pk, sk),
        consistent_read: Some(true),
        ..GetItemRequest::default()
    };
    let found = database
        .get_item(request)
        .unwrap_or_else(|error| panic!("{table} cannot be read: {error}"));
    found.item
}

fn key(pk: &str, sk: &str) -> Item {
    [("pk", pk), ("sk", sk)]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())))
        .into()
}

/// The rows that the last writes replaced, latest last.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Image>);

/// A row before a write; `None` if it did not exist.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    table: String,
    pk: String,
    sk: String,
    item: Option<Item>,
}

/// The number of writes that a stale read can look back.
const REMEMBERED: usize = 64;

impl History {
    pub(crate) fn add(&mut self, replaced: Vec<Image>) {
        self.0.extend(replaced);
        let forgotten = self.0.len().saturating_sub(REMEMBERED);
        self.0.drain(..forgotten);
    }

    /// The rows that the last writes to the call's tables changed, each as it was before the first
    /// of them.
    pub(crate) fn before(&self, writes: usize, call: &Call) -> Vec<Image> {
        let latest_first = self.0.iter().rev();
        let of_call = latest_first.filter(|image| call.targets.contains(&image.table));
        let mut images: Vec<&Image> = Vec::new();
        for image in of_call.take(writes) {
            match images
                .iter_mut()
                .find(|known| known.is_of_the_row_of(image))
            {
                Some(known) => *known = image,
                None => images.push(image),
            }
        }
        images.into_iter().cloned().collect()
    }
}

impl Image {
    fn is_of_the_row_of(&self, other: &Image) -> bool {
        (&self.table, &self.pk, &self.sk) == (&other.table, &other.pk, &other.sk)
    }
}

/// The current rows that a call names.
pub(crate) fn images(database: &Database, call: &Call) -> Vec<Image> {
    let image = |(table, pk, sk): (String, String, String)| Image {
        item: get(database, &table, &pk, &sk),
        table,
        pk,
        sk,
    };
    call.written_keys().into_iter().map(image).collect()
}

/// Answers a read from the past: undoes the writes, reads, and redoes them. Nothing else runs in
/// between on one thread.
pub(crate) fn answer_from(database: &Database, call: &Call, replaced: &[Image]) -> Answer {
    let present: Vec<Image> = replaced
        .iter()
        .map(|image| Image {
            item: get(database, &image.table, &image.pk, &image.sk),
            ..image.clone()
        })
        .collect();
    for image in replaced {
        restore(database, image);
    }
    let answer = answer(database, call);
    for image in &present {
        restore(database, image);
    }
    answer
}

fn restore(database: &Database, image: &Image) {
    let table_name = image.table.clone();
    let restored = match &image.item {
        Some(item) => {
            let item = item.clone();
            let request = PutItemRequest {
                table_name,
                item,
                ..PutItemRequest::default()
            };
            database.put_item(request).map(drop)
        }
        None => {
            let request = DeleteItemRequest {
                table_name,
                key: key(&image.pk, &image.sk),
                ..DeleteItemRequest::default()
            };
            database.delete_item(request).map(drop)
        }
    };
    if let Err(error) = restored {
        panic!("what was in {} cannot be put back: {error}", image.table);
    }
}

pub(crate) fn put(database: &Database, table: &str, item: &Value) {
    let attributes = item.as_object().expect("an item is a JSON object");
    let item: Map<String, Value> = attributes
        .iter()
        .map(|(name, value)| (name.clone(), to_attribute(value)))
        .collect();
    let request = json!({ "TableName": table, "Item": item });
    if let Err(error) = run(&request, |request| database.put_item(request)) {
        panic!("{table} does not take this item: {error}\n{request:#}");
    }
}

fn to_attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(flag) => json!({ "BOOL": flag }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(values) => {
            json!({ "L": values.iter().map(to_attribute).collect::<Vec<_>>() })
        }
        Value::Object(members) => {
            let members: Map<String, Value> = members
                .iter()
                .map(|(name, value)| (name.clone(), to_attribute(value)))
                .collect();
            json!({ "M": members })
        }
    }
}

fn from_item(item: &Item) -> Value {
    item.iter()
        .map(|(name, value)| (name.clone(), from_attribute(value)))
        .collect()
}

/// Sets become sorted arrays and bytes arrays of numbers, so that equal items are equal JSON.
fn from_attribute(value: &AttributeValue) -> Value {
    let sorted = |mut values: Vec<Value>| {
        values.sort_by_cached_key(canonical);
        Value::Array(values)
    };
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(digits) => number(digits),
        AttributeValue::B(bytes) => json!(bytes),
        AttributeValue::BOOL(flag) => json!(flag),
        AttributeValue::NULL(_) => Value::Null,
        AttributeValue::SS(set) => sorted(set.iter().map(|text| json!(text)).collect()),
        AttributeValue::NS(set) => sorted(set.iter().map(|digits| number(digits)).collect()),
        AttributeValue::BS(set) => sorted(set.iter().map(|bytes| json!(bytes)).collect()),
        AttributeValue::L(values) => values.iter().map(from_attribute).collect(),
        AttributeValue::M(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), from_attribute(value)))
            .collect(),
    }
}

/// A number that JSON cannot hold exactly stays text.
fn number(digits: &str) -> Value {
    if let Ok(integer) = digits.parse::<i64>() {
        return integer.into();
    }
    digits
        .parse::<f64>()
        .ok()
        .filter(|float| float.to_string() == digits)
        .and_then(Number::from_f64)
        .map_or_else(|| json!(digits), Value::Number)
}

/// JSON text with sorted members.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", json!(name), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(canonical).collect();
            format!("[{}]", values.join(","))
        }
        scalar => scalar.to_string(),
    }
}
