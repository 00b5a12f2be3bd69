//! `PATCH /api/v1/users/me`: changes the caller's name.

use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{FieldError, Problem};
use shared_lambda::{Context, Error, Setup};

use super::{UserBody, deactivated, no_such_user, not_null};
use crate::domain::UserName;
use crate::store::{Renamed, UserStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateMeBody {
    #[serde(default, deserialize_with = "not_null")]
    name: Option<String>,
}

pub fn wire(setup: &Setup) -> Result<UserStore, Error> {
    Ok(UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?))
}

pub async fn handle(
    store: &UserStore,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let name = request.parse(request.fields(), |body: UpdateMeBody, fields| {
        let Some(name) = body.name else {
            let detail = "changes nothing; send a name";
            fields.push(FieldError::new("", detail));
            return None;
        };
        fields.take("/name", UserName::parse(&name))
    })?;
    let conditions = request.conditions();
    let before = if conditions.are_given() {
        let user = store.user(caller.user_id).await?.ok_or_else(no_such_user)?;
        conditions.permit(&UserBody::respond(200, &user))?;
        Some(user)
    } else {
        None
    };
    let renamed = store
        .rename(caller.user_id, &name, before.as_ref(), context.fresh_id)
        .await?;
    match renamed {
        Renamed::Done(user) => Ok(UserBody::respond(200, &user)),
        Renamed::Overtaken => Err(Problem::precondition_failed()),
        Renamed::Deactivated => Err(deactivated()),
        Renamed::NoSuchUser => Err(no_such_user()),
    }
}
