//! The queue `payments-commands`.

use payments::handlers::commands;
use shared_lambda::sqs::{self, Queue};
use shared_lambda::{Error, Setup, Stage};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let setup = Setup::from_env()?;
    let commands = commands::wire(&setup)?;
    let queue = Queue::new(setup.sqs(), setup.env("PAYMENTS_COMMANDS_QUEUE_URL")?)
        .in_stage(Stage::parse(&setup.env("STAGE")?)?);
    sqs::run(&queue, |context, envelope| {
        commands::handle(&commands, context, envelope)
    })
    .await
}
