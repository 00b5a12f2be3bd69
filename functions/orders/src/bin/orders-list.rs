//! `GET /api/v1/orders`.

use orders::handlers::list;
use orders::store::OrderStore;
use shared_lambda::{aws, env};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let orders = OrderStore::new(aws.dynamodb(), env("ORDERS_TABLE")?);
    let verifier = shared_auth::Verifier::from_env()?;
    list::QUERY
        .run_authenticated(&verifier, |caller, _, request| {
            list::handle(&orders, caller, request)
        })
        .await
}
