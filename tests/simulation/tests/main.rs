//! Tests of the simulation itself, and the tests by cases.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod attack;
mod cases;
mod faults;
mod handler_failures;
mod logs;
mod outcomes;
mod permissions;
#[path = "../../../shared-lambda/tests/logs.rs"]
mod recorded;
mod rows;
mod worlds;
