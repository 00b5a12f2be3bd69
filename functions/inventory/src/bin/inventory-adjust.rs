//! `POST /api/v1/items/{sku}/adjustments`.

use inventory::handlers::adjust;
use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = adjust::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        adjust::handle(&store, caller, context, request)
    })
    .await
}
