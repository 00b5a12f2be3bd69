//! The queue of commands to users.

use shared_lambda::sqs::Queue;
use shared_lambda::{Stage, aws, env, sqs};
use users::handlers::verify;
use users::store::UserStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = UserStore::new(aws.dynamodb(), env("USERS_TABLE")?);
    let replies = env("ORDERS_REPLIES_QUEUE_URL")?;
    let queue = Queue::new(aws.sqs(), env("USERS_COMMANDS_QUEUE_URL")?)
        .in_stage(Stage::parse(&env("STAGE")?)?);
    sqs::run(&queue, |context, command| {
        verify::handle(&store, &replies, context, command)
    })
    .await
}
