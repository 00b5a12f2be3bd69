//! Adjustments: one transaction writes an item's stock and the record of the change.

use aws_sdk_dynamodb::types::{Put, Update};
use shared_lambda::contention::Tries;
use shared_lambda::table::{TableError, Written, key, millis, number, parsed, text, to_row};
use uuid::Uuid;

use super::rows::{AdjustmentRow, adjustment_sk, item_pk};
use super::{ITEM, InventoryStore, put, update};
use crate::domain::{Adjustment, Sku};

/// The outcome of an adjustment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjusted {
    Done,
    /// An adjustment with this id exists; nothing was changed.
    Before(Adjustment),
    /// It removes more units than are available.
    Insufficient {
        available: i64,
    },
    NoSuchItem,
}

impl InventoryStore {
    /// Adjusts an item's stock and records the adjustment, or does neither.
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
            // The record comes first: a repeat then gets the first answer, not one from the present stock.
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
                // Units came back in the meantime.
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
            .table_name(&self.table.name)
            .set_key(Some(key(&item_pk(&adjustment.sku), ITEM)))
            .update_expression("ADD available :delta, stocked :delta SET updated_at = :now")
            // False for an item that does not exist: it has no `available`.
            .condition_expression("available >= :takes")
            .expression_attribute_values(":delta", number(adjustment.delta.get()))
            .expression_attribute_values(":takes", number(adjustment.delta.takes()))
            .expression_attribute_values(":now", text(&millis(adjustment.created_at)))
            .build();
        let record = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(to_row(operation, &AdjustmentRow::new(adjustment))?))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let record = parsed(operation, record)?;
        let stock = parsed(operation, stock)?;
        self.table
            .transact(operation, vec![put(record), update(stock)])
            .await
    }

    pub async fn adjustment(&self, sku: &Sku, id: Uuid) -> Result<Option<Adjustment>, TableError> {
        const OPERATION: &str = "read an adjustment";
        let (pk, sk) = (item_pk(sku), adjustment_sk(id));
        self.table
            .get(OPERATION, &pk, &sk, AdjustmentRow::parse)
            .await
    }
}
