//! The users service: who may call, how they prove it, and whether they may order.
//!
//! `domain` says what a user is, `store` keeps them, `passwords` keeps their passwords unreadable,
//! `tokens` keeps their sessions theirs, `handlers` answer; each binary wires one handler and runs it.

pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
pub mod passwords;
pub mod store;
pub mod tokens;
