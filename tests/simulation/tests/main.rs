//! The simulation held to what it promises, and the proofs by cases.

mod cases;
mod worlds;
