//! `POST /api/v1/users/me/password`: changes the caller's password and ends all sessions except the
//! one whose refresh token is in the request.
//!
//! The caller must send the current password, because the access token may be stolen. Guesses count
//! as failed logins.

use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::front::TrustedFront;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

use super::{deactivated, guard, no_such_user, not_null};
use crate::domain::{Password, Session, Status, User, Verdict};
use crate::passwords::{HashedPassword, Salt};
use crate::problems::CHANGED_MEANWHILE;
use crate::store::{Account, Changed, UserStore};
use crate::tokens::RefreshToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    current_password: String,
    new_password: String,
    #[serde(default, deserialize_with = "not_null")]
    refresh_token: Option<String>,
}

pub struct PasswordChange {
    store: UserStore,
    front: TrustedFront,
}

pub fn wire(setup: &Setup) -> Result<PasswordChange, Error> {
    Ok(PasswordChange {
        store: UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?),
        front: TrustedFront::wire(setup)?,
    })
}

pub async fn handle(
    change: &PasswordChange,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let PasswordChange { store, front } = change;
    let request = front.locate(request);
    let user = store.user(caller.user_id).await?.ok_or_else(no_such_user)?;
    match user.status {
        Status::Active => {}
        Status::Deactivated => return Err(deactivated()),
    }
    let (current, new, refresh_token) =
        request.parse(request.fields(), |body: PasswordBody, fields| {
            let new = Password::choose(&body.new_password, Some(&user.email), Some(&user.name));
            let new = fields.take("/new_password", new)?;
            Some((body.current_password, new, body.refresh_token))
        })?;
    let kept = match &refresh_token {
        Some(token) => Some(own_session(store, &user, token, &context).await?),
        None => None,
    };
    let account = Account::of(user.email.as_str());
    let attempt = guard::count(store, account, &context, &request).await?;
    let credential = store
        .credential(&user.email)
        .await?
        .ok_or_else(|| Problem::internal(format!("user {} has no credential", user.id)))?;
    let is_right = credential.password.verify(&current);
    if !(is_right.map_err(Problem::internal)? && attempt.may_pass()) {
        let wrong = Problem::invalid_field("/current_password", "is not your password");
        return Err(attempt.rejection(wrong));
    }
    let changed = store
        .change_password(
            &user,
            &credential.password,
            &HashedPassword::new(&new, Salt::random()),
            kept.as_ref(),
            context.fresh_id,
        )
        .await?;
    attempt.succeeded(store, &context).await?;
    match changed {
        Changed::Done => Ok(Response::empty(204)),
        Changed::Overtaken => Err(Problem::new(
            &CHANGED_MEANWHILE,
            "another request changed your password or session first, so nothing was changed; try \
             again",
        )),
    }
}

/// The session to keep, which must belong to the user and be valid. A wrong token is refused before
/// the change: otherwise the change would end the session that the caller wants to keep.
async fn own_session(
    store: &UserStore,
    user: &User,
    token: &str,
    context: &Context,
) -> Result<Session, Problem> {
    let session = match RefreshToken::parse(token) {
        Some(token) => store
            .session(token.session())
            .await?
            .filter(|session| session.judge(&token.hash(), context.now) == Verdict::Rotate),
        None => None,
    };
    session
        .filter(|session| session.user_id == user.id && session.is_valid_for(Some(user)))
        .ok_or_else(|| {
            Problem::invalid_field(
                "/refresh_token",
                "is not the current refresh token of one of your sessions; omit it to end all",
            )
        })
}
