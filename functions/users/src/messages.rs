//! The messages of the users queue and the replies to orders, as on the wire (see `contracts/`).
//! Unknown fields are ignored, because a sender may be newer.

use serde::{Deserialize, Serialize};
use shared_lambda::envelope::Payload;
use uuid::Uuid;

use crate::domain::NotAllowed;

/// Command: check whether this user may order.
#[derive(Debug, Serialize, Deserialize)]
pub struct VerifyUser {
    pub user_id: Uuid,
}

impl Payload for VerifyUser {
    const TYPE: &'static str = "VerifyUser";
}

/// Reply: the user may order.
#[derive(Debug, Serialize)]
pub struct UserVerified {
    pub user_id: Uuid,
}

impl Payload for UserVerified {
    const TYPE: &'static str = "UserVerified";
}

/// Reply: the user may not order, with the reason.
#[derive(Debug, Serialize)]
pub struct UserRefused {
    user_id: Uuid,
    code: &'static str,
    detail: String,
}

impl Payload for UserRefused {
    const TYPE: &'static str = "UserRefused";
}

impl UserRefused {
    pub fn new(user_id: Uuid, reason: NotAllowed) -> Self {
        Self {
            user_id,
            code: "user_not_allowed",
            detail: reason.to_string(),
        }
    }
}
