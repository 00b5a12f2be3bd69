//! The developer's and operator's command, as a library that the system tests use too.

pub mod account;
pub mod admin;
pub mod audit;
pub mod aws;
mod build;
pub mod cli;
mod demo;
pub mod deploy;
pub mod dlq;
pub mod emulator;
pub mod error;
pub mod functions;
pub mod http;
pub mod keys;
pub mod local;
mod logs;
mod mutants;
mod plant;
pub mod preflight;
pub mod process;
pub mod project;
pub mod rotate;
pub mod rotation;
mod run;
pub mod saga;
pub mod seed;
pub mod sim;
pub mod stack;
pub mod state;
mod status;
mod test;
mod tools;
pub mod ui;

pub use run::run;
