//! The base of every function. It knows no service.
//!
//! A function's `main` wires its handler from a [`Setup`] and hands it to a runner: [`http`] for an
//! endpoint, [`sqs`] for a queue, [`schedule`] for a timer, [`invoke`] for a call by name. A handler
//! gets time, ids and the trace as values in a [`Context`]. The same handler therefore runs in
//! Lambda, in a test and in a simulation.

#![warn(missing_docs)]

pub mod aws;
pub mod conditional;
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
pub mod migrate;
mod object;
pub mod prefer;
pub mod problem;
pub mod problems;
mod response;
pub mod rest;
mod runtime;
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

/// Any error that stops a function.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A required environment variable that is not set.
#[derive(thiserror::Error)]
#[error("the environment variable {0} is missing or empty; set it and start again")]
pub struct MissingVariable(&'static str);

/// Operators read this form: a failing `main` prints its error's `Debug`.
impl std::fmt::Debug for MissingVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The value of a required environment variable.
pub fn env(name: &'static str) -> Result<String, MissingVariable> {
    env_or_none(name).ok_or(MissingVariable(name))
}

/// The value of an environment variable; an empty one counts as missing.
pub fn env_or_none(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
