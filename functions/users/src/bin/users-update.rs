//! `PATCH /api/v1/users/{id}`.

use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};
use users::handlers::update;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = update::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        update::handle(&store, caller, context, request)
    })
    .await
}
