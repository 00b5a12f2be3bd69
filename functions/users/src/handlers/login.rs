//! `POST /api/v1/auth/login`: tokens for an address and its password.
//!
//! Nobody's address, a wrong password and a deactivated user get one and the same answer, after the
//! same work: the same counted tries, one read and one Argon2id. That holds where a limit is reached
//! as well, and wherever the request comes from.

use serde::Deserialize;
use shared_auth::{Issuer, SigningKey};
use shared_lambda::front::TrustedFront;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

use super::{TokenBody, guard};
use crate::domain::{Email, Seed, Session, Status};
use crate::passwords::{HashedPassword, Salt};
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
    // The only call to AWS comes last, so that a missing variable is named first.
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
    let guarded = guard::count(store, Account::of(&email), &context, &request).await?;
    // Not checked as a new address is: a rule that was tightened since must lock nobody out.
    let credential = match Email::to_look_up(&email) {
        Some(email) => store.credential(&email).await?,
        None => None,
    };
    let kept = match &credential {
        Some(credential) => credential.password.clone(),
        None => HashedPassword::nobodys(),
    };
    let fits = kept.fits(&password).map_err(Problem::internal)?;
    let Some(credential) = credential.filter(|_| fits && guarded.may_pass()) else {
        return Err(guarded.answer(invalid_credentials()));
    };
    let user_id = credential.user_id;
    let user = store.user(user_id).await?.ok_or_else(|| {
        Problem::internal(format!(
            "an address leads to user {user_id}, who is not there"
        ))
    })?;
    match user.status {
        Status::Active => {}
        Status::Deactivated => return Err(guarded.answer(invalid_credentials())),
    }
    if let Some(renewed) = kept.renewed(&password, Salt::random()) {
        store.renew_hash(&user, &kept, &renewed).await?;
    }
    let token = RefreshToken::first(Seed::random());
    let session = Session::start(
        token.session(),
        user.id,
        // Read along with the password: if that was changed a moment ago, the session has ended.
        credential.generation,
        token.hash(),
        context.now,
    );
    store.start_session(&session).await?;
    guarded.succeeded(store, &context).await?;
    Ok(TokenBody::respond(issuer, &user, &token, &context))
}

fn invalid_credentials() -> Problem {
    Problem::not_authenticated(
        "invalid-credentials",
        "the e-mail address or the password is wrong, or the account is not active",
    )
}
