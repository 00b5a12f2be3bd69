//! POST /api/v1/auth/logout

use shared_lambda::{aws, env, http};
use users::handlers::logout;
use users::store::UserStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = UserStore::new(aws.dynamodb(), env("USERS_TABLE")?);
    http::run(|context, request| logout::handle(&store, context, request)).await
}
