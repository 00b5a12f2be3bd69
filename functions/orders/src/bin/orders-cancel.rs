//! `POST /api/v1/orders/{id}/cancel`.

use orders::handlers::cancel;
use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let saga = cancel::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        cancel::handle(&saga, caller, context, request)
    })
    .await
}
