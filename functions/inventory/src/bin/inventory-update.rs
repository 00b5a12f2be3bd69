//! `PATCH /api/v1/items/{sku}`.

use inventory::handlers::update;
use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = update::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        update::handle(&store, caller, context, request)
    })
    .await
}
