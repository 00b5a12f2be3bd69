//! POST /api/v1/users

use shared_lambda::front::TrustedFront;
use shared_lambda::{aws, env, http};
use users::domain::throttle::registrations;
use users::handlers::register;
use users::passwords::Salt;
use users::store::UserStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = UserStore::new(aws.dynamodb(), env("USERS_TABLE")?);
    let policy = registrations(env("REGISTRATIONS_PER_SOURCE")?.parse()?);
    let front = TrustedFront::from_env()?;
    http::run(|context, request| {
        register::handle(
            &store,
            policy,
            Salt::random(),
            context,
            front.locate(request),
        )
    })
    .await
}
