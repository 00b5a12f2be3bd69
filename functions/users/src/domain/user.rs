//! A user, and whether they may order.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Email, UserName};

/// Somebody registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    pub email: Email,
    pub name: UserName,
    pub role: Role,
    pub status: Status,
    pub created_at: Timestamp,
}

/// What a user may do. Registration gives the first; the second is an operator's to grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Customer,
    Admin,
}

/// Whether a user may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    /// Neither logs in nor orders; what they did remains.
    Deactivated,
}

#[derive(Debug, thiserror::Error)]
#[error("the role is neither customer nor admin")]
pub struct UnknownRole;

#[derive(Debug, thiserror::Error)]
#[error("the status is neither active nor deactivated")]
pub struct UnknownStatus;

/// Why a user may not order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error("there is no such user")]
    Unknown,
    #[error("the user is deactivated")]
    Deactivated,
}

impl User {
    /// A new customer.
    pub fn register(id: Uuid, email: Email, name: UserName, now: Timestamp) -> Self {
        Self {
            id,
            email,
            name,
            role: Role::Customer,
            status: Status::Active,
            created_at: now,
        }
    }

    /// Whether whoever was found under an id, if anybody, may order.
    pub fn may_order(found: Option<&Self>) -> Result<(), NotAllowed> {
        match found.map(|user| user.status) {
            Some(Status::Active) => Ok(()),
            Some(Status::Deactivated) => Err(NotAllowed::Deactivated),
            None => Err(NotAllowed::Unknown),
        }
    }
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Customer => "customer",
            Role::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "customer" => Ok(Role::Customer),
            "admin" => Ok(Role::Admin),
            _ => Err(UnknownRole),
        }
    }
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Deactivated => "deactivated",
        }
    }

    pub fn parse(text: &str) -> Result<Self, UnknownStatus> {
        match text {
            "active" => Ok(Status::Active),
            "deactivated" => Ok(Status::Deactivated),
            _ => Err(UnknownStatus),
        }
    }
}
