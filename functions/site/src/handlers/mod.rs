//! One module a function.

pub mod default;
