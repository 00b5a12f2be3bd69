//! `PATCH /api/v1/users/{id}`: changes a user's status or role, for administrators.
//!
//! The transaction confirms that the caller is an administrator, because the role in the token may
//! be out of date.

use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{FieldError, Fields, Problem};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup};

use super::{UserBody, admin_only, no_such_user, not_an_admin, not_null};
use crate::domain::{Role, Status, UserChange};
use crate::problems::OWN_RIGHTS;
use crate::store::{Administered, UserStore};
use shared_lambda::contention::Tries;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    #[serde(default, deserialize_with = "not_null")]
    status: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    role: Option<String>,
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
    admin_only(&caller)?;
    let mut fields = request.fields();
    let id = fields.add(request.uuid("id"));
    let (change, id) = request.parse(fields, |body: UpdateBody, fields| {
        Some((body.parse(fields)?, id?))
    })?;
    let conditions = request.conditions();
    let mut tries = Tries::new(context.fresh_id);
    while tries.next().await {
        let before = store.user(id).await?.ok_or_else(no_such_user)?;
        conditions.permit(&UserBody::respond(200, &before))?;
        let after = before
            .change(change, caller.user_id)
            .map_err(|error| Problem::new(&OWN_RIGHTS, error.to_string()))?;
        if after == before {
            return Ok(UserBody::respond(200, &before));
        }
        let administered = store
            .administer(&before, &after, caller.user_id, context.fresh_id)
            .await?;
        match administered {
            Administered::Done => return Ok(UserBody::respond(200, &after)),
            Administered::NotAnAdministrator => return Err(not_an_admin()),
            Administered::Overtaken => {}
        }
    }
    Err(TableError::contended("change a user's status or role").into())
}

impl UpdateBody {
    fn parse(self, fields: &mut Fields) -> Option<UserChange> {
        let status = self.status.as_deref().and_then(|text| {
            let status = Status::parse(text).map_err(|_| "is neither active nor deactivated");
            fields.take("/status", status)
        });
        let role = self.role.as_deref().and_then(|text| {
            let role = Role::parse(text).map_err(|_| "is neither customer nor admin");
            fields.take("/role", role)
        });
        if self.status.is_none() && self.role.is_none() {
            let detail = "changes nothing; send a status or a role";
            fields.push(FieldError::new("", detail));
        }
        Some(UserChange { status, role })
    }
}
