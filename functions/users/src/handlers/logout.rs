//! `POST /api/v1/auth/logout`: ends a session, by its current refresh token or the one before. Any
//! other token gets the same answer and ends no session (RFC 7009 §2.2). Access tokens expire by
//! themselves within 15 minutes, an administrator's within 2.

use serde::Deserialize;
use shared_lambda::contention::Tries;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup};

use crate::store::{Changed, UserStore};
use crate::tokens::RefreshToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogoutBody {
    refresh_token: String,
}

pub fn wire(setup: &Setup) -> Result<UserStore, Error> {
    Ok(UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?))
}

pub async fn handle(
    store: &UserStore,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let LogoutBody { refresh_token } = request.json()?;
    let Some(token) = RefreshToken::parse(&refresh_token) else {
        return Ok(Response::empty(204));
    };
    let mut tries = Tries::new(context.fresh_id);
    while tries.next().await {
        let session = store.session(token.session()).await?;
        let Some(session) = session.filter(|session| session.has_token(&token.hash())) else {
            return Ok(Response::empty(204));
        };
        match store.end_session(&session).await? {
            Changed::Done => return Ok(Response::empty(204)),
            Changed::Overtaken => {}
        }
    }
    Err(TableError::contended("end a session").into())
}
