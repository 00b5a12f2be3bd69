//! `GET /api/v1/users/{id}`.

use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};
use users::handlers::get;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = get::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        get::handle(&store, caller, context, request)
    })
    .await
}
