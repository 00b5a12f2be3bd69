//! Items: the catalogue and its changes by administrators.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use serde_dynamo::aws_sdk_dynamodb_1::from_items;
use shared_lambda::contention::Tries;
use shared_lambda::table::{
    TableError, Written, key, millis, number, parsed, read_row, read_rows, text, to_row,
};
use uuid::Uuid;

use super::rows::{IndexRow, ItemRow, KeyRow, item_pk, key_pk};
use super::{CATALOGUE, ITEM, InventoryStore, KEY, put as put_item};
use crate::domain::{CreationKey, Item, ItemChange, Sku};

/// No attribute that an answer shows has changed.
const SAME_ITEM: &str = "#name = :was_name AND amount = :was_amount AND currency = :was_currency AND \
     stocked = :stocked AND available = :available AND held = :held AND updated_at = :was_updated";

/// The sparse index of items.
const CATALOGUE_INDEX: &str = "catalogue";

/// The outcome of a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    Done,
    /// An earlier request with this key created the item, as it is now.
    Before(Item),
    /// The key belongs to another request.
    KeyReused,
    /// The SKU belongs to another item.
    Taken,
}

/// The outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedItem {
    Done(Item),
    /// The item is no longer the one that the change was bound to.
    Overtaken,
    NoSuchItem,
}

/// The consistency of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Eventually consistent, at half the price.
    Recent,
    /// Includes every acknowledged write.
    Current,
}

/// A page of the catalogue in the order of SKUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPage {
    pub items: Vec<Item>,
    /// The last SKU of this page, if another page follows. It comes from the index, so that an
    /// unreadable row does not end the list.
    pub next: Option<String>,
}

impl InventoryStore {
    /// Adds an item whose SKU is free. `request` identifies this call's own write, which the SDK
    /// repeats after a lost answer.
    pub async fn create(&self, item: &Item, request: Uuid) -> Result<Created, TableError> {
        const OPERATION: &str = "create an item";
        let row = ItemRow::new(item, request);
        let put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
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

    /// [`create`](Self::create) with a key. One transaction writes the item and the record of the key.
    pub async fn create_once(
        &self,
        item: &Item,
        key: &CreationKey,
        request: Uuid,
    ) -> Result<Created, TableError> {
        const OPERATION: &str = "create an item once";
        let new = |row| {
            let put = Put::builder()
                .table_name(&self.table.name)
                .set_item(Some(row))
                .condition_expression("attribute_not_exists(pk)");
            parsed(OPERATION, put.build()).map(put_item)
        };
        let writes = vec![
            new(to_row(OPERATION, &KeyRow::new(key, item))?)?,
            new(to_row(OPERATION, &ItemRow::new(item, request))?)?,
        ];
        let mut tries = Tries::new(request);
        while tries.next().await {
            match self.table.transact(OPERATION, writes.clone()).await? {
                Written::Done => return Ok(Created::Done),
                Written::Contended => continue,
                Written::Overtaken => {}
            }
            return Ok(match self.created_under(key.id).await? {
                None => Created::Taken,
                Some((_, fingerprint)) if fingerprint != key.fingerprint => Created::KeyReused,
                Some((sku, _)) => {
                    let gone = || TableError::corrupt(OPERATION, format!("there is no item {sku}"));
                    Created::Before(self.item(&sku).await?.ok_or_else(gone)?)
                }
            });
        }
        Err(TableError::contended(OPERATION))
    }

    /// The item that was created under a key, and the fingerprint of the request.
    pub async fn created_under(&self, key: Uuid) -> Result<Option<(Sku, Uuid)>, TableError> {
        const OPERATION: &str = "read a key";
        self.table
            .get(OPERATION, &key_pk(key), KEY, KeyRow::parse)
            .await
    }

    /// Reads the current item.
    pub async fn item(&self, sku: &Sku) -> Result<Option<Item>, TableError> {
        const OPERATION: &str = "read an item";
        self.table
            .get(OPERATION, &item_pk(sku), ITEM, ItemRow::parse)
            .await
    }

    /// Reads up to 100 items (the limit of `BatchGetItem`) by SKU, in no order, without those that do
    /// not exist.
    pub async fn items(
        &self,
        skus: &[Sku],
        read: Read,
        call: Uuid,
    ) -> Result<Vec<Item>, TableError> {
        const OPERATION: &str = "read several items";
        let keys = skus.iter().map(|sku| key(&item_pk(sku), ITEM)).collect();
        let is_current = read == Read::Current;
        let rows = self
            .table
            .batch_get(OPERATION, keys, is_current, call)
            .await?;
        let read = |row| read_row(OPERATION, row, ItemRow::parse);
        rows.into_iter().map(read).collect()
    }

    /// Reads the catalogue from its start or after a SKU. Stock may be slightly old. An unreadable
    /// item is logged and left out.
    pub async fn page(
        &self,
        after: Option<&str>,
        limit: usize,
        call: Uuid,
    ) -> Result<ItemPage, TableError> {
        const OPERATION: &str = "list the items";
        // One more than requested shows whether another page follows.
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
        let keys = indexed.iter().map(|row| key(&row.pk, ITEM)).collect();
        let rows = self.table.batch_get(OPERATION, keys, false, call).await?;
        let read = |row| read_row(OPERATION, row, ItemRow::parse);
        let read = read_rows(&self.table.name, rows, read);
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
            .table
            .client
            .query()
            .table_name(&self.table.name)
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

    /// Changes an item's name or price, only if the item is still `before` where that is given.
    pub async fn change(
        &self,
        sku: &Sku,
        change: &ItemChange,
        before: Option<&Item>,
        now: Timestamp,
        call: Uuid,
    ) -> Result<ChangedItem, TableError> {
        const OPERATION: &str = "change an item";
        let mut tries = Tries::new(call);
        while tries.next().await {
            let mut set = vec!["updated_at = :now"];
            let mut update = self
                .table
                .client
                .update_item()
                .table_name(&self.table.name)
                .set_key(Some(key(&item_pk(sku), ITEM)))
                .condition_expression(match before {
                    None => "attribute_exists(pk)",
                    Some(_) => SAME_ITEM,
                })
                .expression_attribute_values(":now", text(&millis(now)))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            if let Some(item) = before {
                let levels = item.levels;
                update = update
                    .expression_attribute_names("#name", "name")
                    .expression_attribute_values(":was_name", text(item.name.as_str()))
                    .expression_attribute_values(":was_amount", number(item.price.amount.get()))
                    .expression_attribute_values(
                        ":was_currency",
                        text(item.price.currency.as_str()),
                    )
                    .expression_attribute_values(":stocked", number(levels.stocked))
                    .expression_attribute_values(":available", number(levels.available))
                    .expression_attribute_values(":held", number(levels.held))
                    .expression_attribute_values(":was_updated", text(&millis(item.updated_at)));
            }
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
                    return read_row(OPERATION, row, ItemRow::parse).map(ChangedItem::Done);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    let Some(row) = refused.item() else {
                        return Ok(match before {
                            None => ChangedItem::NoSuchItem,
                            Some(_) => ChangedItem::Overtaken,
                        });
                    };
                    let is = read_row(OPERATION, row.clone(), ItemRow::parse)?;
                    // An earlier try may have taken effect without an answer (RFC 9110 §13.1.1).
                    return Ok(match is.updated_at == now && change.is_made_in(&is) {
                        true => ChangedItem::Done(is),
                        false => ChangedItem::Overtaken,
                    });
                }
                Some(UpdateItemError::TransactionConflictException(_)) => {}
                _ => return Err(TableError::new(OPERATION, error)),
            }
        }
        Err(TableError::contended(OPERATION))
    }
}
