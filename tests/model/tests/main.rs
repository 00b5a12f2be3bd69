//! Every test of the model: what it says about production, and that it can say no.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod faults;
mod faulty_services;
mod production;
