//! `waybill`: the operator's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tooling::command::main("waybill", ops::run)
}
