//! The model's tests: production passes, and seeded bugs fail.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod faults;
mod faulty_services;
mod production;
