//! `POST /api/v1/auth/refresh`.

use shared_lambda::{Error, Setup, http};
use users::handlers::refresh;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let refresh = refresh::wire(&Setup::from_env()?).await?;
    http::run(|context, request| refresh::handle(&refresh, context, request)).await
}
