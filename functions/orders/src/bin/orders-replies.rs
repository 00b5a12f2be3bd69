//! The queue `orders-replies`.

use orders::handlers::replies;
use shared_lambda::{Error, Setup, sqs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let setup = Setup::from_env()?;
    let saga = replies::wire(&setup)?;
    let queue = sqs::Queue::new(setup.sqs(), setup.env("ORDERS_REPLIES_QUEUE_URL")?);
    sqs::run(&queue, |context, envelope| {
        replies::handle(&saga, context, envelope)
    })
    .await
}
