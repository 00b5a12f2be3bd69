//! The parts that the developer's and the operator's commands share.

pub mod account;
pub mod admin;
pub mod aws;
pub mod command;
pub mod emulator;
pub mod error;
pub mod http;
pub mod keys;
pub mod process;
pub mod project;
pub mod stack;
pub mod state;
pub mod status;
pub mod ui;
