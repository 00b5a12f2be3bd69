//! `cargo xtask`: parse, run, and say what went wrong in a sentence.

use std::process::ExitCode;

use clap::Parser;
use xtask::cli::Cli;

/// What was asked for cannot be understood, so nothing is done.
const NOT_CARRIED_OUT: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.exit_code() != 0 {
                NOT_CARRIED_OUT
            } else {
                0
            });
        }
    };
    match xtask::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xtask::ui::complain(format_args!("xtask: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
