//! The services' handlers, wired as their binaries wire them.

pub mod inventory;
pub mod orders;
pub mod payments;
pub mod users;
