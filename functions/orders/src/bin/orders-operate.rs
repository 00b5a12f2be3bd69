//! What operators call by name: list, show, retry and abandon orders in flight.

use orders::handlers::operate::{Operate, handle};
use orders::messages::Routes;
use orders::store::OrderStore;
use shared_lambda::{aws, env, invoke};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let operate = Operate {
        orders: OrderStore::new(aws.dynamodb(), env("ORDERS_TABLE")?),
        queues: aws.sqs(),
        routes: Routes::default()
            .users(env("USERS_COMMANDS_QUEUE_URL")?)
            .inventory(env("INVENTORY_COMMANDS_QUEUE_URL")?)
            .payments(env("PAYMENTS_COMMANDS_QUEUE_URL")?),
        timeout: orders::step_timeout_from_env()?,
    };
    invoke::run(|context, request| handle(&operate, context, request)).await
}
