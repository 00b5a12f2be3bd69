//! Reservations: one transaction writes an order's record and the stock of its lines.

use aws_sdk_dynamodb::types::{Put, Update};
use jiff::Timestamp;
use shared_lambda::table::{TableError, Written, key, millis, number, parsed, text, to_row};
use uuid::Uuid;

use super::rows::{ReservationRow, Status, item_pk, order_pk};
use super::{ITEM, InventoryStore, RESERVATION, put, update};
use crate::domain::{Outcome, Reservation, ReservedLine};

impl InventoryStore {
    /// Reads an order's current record.
    pub async fn reservation(&self, order_id: Uuid) -> Result<Option<Reservation>, TableError> {
        const OPERATION: &str = "read a reservation";
        let pk = order_pk(order_id);
        self.table
            .get(OPERATION, &pk, RESERVATION, ReservationRow::parse)
            .await
    }

    /// Applies and records the decision for an order without a record.
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
                self.table.insert("record a refusal", &row).await
            }
        }
    }

    /// Takes the units of every line and records the reservation, or changes nothing.
    async fn hold(
        &self,
        order_id: Uuid,
        lines: &[ReservedLine],
        now: Timestamp,
    ) -> Result<Written, TableError> {
        const OPERATION: &str = "reserve stock";
        let row = ReservationRow::reserved(order_id, lines, now);
        let record = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(to_row(OPERATION, &row)?))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let mut writes = vec![put(parsed(OPERATION, record)?)];
        for line in lines {
            let stock = Update::builder()
                .table_name(&self.table.name)
                .set_key(Some(key(&item_pk(&line.sku), ITEM)))
                .update_expression("ADD available :less, held :more")
                // False for an item that does not exist: it has no `available`.
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
        self.table.transact(OPERATION, writes).await
    }

    /// Returns the units of every line and marks the reservation released, or changes nothing.
    pub async fn release(
        &self,
        order_id: Uuid,
        lines: &[ReservedLine],
        now: Timestamp,
    ) -> Result<Written, TableError> {
        const OPERATION: &str = "release stock";
        let record = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(key(&order_pk(order_id), RESERVATION)))
            .update_expression("SET #status = :released, updated_at = :now")
            .condition_expression("#status = :reserved")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":released", text(Status::Released.as_str()))
            .expression_attribute_values(":reserved", text(Status::Reserved.as_str()))
            .expression_attribute_values(":now", text(&millis(now)))
            .build();
        let mut writes = vec![update(parsed(OPERATION, record)?)];
        for line in lines {
            let stock = Update::builder()
                .table_name(&self.table.name)
                .set_key(Some(key(&item_pk(&line.sku), ITEM)))
                .update_expression("ADD available :more, held :less")
                // Always true while the rows are consistent: only held units are returned.
                .condition_expression("held >= :more")
                .expression_attribute_values(":more", number(line.quantity.get()))
                .expression_attribute_values(":less", number(-line.quantity.get()))
                .build();
            writes.push(update(parsed(OPERATION, stock)?));
        }
        self.table.transact(OPERATION, writes).await
    }

    /// Marks an order without a record as released, so that a late reserve is refused.
    pub async fn put_tombstone(
        &self,
        order_id: Uuid,
        now: Timestamp,
    ) -> Result<Written, TableError> {
        let row = ReservationRow::tombstone(order_id, now);
        self.table.insert("put a tombstone", &row).await
    }
}
