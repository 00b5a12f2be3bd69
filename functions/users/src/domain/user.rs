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
    /// Goes up by one whenever all sessions of the user are to end; those of an earlier generation
    /// are refreshed no more.
    pub generation: u64,
}

/// What an administrator may change about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserChange {
    pub status: Option<Status>,
    pub role: Option<Role>,
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

/// An administrator's try to change their own standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "administrators do not change their own role or status, so that one always remains; ask \
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

    /// The user after a change by the administrator `by`; the same where there is nothing to do.
    ///
    /// Nobody changes their own standing. Together with the store's rule that whoever changes
    /// another's is an active administrator at that very moment, this leaves at least one, however
    /// many of them turn on each other at once: the one who did it last.
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
            // Or its sessions would come back with a later reactivation.
            generation: self.generation + u64::from(deactivated),
            ..self.clone()
        })
    }

    /// Whether they manage others now, whatever was granted to them before.
    pub fn is_active_admin(&self) -> bool {
        match (self.status, self.role) {
            (Status::Active, Role::Admin) => true,
            (Status::Active, Role::Customer) | (Status::Deactivated, _) => false,
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
