//! `GET /api/v1/users/me`.

use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};
use users::handlers::me;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = me::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        me::handle(&store, caller, context, request)
    })
    .await
}
