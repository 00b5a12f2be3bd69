//! Every test of this service.
// The futures of its tests nest deeply.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod commands;
mod conditional;
mod contracts;
mod domain;
mod events;
mod handlers;
mod released;
mod repeats;
mod store;
mod stored;
mod world;
