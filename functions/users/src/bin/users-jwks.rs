//! GET /.well-known/jwks.json

use shared_lambda::{env, http};
use users::handlers::jwks::{self, PublishedKeys};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let keys = PublishedKeys::parse(env("AUTH_JWKS")?)?;
    http::run(|_, _| jwks::handle(&keys)).await
}
