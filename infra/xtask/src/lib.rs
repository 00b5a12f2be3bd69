//! The developer's command, as a library for the system tests.

pub mod api;
mod build;
pub mod changed;
mod check;
pub mod ci;
pub mod cli;
mod compat;
mod demo;
pub mod deploy;
pub mod functions;
mod guard;
mod lanes;
pub mod local;
mod measure;
mod mutants;
pub mod new;
pub mod openapi;
pub mod problem_types;
mod run;
pub mod samconfig;
pub mod seed;
mod seed_bugs;
pub mod sim;
mod test;
pub mod tools;

pub use run::run;
pub use tooling::{
    account, admin, aws, emulator, error, http, keys, process, project, stack, state, ui,
};
