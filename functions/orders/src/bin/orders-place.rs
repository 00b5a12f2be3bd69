//! `POST /api/v1/orders`.

use orders::handlers::place::{Place, handle};
use orders::messages::Routes;
use orders::store::OrderStore;
use orders::users::{Users, patience};
use shared_lambda::{Stage, aws, env, http, rest};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let place = Place {
        orders: OrderStore::new(aws.dynamodb(), env("ORDERS_TABLE")?),
        users: Users::new(rest::Client::new(
            &env("USERS_URL")?,
            aws.connector(),
            patience(),
        )),
        queues: aws.sqs(),
        routes: Routes::default()
            .users(env("USERS_COMMANDS_QUEUE_URL")?)
            .inventory(env("INVENTORY_COMMANDS_QUEUE_URL")?),
        timeout: orders::step_timeout_from_env()?,
        stage: Stage::parse(&env("STAGE")?)?,
    };
    let verifier = shared_auth::Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        handle(&place, caller, context, request)
    })
    .await
}
