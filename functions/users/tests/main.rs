//! Every test of this service.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod conditional;
mod contracts;
mod described;
mod domain;
mod events;
mod handlers;
mod problems;
mod registrations;
mod released;
mod sessions;
mod store;
mod throttle;
mod timing;
mod validation;
mod world;
