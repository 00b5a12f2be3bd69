//! `POST /api/v1/auth/logout`.

use shared_lambda::{Error, Setup, http};
use users::handlers::logout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = logout::wire(&Setup::from_env()?)?;
    http::run(|context, request| logout::handle(&store, context, request)).await
}
