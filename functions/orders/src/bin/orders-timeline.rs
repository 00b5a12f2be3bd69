//! `GET /api/v1/orders/{id}/timeline`.

use orders::handlers::timeline;
use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = timeline::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        timeline::handle(&store, caller, context, request)
    })
    .await
}
