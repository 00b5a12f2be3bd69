//! The question to the users service: may this user order?

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::Context;
use shared_lambda::rest::{Cache, Client, Policy};
use uuid::Uuid;

/// For how long a yes is believed without asking again. A user deactivated meanwhile can still
/// place orders until it has passed.
pub const PERMISSION_LIFETIME: SignedDuration = SignedDuration::from_secs(30);

/// How many users' permissions one function instance remembers.
const REMEMBERED_USERS: usize = 10_000;

/// How long users is waited for while a customer waits.
pub fn patience() -> Policy {
    Policy {
        timeout: Duration::from_millis(1500),
        ..Policy::default()
    }
}

/// What users answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    Allowed,
    /// Users was reached and said no.
    Refused,
    /// Users could not be asked, or its answer not understood; the saga asks again by queue.
    Unknown,
}

/// Asks users over REST, in the caller's own name.
pub struct Users {
    client: Client,
    allowed: Cache<Uuid, ()>,
}

/// What orders reads of a user; the rest is none of its business.
#[derive(Deserialize)]
struct User {
    id: Uuid,
    status: String,
}

impl Users {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            allowed: Cache::new(PERMISSION_LIFETIME, REMEMBERED_USERS),
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
                let trace_id = context.trace_id();
                tracing::warn!(
                    trace_id,
                    cause,
                    "users cannot be asked; the saga will ask again"
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

/// A problem as users words it (RFC 9457); its status repeats the answer's.
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
        // A gateway whose route to users is gone answers 403 or 404 as well, in words of its own. A
        // 401 says nothing of the user: orders has checked this very token, so users lacks a key
        // that orders has, or the token expired in between.
        403 | 404 => match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if problem.status == status => Permission::Refused,
            Ok(_) | Err(_) => Permission::Unknown,
        },
        _ => Permission::Unknown,
    }
}
