//! `GET /api/v1/users/me`: the caller's own profile.

use shared_auth::Caller;
use shared_lambda::http::Response;
use shared_lambda::problem::Problem;

use super::{UserBody, no_such_user};
use crate::store::UserStore;

pub async fn handle(store: &UserStore, caller: Caller) -> Result<Response, Problem> {
    match store.user(caller.user_id).await? {
        Some(user) => Ok(Response::json(200, &UserBody::new(&user))),
        None => Err(no_such_user()),
    }
}
