//! `POST /api/v1/users/me/password`.

use shared_auth::Verifier;
use shared_lambda::{Error, Setup, http};
use users::handlers::password;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let change = password::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        password::handle(&change, caller, context, request)
    })
    .await
}
