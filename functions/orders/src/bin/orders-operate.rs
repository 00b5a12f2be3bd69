//! What operators call by name: list, show, retry and abandon orders in flight.

use orders::handlers::operate;
use shared_lambda::{Error, Setup, invoke};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let saga = operate::wire(&Setup::from_env()?)?;
    invoke::run(|context, request| operate::handle(&saga, context, request)).await
}
