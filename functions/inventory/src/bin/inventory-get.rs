//! `GET /api/v1/items/{sku}`.

use inventory::handlers::get;
use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = get::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_public(&verifier, |caller, context, request| {
        get::handle(&store, caller, context, request)
    })
    .await
}
