//! `POST /api/v1/users`.

use shared_lambda::{Error, Setup, http};
use users::handlers::register;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let register = register::wire(&Setup::from_env()?)?;
    http::run(|context, request| register::handle(&register, context, request)).await
}
