//! `GET /api/v1/users`: all users, the newest first, for administrators.
//!
//! The table confirms that the caller is an administrator, because the role in the token may be out
//! of date.

use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::{Query, Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup, cursor};

use super::{UserBody, admin_only, is_active_admin, not_an_admin};
use crate::domain::Status;
use crate::store::UserStore;

pub const QUERY: Query = Query(&["status", "limit", "cursor"]);

/// The cursor of a page.
#[derive(Serialize, Deserialize)]
struct Position {
    #[serde(deserialize_with = "cursor::sort_key")]
    before: String,
}

#[derive(Serialize)]
struct ListBody<'a> {
    items: Vec<UserBody<'a>>,
    next_cursor: Option<String>,
}

pub fn wire(setup: &Setup) -> Result<UserStore, Error> {
    Ok(UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?))
}

pub async fn handle(
    store: &UserStore,
    caller: Caller,
    _context: Context,
    request: Request,
) -> Result<Response, Problem> {
    admin_only(&caller)?;
    let mut fields = request.fields();
    let status = request.query("status").map(Status::parse).transpose();
    let status = status.map_err(|_| "is neither active nor deactivated");
    let status = fields.take_parameter("status", status);
    let page = fields.add(request.page::<Position>());
    let (Some(status), Some(page)) = (status, page) else {
        return Err(fields.into_problem());
    };
    let before = page.after.map(|position| position.before);
    if !is_active_admin(store, &caller).await? {
        return Err(not_an_admin());
    }
    let listed = store.page(status, before.as_deref(), page.limit).await?;
    let body = ListBody {
        items: listed.users.iter().map(UserBody::new).collect(),
        next_cursor: listed
            .next
            .map(|before| cursor::encode(&Position { before })),
    };
    Ok(Response::json(200, &body))
}
