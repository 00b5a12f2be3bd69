//! Migrates the table, one slice for each call.

use payments::handlers::migrate;
use shared_lambda::{Error, Setup, invoke};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let migrator = migrate::wire(&Setup::from_env()?)?;
    invoke::run(|context, request| migrator.handle(context, request)).await
}
