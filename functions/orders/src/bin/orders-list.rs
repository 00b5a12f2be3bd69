//! `GET /api/v1/orders`.

use orders::handlers::list;
use shared_auth::Verifier;
use shared_lambda::{Error, Setup};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = list::wire(&Setup::from_env()?)?;
    let verifier = Verifier::from_env()?;
    list::QUERY
        .run_authenticated(&verifier, |caller, context, request| {
            list::handle(&store, caller, context, request)
        })
        .await
}
