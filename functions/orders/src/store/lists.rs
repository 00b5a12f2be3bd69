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

/// The most requests for the keys that a batch leaves unprocessed, before the caller gets a 503.
const BATCH_GET_TRIES: usize = 5;

/// The most rows that one page reads: one batch, and no less than the longest page. A page that
/// reaches it may be short, and the next page continues from there.
pub const MAX_READ_PER_PAGE: usize = BATCH_GET_KEYS;

/// One page of a list.
#[derive(Debug)]
pub struct OrderPage {
    pub orders: Vec<Order>,
    /// The end of this page, if there is a next one.
    pub next: Option<ListPosition>,
}

/// A row's position in its customer's list: the index's sort key, which is not parsed, so that an
/// unusual key does not end the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListPosition {
    #[serde(deserialize_with = "shared_lambda::cursor::sort_key")]
    placed: String,
}

/// An entry of the index of a customer's orders.
struct IndexEntry {
    pk: String,
    position: ListPosition,
}

impl OrderStore {
    /// A page of a customer's orders, newest first, of one status or of all. `after` is the previous
    /// page's `next`. A page is short or empty if [`MAX_READ_PER_PAGE`] rows have no more.
    pub async fn list(
        &self,
        user: UserId,
        status: Option<Status>,
        limit: usize,
        mut after: Option<ListPosition>,
    ) -> Result<OrderPage, TableError> {
        let is_wanted = |order: &Order| status.is_none_or(|status| order.status() == status);
        let mut orders: Vec<Order> = Vec::new();
        let mut left = MAX_READ_PER_PAGE;
        loop {
            // With a filter, most rows may not match. A whole batch is read, so an order with a rare
            // status does not cost a round trip of its own.
            let window = match status {
                None => left.min(limit - orders.len()),
                Some(_) => left,
            };
            // One extra row shows whether there is more.
            let mut rows = self.entries_of(user, window + 1, after.clone()).await?;
            let has_more = rows.len() > window;
            rows.truncate(window);
            left -= rows.len();
            let mut found = self.get_all(&rows).await?;
            let mut rows = rows.into_iter();
            for IndexEntry { pk, position } in rows.by_ref() {
                after = Some(position);
                orders.extend(found.remove(&pk).filter(is_wanted));
                if orders.len() == limit {
                    break;
                }
            }
            let has_more = has_more || rows.any(|row| found.get(&row.pk).is_some_and(is_wanted));
            if orders.len() == limit || !has_more || left == 0 {
                return Ok(OrderPage {
                    orders,
                    next: after.filter(|_| has_more),
                });
            }
        }
    }

    /// A customer's newest orders, at most `limit`, none placed before `since`. The index lags behind,
    /// so the very newest may be missing. Unreadable rows are left out.
    pub async fn recent(
        &self,
        user: UserId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Order>, TableError> {
        let mut rows = self.entries_of(user, limit, None).await?;
        let since = millis(since);
        rows.retain(|row| row.position.placed >= since);
        Ok(self.get_all(&rows).await?.into_values().collect())
    }

    /// The index entries of a customer's orders, newest first.
    async fn entries_of(
        &self,
        user: UserId,
        limit: usize,
        after: Option<ListPosition>,
    ) -> Result<Vec<IndexEntry>, TableError> {
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
        // Unlike a start key, a condition cannot point outside the caller's own list.
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
            .map(|row| IndexEntry {
                pk: text(row, "pk"),
                position: ListPosition {
                    placed: text(row, "placed"),
                },
            })
            .collect())
    }

    /// The orders of these rows by `pk`. Unreadable rows are left out.
    async fn get_all(&self, rows: &[IndexEntry]) -> Result<HashMap<String, Order>, TableError> {
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
