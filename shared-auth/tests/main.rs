//! Access tokens and their keys: valid ones, and above all invalid ones.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod attacks;
mod published;
mod tokens;
mod world;
mod wycheproof;
