//! The users service: registration, login, sessions, profiles, and whether a user may order.
//!
//! `domain` has the rules, `store` the table, `passwords` the hashes, `tokens` the refresh tokens,
//! and `handlers` the functions. Each binary wires one handler and runs it.

pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
pub mod passwords;
mod problems;
pub mod store;
pub mod tokens;
