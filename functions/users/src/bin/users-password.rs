//! POST /api/v1/users/me/password

use shared_auth::Verifier;
use shared_lambda::front::TrustedFront;
use shared_lambda::{aws, env, http};
use users::handlers::password;
use users::passwords::Salt;
use users::store::UserStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = UserStore::new(aws.dynamodb(), env("USERS_TABLE")?);
    let verifier = Verifier::from_env()?;
    let front = TrustedFront::from_env()?;
    http::run_authenticated(&verifier, |caller, context, request| {
        password::handle(
            &store,
            Salt::random(),
            caller,
            context,
            front.locate(request),
        )
    })
    .await
}
