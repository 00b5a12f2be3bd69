//! What every program here does around its own work.

use std::process::ExitCode;

use clap::Parser;

use crate::error::{NOT_CARRIED_OUT, Result};
use crate::ui::fail;

/// For the end of a program's `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; everything that was looked at is right
  1  it failed, or something that was looked at is wrong
  2  it cannot tell (audit)
  3  it was not carried out: wrong arguments, or nothing was reached";

/// Parses, runs, and says what went wrong in a sentence.
pub fn main<C: Parser>(name: &str, run: impl FnOnce(C) -> Result<()>) -> ExitCode {
    let asked = match C::try_parse() {
        Ok(asked) => asked,
        Err(error) => {
            let _ = error.print();
            let is_help = error.exit_code() == 0;
            return ExitCode::from(if is_help { 0 } else { NOT_CARRIED_OUT });
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
