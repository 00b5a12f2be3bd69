//! `saga-model`: runs the exhaustive search from a command line.

use std::process::ExitCode;

use saga_model::exhaustive::{self, Config};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let configs: &[Config] = match arguments.as_slice() {
        [] => &Config::FULL,
        [size] if size == "small" => &Config::IN_TESTS,
        _ => {
            eprintln!("usage: saga-model [small]");
            return ExitCode::from(2);
        }
    };
    let mut holds = true;
    for config in configs {
        let outcome = exhaustive::run(*config);
        println!("{outcome}");
        holds &= outcome.holds();
    }
    ExitCode::from(u8::from(!holds))
}
