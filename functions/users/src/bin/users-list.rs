//! GET /api/v1/users

use shared_auth::Verifier;
use shared_lambda::{aws, env};
use users::handlers::list;
use users::store::UserStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = UserStore::new(aws.dynamodb(), env("USERS_TABLE")?);
    let verifier = Verifier::from_env()?;
    list::QUERY
        .run_authenticated(&verifier, |caller, _, request| {
            list::handle(&store, caller, request)
        })
        .await
}
