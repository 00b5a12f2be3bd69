//! PATCH /api/v1/users/{id}

use shared_auth::Verifier;
use shared_lambda::{aws, env, http};
use users::handlers::update;
use users::store::UserStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = UserStore::new(aws.dynamodb(), env("USERS_TABLE")?);
    let verifier = Verifier::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        update::handle(&store, caller, context, request)
    })
    .await
}
