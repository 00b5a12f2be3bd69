//! `POST /api/v1/auth/login`.

use shared_lambda::{Error, Setup, http};
use users::handlers::login;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let login = login::wire(&Setup::from_env()?).await?;
    http::run(|context, request| login::handle(&login, context, request)).await
}
