//! The sweeper, which a schedule calls every minute.

use orders::handlers::sweep;
use shared_lambda::{Error, Setup, schedule};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sweeper = sweep::wire(&Setup::from_env()?)?;
    schedule::run(|context| sweep::handle(&sweeper, context)).await
}
