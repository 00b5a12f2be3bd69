//! `GET /api/v1/payments/{order_id}`.

use payments::handlers::get;
use payments::store::PaymentStore;
use shared_auth::Verifier;
use shared_lambda::{aws, env, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = PaymentStore::new(aws.dynamodb(), env("PAYMENTS_TABLE")?);
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        get::handle(&store, caller, context, request)
    })
    .await
}
