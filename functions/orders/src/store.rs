//! The orders table.
//!
//! | item | pk | sk |
//! | --- | --- | --- |
//! | order | `ORDER#<id>` | `ORDER` |
//!
//! Index `by_user` (`user_id`, `placed`) lists a customer's orders, newest first. Index `by_due`
//! (`due_shard`, `due_at`) is sparse: it has only orders that owe a command, spread over [`DUE_SHARDS`]
//! partitions, with a separate one for parked orders. Both hold keys only, so a change of status
//! writes no index entry.
//!
//! The timeline is part of the order's item: a step is one conditional write, at half the price of a
//! transaction over two items.

mod due;
mod lists;
mod rows;
mod timeline;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use shared_lambda::table::{Table, TableError};

use crate::domain::{Order, OrderId};
use rows::{SK, item, order, order_of, pk};

pub use due::{DUE_SHARDS, Due, DuePage, DuePartition, DuePosition};
pub use lists::{ListPosition, MAX_READ_PER_PAGE, OrderPage};
pub use rows::SCHEMA;
pub use timeline::compacted;

pub struct OrderStore {
    table: Table,
}

/// The result of an insert.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    New,
    /// This order has the id already.
    Existing(Box<Order>),
}

/// The result of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    Done,
    /// Another writer was first: load the order and decide again.
    Overtaken,
}

impl OrderStore {
    pub fn new(client: aws_sdk_dynamodb::Client, table: String) -> Self {
        Self {
            table: Table::new(client, table),
        }
    }

    /// Writes a new order, or finds the one that has its id already. Ids derive from the user. So
    /// another user's order under the id is an error. The error reveals nothing of that order.
    pub async fn insert(&self, order: &Order) -> Result<Inserted, TableError> {
        const OPERATION: &str = "insert order";
        let answer = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
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
                // Some emulators of DynamoDB leave the old item out.
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

    /// Writes the next version of an order, unless another writer has.
    ///
    /// After a lost answer, the SDK's own retry finds its first write. That is not another writer. The
    /// update counts as done, because the order's command is still to be sent.
    pub async fn update(&self, order: &Order) -> Result<Updated, TableError> {
        const OPERATION: &str = "update order";
        let next = item(order, OPERATION)?;
        let answer = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
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
        self.table.get("read order", &pk(id), SK, order).await
    }
}
