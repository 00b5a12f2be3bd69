//! The deployed system over HTTP: real functions, queues, roles and tables. `cargo xtask test`
//! starts the stack these tests run against.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod bad_input;
mod browser;
mod canary;
mod catalogue;
mod chaos;
mod clients;
mod contention;
mod deployment;
mod documents;
mod fault_injection;
mod fuzzing;
mod gateway;
mod journeys;
mod listings;
mod matrix;
mod migrations;
mod operators;
mod outages;
mod pipeline;
mod poison;
mod preflight;
mod restore;
mod rotation;
mod secrets;
mod startup;
mod world;
