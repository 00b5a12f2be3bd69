//! The queue `inventory-commands`.

use inventory::handlers::commands;
use shared_lambda::sqs::{self, Queue};
use shared_lambda::{Error, Setup, Stage};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let setup = Setup::from_env()?;
    let commands = commands::wire(&setup)?;
    // Orders of one batch often want the same items.
    let queue = Queue::new(setup.sqs(), setup.env("INVENTORY_COMMANDS_QUEUE_URL")?)
        .one_at_a_time()
        .in_stage(Stage::parse(&setup.env("STAGE")?)?);
    sqs::run(&queue, |context, command| {
        commands::handle(&commands, context, command)
    })
    .await
}
