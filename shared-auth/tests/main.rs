//! Access tokens and their keys: what is accepted and, above all, what is refused.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod attacks;
mod published;
mod tokens;
mod world;
mod wycheproof;
