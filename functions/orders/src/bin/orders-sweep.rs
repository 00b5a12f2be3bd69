//! The schedule that drives orders whose time is up.

use orders::handlers::sweep::{Sweep, handle};
use orders::messages::Routes;
use orders::store::OrderStore;
use shared_lambda::{aws, env, schedule};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let sweep = Sweep {
        orders: OrderStore::new(aws.dynamodb(), env("ORDERS_TABLE")?),
        queues: aws.sqs(),
        routes: Routes::default()
            .users(env("USERS_COMMANDS_QUEUE_URL")?)
            .inventory(env("INVENTORY_COMMANDS_QUEUE_URL")?)
            .payments(env("PAYMENTS_COMMANDS_QUEUE_URL")?),
        replies: env("ORDERS_REPLIES_QUEUE_URL")?,
        timeout: orders::step_timeout_from_env()?,
    };
    schedule::run(|context| handle(&sweep, context)).await
}
