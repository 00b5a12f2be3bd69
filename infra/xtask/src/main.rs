//! `cargo xtask`: the developer's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tooling::command::main("xtask", |cli: xtask::cli::Cli| xtask::run(cli.command))
}
