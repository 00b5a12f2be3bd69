//! The tests of this service, in one binary.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod admin;
mod advance;
mod backlog;
mod bounds;
mod contracts;
mod domain;
mod events;
mod fault_injection;
mod handlers;
#[path = "../../../shared-lambda/tests/logs.rs"]
mod logs;
mod migrations;
mod pictures;
mod released;
mod replies;
mod saga;
mod samples;
mod store;
mod waiting;
mod world;
