//! `PATCH /api/v1/users/me`: another name for the caller.

use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;

use super::{UserBody, deactivated, no_such_user, not_null};
use crate::domain::UserName;
use crate::store::{Renamed, UserStore};

/// Neither role nor status nor address: who sends one hears that there is no such field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateMeBody {
    #[serde(default, deserialize_with = "not_null")]
    name: Option<String>,
}

pub async fn handle(
    store: &UserStore,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let body: UpdateMeBody = request.json()?;
    let name = body
        .name
        .ok_or_else(|| Problem::invalid_field("", "there is nothing to change; send a name"))?;
    let name = UserName::parse(&name)
        .map_err(|error| Problem::invalid_field("/name", error.to_string()))?;
    let renamed = store
        .rename(caller.user_id, &name, context.fresh_id)
        .await?;
    match renamed {
        Renamed::Done(user) => Ok(Response::json(200, &UserBody::new(&user))),
        Renamed::Deactivated => Err(deactivated()),
        Renamed::NoSuchUser => Err(no_such_user()),
    }
}
