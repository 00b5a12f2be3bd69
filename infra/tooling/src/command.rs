//! The main function of both programs.

use std::process::ExitCode;

use clap::Parser;

use crate::error::{NOT_RUN, Result};
use crate::ui::fail;

/// The end of a program's `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; no problem was found
  1  it failed, or a problem was found
  2  undecided (audit)
  3  it did not run: wrong arguments or no connection";

/// Parses the arguments, runs the command and prints its error.
pub fn main<C: Parser>(name: &str, run: impl FnOnce(C) -> Result<()>) -> ExitCode {
    let asked = match C::try_parse() {
        Ok(asked) => asked,
        Err(error) => {
            let _ = error.print();
            let is_help = error.exit_code() == 0;
            return ExitCode::from(if is_help { 0 } else { NOT_RUN });
        }
    };
    match run(asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(name, &error);
            ExitCode::from(error.exit_code())
        }
    }
}
