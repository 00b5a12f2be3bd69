//! Migrates the table. There is no route: `waybill migrate` invokes the function by name.

use shared_lambda::migrate::Migrator;
use shared_lambda::{Error, Setup};

use crate::migrations::SCHEMAS;

/// Needs only the table.
pub fn wire(setup: &Setup) -> Result<Migrator, Error> {
    let table = setup.env("ORDERS_TABLE")?;
    Ok(Migrator::new(setup.dynamodb(), table, SCHEMAS))
}
