//! The service's functions, one module each, and their shared bodies, checks and problems.

pub mod get;
mod guard;
pub mod jwks;
pub mod list;
pub mod login;
pub mod logout;
pub mod me;
pub mod migrate;
pub mod password;
pub mod refresh;
pub mod register;
pub mod update;
pub mod update_me;
pub mod verify;

use serde::Serialize;
use shared_auth::{Caller, Issuer};
use shared_lambda::Context;
use shared_lambda::http::{Response, not_null, require_admin};
use shared_lambda::problem::Problem;
use shared_lambda::problems::ADMIN_ONLY;
use shared_lambda::table::{TableError, millis};
use uuid::Uuid;

use crate::domain::{Role, User};
use crate::problems::DEACTIVATED;
use crate::store::UserStore;
use crate::tokens::RefreshToken;

/// A user in an answer.
#[derive(Serialize)]
struct UserBody<'a> {
    id: Uuid,
    email: &'a str,
    name: &'a str,
    role: &'a str,
    status: &'a str,
    created_at: String,
}

impl<'a> UserBody<'a> {
    /// An answer with a user.
    fn respond(status: u16, user: &'a User) -> Response {
        Response::json(status, &Self::new(user)).tagged()
    }

    fn new(user: &'a User) -> Self {
        Self {
            id: user.id,
            email: user.email.as_str(),
            name: user.name.as_str(),
            role: user.role.as_str(),
            status: user.status.as_str(),
            created_at: millis(user.created_at),
        }
    }
}

/// RFC 6749 §5.1.
#[derive(Serialize)]
struct TokenBody {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    refresh_token: String,
}

impl TokenBody {
    /// A new access token with the user's current role, and the refresh token.
    fn respond(
        issuer: &Issuer,
        user: &User,
        refresh_token: &RefreshToken,
        context: &Context,
    ) -> Response {
        let role = match user.role {
            Role::Customer => shared_auth::Role::Customer,
            Role::Admin => shared_auth::Role::Admin,
        };
        let access_token = issuer.issue(user.id, role, context.now, context.fresh_id);
        let body = Self {
            access_token: access_token.token,
            token_type: "Bearer",
            expires_in: access_token.expires_in,
            refresh_token: refresh_token.reveal(),
        };
        Response::json(200, &body)
    }
}

const ADMINS_ONLY: &str = "only an administrator may manage users";

fn admin_only(caller: &Caller) -> Result<(), Problem> {
    require_admin(caller, ADMINS_ONLY)
}

/// Reads the caller's role from the table, because the role in the token may be out of date.
async fn is_active_admin(store: &UserStore, caller: &Caller) -> Result<bool, TableError> {
    let user = store.user(caller.user_id).await?;
    Ok(user.as_ref().is_some_and(User::is_active_admin))
}

fn not_an_admin() -> Problem {
    Problem::new(&ADMIN_ONLY, ADMINS_ONLY)
}

fn deactivated() -> Problem {
    Problem::new(&DEACTIVATED, "your account is deactivated")
}

fn no_such_user() -> Problem {
    Problem::not_found("there is no such user, or you may not see it")
}
