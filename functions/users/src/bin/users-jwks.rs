//! `GET /.well-known/jwks.json`.

use shared_lambda::{Error, Setup, http};
use users::handlers::jwks;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let keys = jwks::wire(&Setup::from_env()?)?;
    http::run(|context, request| jwks::handle(&keys, context, request)).await
}
