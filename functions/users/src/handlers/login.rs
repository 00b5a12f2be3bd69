//! `POST /api/v1/auth/login`: tokens for an e-mail address and its password.
//!
//! An unknown address, a wrong password and a deactivated user get the same answer after the same
//! work: the same counts, one read and one Argon2id. This holds at every limit and for every source.

use serde::Deserialize;
use shared_auth::{Issuer, SigningKey};
use shared_lambda::front::TrustedFront;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

use super::{TokenBody, guard};
use crate::domain::{Email, Seed, Session, Status};
use crate::passwords::{HashedPassword, Salt};
use crate::problems::INVALID_CREDENTIALS;
use crate::store::{Account, UserStore};
use crate::tokens::RefreshToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    email: String,
    password: String,
}

pub struct Login {
    store: UserStore,
    front: TrustedFront,
    issuer: Issuer,
}

pub async fn wire(setup: &Setup) -> Result<Login, Error> {
    let store = UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?);
    let front = TrustedFront::wire(setup)?;
    let (issuer, audience) = (setup.env("AUTH_ISSUER")?, setup.env("AUTH_AUDIENCE")?);
    let key = setup.env("AUTH_SIGNING_KEY_PARAMETER")?;
    // The only call to AWS comes last, so that a missing variable is reported first.
    let key = SigningKey::from_pkcs8_base64(&setup.secret_parameter(&key).await?)?;
    Ok(Login {
        store,
        front,
        issuer: Issuer::new(&key, &issuer, &audience),
    })
}

pub async fn handle(
    login: &Login,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let Login {
        store,
        front,
        issuer,
    } = login;
    let request = front.locate(request);
    let LoginBody { email, password } = request.json()?;
    let attempt = guard::count(store, Account::of(&email), &context, &request).await?;
    let credential = match Email::to_look_up(&email) {
        Some(email) => store.credential(&email).await?,
        None => None,
    };
    let hash = match &credential {
        Some(credential) => credential.password.clone(),
        None => HashedPassword::dummy(),
    };
    let is_right = hash.verify(&password).map_err(Problem::internal)?;
    let Some(credential) = credential.filter(|_| is_right && attempt.may_pass()) else {
        return Err(attempt.rejection(invalid_credentials()));
    };
    let user_id = credential.user_id;
    let user = store.user(user_id).await?.ok_or_else(|| {
        Problem::internal(format!(
            "an EMAIL row names user {user_id}, who has no USER row"
        ))
    })?;
    match user.status {
        Status::Active => {}
        Status::Deactivated => return Err(attempt.rejection(invalid_credentials())),
    }
    if let Some(rehashed) = hash.rehash(&password, Salt::random()) {
        store.replace_hash(&user, &hash, &rehashed).await?;
    }
    let token = RefreshToken::first(Seed::random());
    let session = Session::start(
        token.session(),
        user.id,
        // Read with the hash: if the password has changed since, the session is already over.
        credential.generation,
        token.hash(),
        context.now,
    );
    store.start_session(&session).await?;
    attempt.succeeded(store, &context).await?;
    Ok(TokenBody::respond(issuer, &user, &token, &context))
}

fn invalid_credentials() -> Problem {
    Problem::new(
        &INVALID_CREDENTIALS,
        "the e-mail address or the password is wrong, or the account is not active",
    )
}
