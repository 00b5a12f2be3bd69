//! The orders in flight, by due time.

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_lambda::table::{Row, TableError, millis};
use uuid::Uuid;

use super::OrderStore;
use crate::domain::{Order, OrderId};

/// The number of partitions for orders in flight. One partition takes 1,000 writes a second (DynamoDB
/// developer guide, "Designing partition keys").
pub const DUE_SHARDS: u8 = 8;

const BY_DUE: &str = "by_due";

const PARKED: &str = "PARKED";

/// One page of a partition.
#[derive(Debug, Default)]
pub struct DuePage {
    pub entries: Vec<Due>,
    /// The number of index entries without a valid id or time.
    pub unreadable: usize,
    /// The start of the next page, if there may be one.
    pub next: Option<DuePosition>,
}

/// An order's entry in the sweeper's index. The index lags behind, so the order may have moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub id: OrderId,
    pub at: Timestamp,
}

/// The end of a page: the key of its last entry, without the partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DuePosition {
    pk: String,
    sk: String,
    due_at: String,
}

impl DuePosition {
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

/// A partition of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuePartition {
    Shard(u8),
    Parked,
}

impl DuePartition {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..DUE_SHARDS).map(Self::Shard).chain([Self::Parked])
    }

    pub(super) fn key(self) -> String {
        match self {
            Self::Shard(shard) => format!("DUE#{shard}"),
            Self::Parked => PARKED.to_owned(),
        }
    }

    pub(super) fn of(order: &Order) -> Self {
        if order.parked {
            Self::Parked
        } else {
            Self::Shard(order.id.0.as_bytes()[15] % DUE_SHARDS)
        }
    }
}

impl OrderStore {
    /// A page of the partition's orders that are due by a time, or of all, the longest due first.
    /// `after` is the previous page's `next`.
    pub async fn due(
        &self,
        partition: DuePartition,
        by: Option<Timestamp>,
        limit: usize,
        after: Option<DuePosition>,
    ) -> Result<DuePage, TableError> {
        const OPERATION: &str = "find due orders";
        let mut query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name(BY_DUE)
            .expression_attribute_values(":shard", AttributeValue::S(partition.key()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|position| position.key(partition)));
        query = match by {
            None => query.key_condition_expression("due_shard = :shard"),
            Some(by) => query
                .key_condition_expression("due_shard = :shard AND due_at <= :by")
                .expression_attribute_values(":by", AttributeValue::S(millis(by))),
        };
        let answer = query
            .send()
            .await
            .map_err(|error| TableError::new(OPERATION, error))?;
        let mut page = DuePage {
            next: answer.last_evaluated_key.as_ref().map(DuePosition::of),
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

    /// The number of orders in a partition, due or not.
    pub async fn count(&self, partition: DuePartition) -> Result<usize, TableError> {
        const OPERATION: &str = "count orders in flight";
        let mut count = 0;
        let mut after = None;
        loop {
            let answer = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
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
}

fn due_entry(entry: &Row) -> Option<Due> {
    let text = |name: &str| entry.get(name)?.as_s().ok();
    let id = text("pk")?.strip_prefix("ORDER#")?;
    Some(Due {
        id: OrderId(Uuid::try_parse(id).ok()?),
        at: text("due_at")?.parse().ok()?,
    })
}

/// A key attribute. The table's schema makes it a string.
pub(super) fn text(row: &Row, name: &str) -> String {
    let value = row.get(name).and_then(|value| value.as_s().ok());
    value.cloned().unwrap_or_default()
}
