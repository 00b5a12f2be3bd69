//! The simulation held to what it promises, and the proofs by cases.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod attack;
mod cases;
mod complaints;
mod endings;
mod faults;
mod permissions;
mod rows;
mod worlds;
