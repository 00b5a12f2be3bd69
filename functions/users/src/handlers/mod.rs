//! The service's functions, one module each, and what they share: the user as clients see them.

pub mod get;
pub mod jwks;
pub mod login;
pub mod me;
pub mod register;
pub mod verify;

use serde::Serialize;
use shared_lambda::problem::Problem;
use uuid::Uuid;

use crate::domain::User;

/// A user as clients see them.
#[derive(Serialize)]
struct UserBody<'a> {
    id: Uuid,
    email: &'a str,
    name: &'a str,
    role: &'a str,
    status: &'a str,
    created_at: String,
}

impl<'a> UserBody<'a> {
    fn new(user: &'a User) -> Self {
        Self {
            id: user.id,
            email: user.email.as_str(),
            name: user.name.as_str(),
            role: user.role.as_str(),
            status: user.status.as_str(),
            created_at: format!("{:.3}", user.created_at),
        }
    }
}

fn no_such_user() -> Problem {
    Problem::not_found("there is no such user, or it is not for you to see")
}
