//! `GET /api/v1/users/me`: the caller's own profile.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

use super::{UserBody, no_such_user};
use crate::store::UserStore;

pub fn wire(setup: &Setup) -> Result<UserStore, Error> {
    Ok(UserStore::new(setup.dynamodb(), setup.env("USERS_TABLE")?))
}

pub async fn handle(
    store: &UserStore,
    caller: Caller,
    _context: Context,
    _request: Request,
) -> Result<Response, Problem> {
    match store.user(caller.user_id).await? {
        Some(user) => Ok(Response::json(200, &UserBody::new(&user))),
        None => Err(no_such_user()),
    }
}
