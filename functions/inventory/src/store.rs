//! Inventory's table: items, reservations, adjustments, and every way they are read and written.
//!
//! | pk | sk | |
//! | --- | --- | --- |
//! | `ITEM#<sku>` | `ITEM` | an item with its stock |
//! | `ITEM#<sku>` | `ADJUSTMENT#<id>` | one correction of its stock |
//! | `ORDER#<order id>` | `RESERVATION` | what an order holds, or why it holds nothing |
//!
//! The index `catalogue` lists the items by SKU. It holds keys alone, and no key ever changes, so
//! that the writes of reservations never reach it; a page's values are read from the table.
//!
//! Stock moves by `ADD` under a condition on the row itself, never by writing back what was read.

mod adjustments;
mod items;
mod reservations;
mod rows;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use shared_lambda::table::Table;

pub use adjustments::Adjusted;
pub use items::{Created, ItemPage, Read};
pub use shared_lambda::table::Written;

/// The one value of the partition key of the index `catalogue`.
const CATALOGUE: &str = "ITEM";

const ITEM: &str = "ITEM";
const RESERVATION: &str = "RESERVATION";

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
