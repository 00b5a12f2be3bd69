//! Every test of this service.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod commands;
mod contracts;
mod domain;
mod events;
mod handlers;
mod released;
mod store;
mod stored;
mod world;
