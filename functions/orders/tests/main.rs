//! Every test of this service.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bounds;
mod contracts;
mod domain;
mod events;
mod handlers;
mod operate;
mod rehearsal;
mod replies;
mod saga;
mod samples;
mod store;
mod world;
