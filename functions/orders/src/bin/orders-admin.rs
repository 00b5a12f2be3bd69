//! The operators' function: list and show orders that have not ended, retry or abandon their steps.

use orders::handlers::admin;
use shared_lambda::{Error, Setup, invoke};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let saga = admin::wire(&Setup::from_env()?)?;
    invoke::run(|context, request| admin::handle(&saga, context, request)).await
}
