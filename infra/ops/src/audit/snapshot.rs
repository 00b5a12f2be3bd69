//! One snapshot: every table is scanned once, and rows that seem to be missing are looked up.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::rows::Rows;
use crate::aws::AwsError;
use crate::error::{Context, Error, Result};

/// Calls one DynamoDB operation.
pub type Call<'c> = &'c dyn Fn(&str, Value) -> std::result::Result<Value, AwsError>;

/// The limit of `BatchGetItem`.
const BATCH: usize = 100;

/// How many empty batches in a row are accepted.
const FRUITLESS: u32 = 8;

/// The wait after the first empty batch; it doubles each time. DynamoDB leaves keys unprocessed
/// when it throttles, and recommends exponential backoff.
const BACKOFF: Duration = Duration::from_millis(50);

/// Reads orders before their participants, and users last: users register before they order and are
/// never deleted.
pub fn snapshot(call: Call<'_>, prefix: &str) -> Result<Rows> {
    let reader = Reader {
        call,
        prefix,
        backoff: BACKOFF,
    };
    let orders = reader.scan("orders")?;
    let payments = reader.scan("payments")?;
    let inventory = reader.scan("inventory")?;
    let mut rows = Rows::read(&[], &orders, &inventory, &payments);
    let orders = reader.of_orders("orders", "ORDER", &rows.without_order())?;
    let payments = reader.of_orders("payments", "PAYMENT", &rows.without_payment())?;
    rows.found_meanwhile(&orders, &payments);
    rows.add_users(&reader.users(&rows.who_ordered())?);
    Ok(rows)
}

struct Reader<'c> {
    call: Call<'c>,
    prefix: &'c str,
    backoff: Duration,
}

impl Reader<'_> {
    /// Scans a table.
    fn scan(&self, table: &str) -> Result<Vec<Value>> {
        let table = format!("{}-{table}", self.prefix);
        let mut rows = Vec::new();
        let mut request = json!({"TableName": table, "ConsistentRead": true});
        loop {
            let mut page =
                (self.call)("Scan", request.clone()).context(format!("reading {table}"))?;
            // An empty page still has an empty list.
            let items = page["Items"]
                .as_array()
                .context(format!("reading {table}: DynamoDB's answer has no Items"))?;
            rows.extend(items.iter().map(|item| plain(&json!({"M": item}))));
            match page["LastEvaluatedKey"].take() {
                Value::Object(key) if !key.is_empty() => {
                    request["ExclusiveStartKey"] = Value::Object(key);
                }
                _ => return Ok(rows),
            }
        }
    }

    fn of_orders(&self, table: &str, sk: &str, orders: &BTreeSet<Uuid>) -> Result<Vec<Value>> {
        let pks = orders.iter().map(|id| format!("ORDER#{id}"));
        self.rows(table, sk, None, &pks.collect::<Vec<_>>())
    }

    /// Reads only the attributes of the users' lists.
    fn users(&self, ids: &BTreeSet<Uuid>) -> Result<Vec<Value>> {
        let pks: Vec<String> = ids.iter().map(|id| format!("USER#{id}")).collect();
        self.rows("users", "USER", Some("pk, sk, id, #status"), &pks)
    }

    /// The existing rows with these keys, or only these attributes of them.
    fn rows(
        &self,
        table: &str,
        sk: &str,
        attributes: Option<&str>,
        pks: &[String],
    ) -> Result<Vec<Value>> {
        let table = format!("{}-{table}", self.prefix);
        let mut rows = Vec::new();
        for pks in pks.chunks(BATCH) {
            let keys: Vec<Value> = pks
                .iter()
                .map(|pk| json!({"pk": {"S": pk}, "sk": {"S": sk}}))
                .collect();
            let mut wanted = json!({&table: {"Keys": keys, "ConsistentRead": true}});
            if let Some(attributes) = attributes {
                wanted[&table]["ProjectionExpression"] = json!(attributes);
                // `status` is a reserved word in DynamoDB.
                wanted[&table]["ExpressionAttributeNames"] = json!({"#status": "status"});
            }
            let mut fruitless = 0;
            while wanted.as_object().is_some_and(|tables| !tables.is_empty()) {
                let mut answer = (self.call)("BatchGetItem", json!({"RequestItems": wanted}))
                    .context(format!("reading {table}"))?;
                let found = rows.len();
                let items = answer["Responses"][&table].as_array().into_iter().flatten();
                rows.extend(items.map(|item| plain(&json!({"M": item}))));
                wanted = answer["UnprocessedKeys"].take();
                if rows.len() > found || wanted.as_object().is_none_or(Map::is_empty) {
                    fruitless = 0;
                    continue;
                }
                if fruitless == FRUITLESS {
                    return Err(Error::new(format!(
                        "reading {table}: DynamoDB is too busy; run this again later"
                    )));
                }
                thread::sleep(self.backoff * (1 << fruitless));
                fruitless += 1;
            }
        }
        Ok(rows)
    }
}

/// Converts an attribute such as `{"N": "7"}` to its value. Sets and bytes stay as they are.
fn plain(attribute: &Value) -> Value {
    let Some((kind, value)) = attribute
        .as_object()
        .and_then(|object| object.iter().next())
    else {
        return attribute.clone();
    };
    match (kind.as_str(), value) {
        ("S" | "BOOL", value) => value.clone(),
        ("NULL", _) => Value::Null,
        // A fraction stays text, which no field accepts.
        ("N", Value::String(text)) => text
            .parse::<i64>()
            .map_or_else(|_| Value::String(text.clone()), Value::from),
        ("L", Value::Array(values)) => values.iter().map(plain).collect(),
        ("M", Value::Object(members)) => members
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect::<Map<_, _>>()
            .into(),
        _ => attribute.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The number of rows found after this many unprocessed answers.
    fn found_after(unprocessed: u32) -> Result<usize> {
        let calls = Cell::new(0);
        let call = |operation: &str, request: Value| {
            assert_eq!(operation, "BatchGetItem");
            calls.set(calls.get() + 1);
            Ok(if calls.get() <= unprocessed {
                json!({"Responses": {}, "UnprocessedKeys": request["RequestItems"]})
            } else {
                json!({"Responses": {"w-orders": [{"pk": {"S": "ORDER"}}]}, "UnprocessedKeys": {}})
            })
        };
        let reader = Reader {
            call: &call,
            prefix: "w",
            backoff: Duration::ZERO,
        };
        let rows = reader.of_orders("orders", "ORDER", &BTreeSet::from([Uuid::nil()]))?;
        Ok(rows.len())
    }

    #[test]
    fn a_busy_table_is_retried_a_few_times() {
        for unprocessed in [0, 1, FRUITLESS] {
            let found = found_after(unprocessed).expect("it answers in time");
            assert_eq!(found, 1, "{unprocessed}");
        }
        let error = found_after(FRUITLESS + 1).expect_err("it never answers");
        assert!(
            error.to_string().contains("run this again later"),
            "{error}"
        );
    }

    #[test]
    fn an_answer_without_items_is_an_error() {
        let scanned = |answer: Value| {
            let reader = Reader {
                call: &|_, _| Ok(answer.clone()),
                prefix: "w",
                backoff: Duration::ZERO,
            };
            reader.scan("orders")
        };
        let none: [Value; 0] = [];
        assert_eq!(scanned(json!({"Items": []})).expect("a table"), none);
        let error = scanned(json!({})).expect_err("no rows").to_string();
        assert!(error.starts_with("reading w-orders: "), "{error}");
    }

    #[test]
    fn attributes_become_plain_values() {
        let row = json!({"M": {
            "pk": {"S": "a"}, "n": {"N": "-7"}, "half": {"N": "0.5"}, "no": {"NULL": true},
            "yes": {"BOOL": true}, "list": {"L": [{"N": "1"}, {"M": {"x": {"S": "y"}}}]},
        }});
        assert_eq!(
            plain(&row),
            json!({"pk": "a", "n": -7, "half": "0.5", "no": null, "yes": true,
                   "list": [1, {"x": "y"}]})
        );
    }
}
