//! `cargo xtask`: parse, run, and say what went wrong in a sentence.

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = xtask::cli::parse(std::env::args().skip(1))
        .map_err(|sentence| xtask::error::Error::new(sentence).not_carried_out())
        .and_then(xtask::run);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xtask::ui::complain(format_args!("xtask: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
