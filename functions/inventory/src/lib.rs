//! The inventory service: the catalogue, its stock, and the units that orders hold.
//!
//! `domain` decides, `store` reads and writes, `handlers` answer. Each binary wires one handler.

pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
mod problems;
pub mod store;
