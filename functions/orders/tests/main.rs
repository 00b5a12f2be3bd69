//! Every test of this service.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod advance;
mod backlog;
mod bounds;
mod contracts;
mod domain;
mod events;
mod handlers;
#[path = "../../../shared-lambda/tests/logs.rs"]
mod logs;
mod operate;
mod rehearsal;
mod replies;
mod saga;
mod samples;
mod store;
mod world;
