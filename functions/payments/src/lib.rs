//! The payments service: charges orders and refunds them, each at most once.
//!
//! Dependencies point one way: `bin` -> [`handlers`] -> {[`domain`], [`store`], [`messages`],
//! [`provider`]} -> the shared crates. `domain` has no I/O and no clock.

pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
pub mod provider;
pub mod store;
