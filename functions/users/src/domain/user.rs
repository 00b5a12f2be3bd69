//! A user, and whether they may order.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Email, UserName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    pub email: Email,
    pub name: UserName,
    pub role: Role,
    pub status: Status,
    pub created_at: Timestamp,
    /// Grows by one to end all sessions: a session of an earlier generation cannot be refreshed.
    pub generation: u64,
}

/// The registration with an `Idempotency-Key` that made an account, as hashes in the namespace of the user's
/// random id. It says nothing about the password, which only the credential's own hash may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRegistration {
    pub key: Uuid,
    pub name: Uuid,
}

impl KeyedRegistration {
    pub fn new(user_id: Uuid, key: &str, name: &UserName) -> Self {
        let hash = |text: &str| Uuid::new_v5(&user_id, text.as_bytes());
        Self {
            key: hash(key),
            name: hash(name.as_str()),
        }
    }
}

/// A change by an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserChange {
    pub status: Option<Status>,
    pub role: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Customer,
    Admin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    /// Cannot log in or order; their data remains.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "you cannot change your own role or status, so that one administrator always remains; ask \
     another administrator"
)]
pub struct OwnRights;

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
            generation: 0,
        }
    }

    /// The user after a change by the administrator `by`; equal to `self` where nothing changes.
    ///
    /// Administrators cannot change themselves, and the store checks that `by` is an active
    /// administrator in the same transaction. So at least one administrator always remains: the one
    /// who made the last change.
    pub fn change(&self, change: UserChange, by: Uuid) -> Result<Self, OwnRights> {
        let status = change.status.unwrap_or(self.status);
        let role = change.role.unwrap_or(self.role);
        let changes = (status, role) != (self.status, self.role);
        if changes && self.id == by {
            return Err(OwnRights);
        }
        let deactivated = (self.status, status) == (Status::Active, Status::Deactivated);
        Ok(Self {
            status,
            role,
            // Otherwise a later reactivation would revive old sessions.
            generation: self.generation + u64::from(deactivated),
            ..self.clone()
        })
    }

    pub fn is_active_admin(&self) -> bool {
        match (self.status, self.role) {
            (Status::Active, Role::Admin) => true,
            (Status::Active, Role::Customer) | (Status::Deactivated, _) => false,
        }
    }

    /// Whether the user with an id, or `None` where there is no such user, may order.
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
