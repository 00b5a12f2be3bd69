//! Users, passwords, sessions and login limits. No I/O, no clock, no wire format.

#![warn(clippy::wildcard_enum_match_arm)]

mod email;
mod name;
mod password;
mod session;
pub mod throttle;
mod user;

pub use email::{Email, InvalidEmail};
pub use name::{InvalidName, UserName};
pub use password::{Password, UnsuitablePassword, normalized, normalized_legacy};
pub use session::{
    ABSOLUTE_LIFETIME, GRACE, IDLE_LIFETIME, Retired, Seed, Session, SessionId, TokenHash, Verdict,
};
pub use user::{
    KeyedRegistration, NotAllowed, OwnRights, Role, Status, UnknownRole, UnknownStatus, User,
    UserChange,
};
