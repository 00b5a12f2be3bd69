//! `POST /api/v1/orders/{id}/cancel`.

use orders::handlers::cancel::{Cancel, handle};
use orders::messages::Routes;
use orders::store::OrderStore;
use shared_lambda::{aws, env, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let cancel = Cancel {
        orders: OrderStore::new(aws.dynamodb(), env("ORDERS_TABLE")?),
        queues: aws.sqs(),
        routes: Routes::default()
            .inventory(env("INVENTORY_COMMANDS_QUEUE_URL")?)
            .payments(env("PAYMENTS_COMMANDS_QUEUE_URL")?),
        timeout: orders::step_timeout_from_env()?,
    };
    let verifier = shared_auth::Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        handle(&cancel, caller, context, request)
    })
    .await
}
