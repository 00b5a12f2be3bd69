//! The queue `users-commands`.

use shared_lambda::sqs::{self, Queue};
use shared_lambda::{Error, Setup, Stage};
use users::handlers::verify;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let setup = Setup::from_env()?;
    let verify = verify::wire(&setup)?;
    let queue = Queue::new(setup.sqs(), setup.env("USERS_COMMANDS_QUEUE_URL")?)
        .in_stage(Stage::parse(&setup.env("STAGE")?)?);
    sqs::run(&queue, |context, command| {
        verify::handle(&verify, context, command)
    })
    .await
}
