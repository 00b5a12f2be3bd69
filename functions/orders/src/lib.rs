//! The orders service: accepts orders and drives each through its saga.
//!
//! Dependencies point one way: `bin` -> [`handlers`] -> [`advance`] -> {[`domain`], [`store`],
//! [`messages`], [`users_client`]} -> the shared crates. `domain` does no I/O and knows no clock.

pub mod advance;
pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
mod problems;
pub mod store;
pub mod users_client;
