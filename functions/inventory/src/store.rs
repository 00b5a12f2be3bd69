//! Inventory's table: items, reservations and adjustments.
//!
//! | pk | sk | |
//! | --- | --- | --- |
//! | `ITEM#<sku>` | `ITEM` | an item with its stock |
//! | `ITEM#<sku>` | `ADJUSTMENT#<id>` | one correction of its stock |
//! | `KEY#<id>` | `KEY` | the creation of an item with an `Idempotency-Key` |
//! | `ORDER#<order id>` | `RESERVATION` | an order's units, or the reason why it has none |
//!
//! The index `catalogue` lists the items by SKU. It holds only keys. Keys never change, so a
//! reservation writes nothing to the index. The values of a page come from the table.
//!
//! Stock changes by a conditional `ADD`, never by writing back a value that was read.

mod adjustments;
mod items;
mod reservations;
mod rows;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use shared_lambda::table::Table;

pub use adjustments::Adjusted;
pub use items::{ChangedItem, Created, ItemPage, Read};
pub use shared_lambda::table::Written;

/// The one value of the partition key of the index `catalogue`.
const CATALOGUE: &str = "ITEM";

const ITEM: &str = "ITEM";
const RESERVATION: &str = "RESERVATION";
const KEY: &str = "KEY";

/// The service's table.
#[derive(Clone, Debug)]
pub struct InventoryStore {
    table: Table,
}

impl InventoryStore {
    pub fn new(client: Client, table: String) -> Self {
        Self {
            table: Table::new(client, table),
        }
    }
}

fn put(put: Put) -> TransactWriteItem {
    TransactWriteItem::builder().put(put).build()
}

fn update(update: Update) -> TransactWriteItem {
    TransactWriteItem::builder().update(update).build()
}
