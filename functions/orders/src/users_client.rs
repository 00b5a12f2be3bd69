//! The client of the users service: may this user place orders?

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::Context;
use shared_lambda::rest::{Cache, Client, Policy};
use uuid::Uuid;

/// How long a granted permission is cached. A deactivated user can place orders until it expires.
pub const PERMISSION_LIFETIME: SignedDuration = SignedDuration::from_secs(30);

/// The cache's size in one function instance.
const MAX_CACHED_USERS: usize = 10_000;

/// A short timeout, because the customer waits.
pub fn policy() -> Policy {
    Policy {
        timeout: Duration::from_millis(1500),
        ..Policy::default()
    }
}

/// The answer of the users service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    Allowed,
    Refused,
    /// There was no answer, or no valid one; the saga asks again by queue.
    Unknown,
}

/// Calls the users service over REST with the caller's own token.
pub struct Users {
    client: Client,
    allowed: Cache<Uuid, ()>,
}

/// The fields of a user that orders reads.
#[derive(Deserialize)]
struct User {
    id: Uuid,
    status: String,
}

impl Users {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            allowed: Cache::new(PERMISSION_LIFETIME, MAX_CACHED_USERS),
        }
    }

    pub async fn may_order(&self, caller: &Caller, context: &Context) -> Permission {
        if self.allowed.get(&caller.user_id, context.now).is_some() {
            return Permission::Allowed;
        }
        let path = format!("/api/v1/users/{}", caller.user_id);
        let permission = match self.client.get(&path, &caller.token, context).await {
            Ok(answer) => permission(caller.user_id, answer.status, &answer.body),
            Err(error) => {
                let cause = shared_lambda::telemetry::chain(&error);
                let trace = context.trace_id();
                tracing::warn!(
                    trace,
                    cause,
                    "the users service did not answer; the saga will ask it by queue"
                );
                Permission::Unknown
            }
        };
        if permission == Permission::Allowed {
            self.allowed.put(caller.user_id, (), context.now);
        }
        permission
    }
}

/// A problem of the users service (RFC 9457); its status repeats the answer's.
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    _kind: String,
    status: u16,
}

fn permission(user_id: Uuid, status: u16, body: &[u8]) -> Permission {
    match status {
        200 => match serde_json::from_slice::<User>(body) {
            Ok(user) if user.id == user_id && user.status == "active" => Permission::Allowed,
            Ok(user) if user.id == user_id => Permission::Refused,
            Ok(_) | Err(_) => Permission::Unknown,
        },
        // A gateway without a route to users also answers 403 or 404, but with a body of its own. A 401
        // says nothing about the user, because orders has verified this token: users lacks a key that
        // orders has, or the token expired in between.
        403 | 404 => match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if problem.status == status => Permission::Refused,
            Ok(_) | Err(_) => Permission::Unknown,
        },
        _ => Permission::Unknown,
    }
}
