//! The payments service: charges orders and gives money back, each at most once.
//!
//! Dependencies point one way: `bin` -> [`handlers`] -> {[`domain`], [`store`], [`messages`],
//! [`provider`]} -> the shared crates. `domain` does no I/O and knows no clock.

pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
pub mod provider;
pub mod store;
