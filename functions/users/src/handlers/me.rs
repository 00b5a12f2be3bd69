//! `GET /api/v1/users/me`: the caller's own profile.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup, conditional};

use super::{UserBody, no_such_user};
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
    match store.user(caller.user_id).await? {
        Some(user) => conditional::answer(request.conditions(), UserBody::respond(200, &user)),
        None => Err(no_such_user()),
    }
}
