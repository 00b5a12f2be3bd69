//! POST /api/v1/auth/login

use shared_auth::{Issuer, SigningKey};
use shared_lambda::front::TrustedFront;
use shared_lambda::{aws, env, http};
use users::domain::Seed;
use users::handlers::login;
use users::passwords::Salt;
use users::store::UserStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = UserStore::new(aws.dynamodb(), env("USERS_TABLE")?);
    let (name, audience) = (env("AUTH_ISSUER")?, env("AUTH_AUDIENCE")?);
    let parameter = env("AUTH_SIGNING_KEY_PARAMETER")?;
    let front = TrustedFront::from_env()?;
    let key = SigningKey::from_pkcs8_base64(&aws.secret_parameter(&parameter).await?)?;
    let issuer = Issuer::new(&key, &name, &audience);
    http::run(|context, request| {
        login::handle(
            &store,
            &issuer,
            Salt::random(),
            Seed::random(),
            context,
            front.locate(request),
        )
    })
    .await
}
