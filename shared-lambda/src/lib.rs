//! What every function starts with, and nothing that knows a service.
//!
//! A function's `main` wires its handler from a [`Setup`], then hands it to a runner: [`http`] for an
//! endpoint, [`sqs`] for a queue, [`schedule`] for a timer, [`invoke`] for a call by name. Time, ids
//! and the trace come to the handler as values in a [`Context`], so that the same handler runs in
//! Lambda, in a test and in a simulation.

#![warn(missing_docs)]

pub mod aws;
pub mod contention;
mod context;
pub mod cursor;
pub mod envelope;
mod failure;
pub mod fault;
pub mod front;
pub mod http;
pub mod invisible;
pub mod invoke;
mod json;
mod object;
pub mod problem;
mod response;
pub mod rest;
pub mod schedule;
mod send;
mod setup;
pub mod sqs;
mod stage;
pub mod table;
pub mod telemetry;

pub use context::{Context, Origin};
pub use setup::Setup;
pub use stage::Stage;

/// What stops a function from starting.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A variable the function cannot work without.
#[derive(thiserror::Error)]
#[error("the environment variable {0} is missing or empty; set it and start again")]
pub struct MissingVariable(&'static str);

/// A `main` that fails prints its error's `Debug`: that is what an operator reads.
impl std::fmt::Debug for MissingVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The value of an environment variable that the function cannot work without.
pub fn env(name: &'static str) -> Result<String, MissingVariable> {
    env_or_none(name).ok_or(MissingVariable(name))
}

/// The value of an environment variable; one that is set to nothing counts as missing.
pub fn env_or_none(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
