//! Migrates the table, one slice for each call.

use shared_lambda::{Error, Setup, invoke};
use users::handlers::migrate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let migrator = migrate::wire(&Setup::from_env()?)?;
    invoke::run(|context, request| migrator.handle(context, request)).await
}
