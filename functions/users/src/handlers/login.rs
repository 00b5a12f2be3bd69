//! `POST /api/v1/auth/login`: an access token for an address and its password.
//!
//! Nobody's address, a wrong password and a deactivated user get one and the same answer, after the
//! same work: one read and one Argon2id.

use serde::{Deserialize, Serialize};
use shared_auth::Issuer;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;

use crate::domain::{Email, Role, Status};
use crate::passwords::HashedPassword;
use crate::store::{Credential, UserStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    email: String,
    password: String,
}

/// RFC 6749 §5.1.
#[derive(Serialize)]
struct TokenBody {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
}

pub async fn handle(
    store: &UserStore,
    issuer: &Issuer,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let LoginBody { email, password } = request.json()?;
    // What cannot be an address is nobody's; saying more would only help whoever is guessing.
    let credential = match Email::parse(&email) {
        Ok(email) => store.credential(&email).await?,
        Err(_) => None,
    };
    let (user_id, kept) = match credential {
        Some(Credential { user_id, password }) => (Some(user_id), password),
        None => (None, HashedPassword::nobodys()),
    };
    let fits = kept.fits(&password).map_err(Problem::internal)?;
    let Some(user_id) = user_id.filter(|_| fits) else {
        return Err(invalid_credentials());
    };
    let user = store.user(user_id).await?.ok_or_else(|| {
        Problem::internal(format!(
            "an address leads to user {user_id}, who is not there"
        ))
    })?;
    match user.status {
        Status::Active => {}
        Status::Deactivated => return Err(invalid_credentials()),
    }
    let role = match user.role {
        Role::Customer => shared_auth::Role::Customer,
        Role::Admin => shared_auth::Role::Admin,
    };
    let token = issuer.issue(user.id, role, context.now, context.fresh_id);
    Ok(Response::json(
        200,
        &TokenBody {
            access_token: token.token,
            token_type: "Bearer",
            expires_in: token.expires_in,
        },
    ))
}

fn invalid_credentials() -> Problem {
    Problem::not_authenticated(
        "invalid-credentials",
        "the e-mail address or the password is wrong, or the account is not active",
    )
}
