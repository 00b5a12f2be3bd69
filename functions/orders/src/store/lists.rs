//! A customer's orders, newest first.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_lambda::table::{TableError, key, millis, read_rows};

use super::OrderStore;
use super::due::text;
use super::rows::{SK, order_of};
use crate::domain::{Order, Status, UserId};

const BY_USER: &str = "by_user";

/// `BatchGetItem` takes at most this many keys.
const BATCH_GET_KEYS: usize = 100;

/// How often a batch is asked for the keys it left out before the caller is told to come back.
const BATCH_GET_TRIES: usize = 5;

/// How many rows a page of a list reads at most. The page may then be short, and the next one goes
/// on where this one ended. It is one batch, and no less than the longest page.
pub const MAX_READ_PER_PAGE: usize = BATCH_GET_KEYS;

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

/// An entry of the index of a customer's orders.
struct Placed {
    pk: String,
    place: Place,
}

impl OrderStore {
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
        let since = millis(since);
        rows.retain(|row| row.place.placed >= since);
        Ok(self.get_all(&rows).await?.into_values().collect())
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
            .table
            .client
            .query()
            .table_name(&self.table.name)
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
            let mut keys: Vec<_> = batch.iter().map(|row| key(&row.pk, SK)).collect();
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
                    .table
                    .client
                    .batch_get_item()
                    .request_items(&self.table.name, wanted)
                    .send()
                    .await
                    .map_err(|error| TableError::new(OPERATION, error))?;
                let rows = answer.responses.unwrap_or_default().into_values().flatten();
                let read = read_rows(&self.table.name, rows, |row| {
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
