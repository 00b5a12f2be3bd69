//! The queue of commands to inventory.

use inventory::handlers::commands;
use inventory::store::InventoryStore;
use shared_lambda::sqs::Queue;
use shared_lambda::{Stage, aws, env, sqs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = InventoryStore::new(aws.dynamodb(), env("INVENTORY_TABLE")?);
    let replies = env("ORDERS_REPLIES_QUEUE_URL")?;
    // Orders of one batch want the same items more often than not.
    let queue = Queue::new(aws.sqs(), env("INVENTORY_COMMANDS_QUEUE_URL")?)
        .one_at_a_time()
        .in_stage(Stage::parse(&env("STAGE")?)?);
    sqs::run(&queue, |context, command| {
        commands::handle(&store, &replies, context, command)
    })
    .await
}
