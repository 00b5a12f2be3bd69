//! What a user is: values that cannot be wrong, and who may order. No I/O, no clock, no wire format.

mod email;
mod name;
mod password;
mod user;

pub use email::{Email, InvalidEmail};
pub use name::{InvalidName, UserName};
pub use password::{Password, UnsuitablePassword};
pub use user::{NotAllowed, Role, Status, UnknownRole, UnknownStatus, User};
