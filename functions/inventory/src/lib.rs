//! The inventory service: the catalogue, its stock, and the units orders hold.
//!
//! `domain` decides, `store` keeps, `handlers` answer; each binary wires one handler and runs it.

pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
pub mod store;
