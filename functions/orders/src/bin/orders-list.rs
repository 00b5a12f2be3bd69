//! `GET /api/v1/orders`.

use orders::handlers::list::handle;
use orders::store::OrderStore;
use shared_lambda::{aws, env, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let orders = OrderStore::new(aws.dynamodb(), env("ORDERS_TABLE")?);
    let verifier = shared_auth::Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, _, request| {
        handle(&orders, caller, request)
    })
    .await
}
