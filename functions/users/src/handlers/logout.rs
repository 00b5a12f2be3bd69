//! `POST /api/v1/auth/logout`: the end of a session. Whatever is presented, it is ended afterwards,
//! so there is nothing else to answer; access tokens run out by themselves within 15 minutes.

use serde::Deserialize;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;

use crate::store::UserStore;
use crate::tokens::RefreshToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogoutBody {
    refresh_token: String,
}

pub async fn handle(
    store: &UserStore,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let LogoutBody { refresh_token } = request.json()?;
    // A retired token ends its session as well, as it would at a refresh.
    if let Some(token) = RefreshToken::parse(&refresh_token) {
        store.end_session(token.session(), context.fresh_id).await?;
    }
    Ok(Response::empty(204))
}
