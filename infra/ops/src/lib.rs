//! The operator's command, as a library that the system tests and the simulation use too.

pub mod audit;
pub mod cli;
#[cfg(feature = "aws")]
mod credentials;
pub mod dlq;
mod logs;
pub mod migrate;
pub mod preflight;
pub mod restore;
pub mod rotate;
pub mod rotation;
mod run;
pub mod saga;

pub use run::run;
use tooling::{account, admin, aws, emulator, error, keys, project, state, ui};

#[cfg(test)]
#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text:.5000}");
    }
}
