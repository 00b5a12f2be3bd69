//! The queue `orders-replies`.

use orders::handlers::replies::{Replies, handle};
use orders::messages::Routes;
use orders::store::OrderStore;
use shared_lambda::{aws, env, sqs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let replies = Replies {
        orders: OrderStore::new(aws.dynamodb(), env("ORDERS_TABLE")?),
        routes: Routes::default()
            .inventory(env("INVENTORY_COMMANDS_QUEUE_URL")?)
            .payments(env("PAYMENTS_COMMANDS_QUEUE_URL")?),
        timeout: orders::step_timeout_from_env()?,
    };
    let queue = sqs::Queue::new(aws.sqs(), env("ORDERS_REPLIES_QUEUE_URL")?);
    sqs::run(&queue, |context, envelope| {
        handle(&replies, context, envelope)
    })
    .await
}
