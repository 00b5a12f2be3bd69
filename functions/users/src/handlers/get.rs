//! `GET /api/v1/users/{id}`: a profile, for its owner and for administrators; 404 for other callers.
//! Orders calls this with the customer's token to check whether they may order.
//!
//! The table confirms that the caller is an administrator, because the role in the token may be out
//! of date.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup, conditional};

use super::{UserBody, is_active_admin, no_such_user};
use crate::store::UserStore;

pub fn wire(setup: &Setup) -> Result<UserStore, Error> {
    Ok(UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?))
}

pub async fn handle(
    store: &UserStore,
    caller: Caller,
    _context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let id = request.uuid("id")?;
    if id != caller.user_id && !(caller.is_admin() && is_active_admin(store, &caller).await?) {
        return Err(no_such_user());
    }
    match store.user(id).await? {
        Some(user) => conditional::answer(request.conditions(), UserBody::respond(200, &user)),
        None => Err(no_such_user()),
    }
}
