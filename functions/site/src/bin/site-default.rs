//! `$default`: requests that no other route of the gateway takes.

use shared_lambda::http::Query;
use shared_lambda::{Error, Setup};
use site::handlers::default;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let site = default::wire(&Setup::from_env()?)?;
    Query::ANY
        .run(|context, request| default::handle(&site, context, request))
        .await
}
