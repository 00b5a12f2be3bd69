//! `POST /api/v1/orders`.

use orders::handlers::place;
use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let service = place::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        place::handle(&service, caller, context, request)
    })
    .await
}
