//! The queue `payments-commands`.

use payments::handlers::commands;
use payments::provider::{Kind, Simulator};
use payments::store::PaymentStore;
use shared_lambda::{Stage, aws, env, sqs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let table = env("PAYMENTS_TABLE")?;
    let stage = Stage::parse(&env("STAGE")?)?;
    let simulator_in_production = env("SIMULATOR_IN_PRODUCTION")?;
    let kind = Kind::choose(&env("PAYMENT_PROVIDER")?, stage, &simulator_in_production)?;
    let provider = match kind {
        Kind::Simulator => Simulator::new(aws.dynamodb(), table.clone(), stage),
    };
    let store = PaymentStore::new(aws.dynamodb(), table);
    let replies = env("ORDERS_REPLIES_QUEUE_URL")?;
    let queue = sqs::Queue::new(aws.sqs(), env("PAYMENTS_COMMANDS_QUEUE_URL")?).in_stage(stage);
    sqs::run(&queue, |context, envelope| {
        commands::handle(&store, &provider, &replies, context, envelope)
    })
    .await
}
