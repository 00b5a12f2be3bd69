//! `saga-model`: runs the tiers from a command line, and one world again step by step.

use std::process::ExitCode;
use std::time::Instant;

use saga_model::exhaustive::{self, Config};
use saga_model::services::Production;
use saga_model::soup::{self, Faults, ORDERS, Scenario};

const USAGE: &str =
    "usage: saga-model soup [--from SEED] [--seeds N] [--orders N] [--faults BITS] [--trace]
       saga-model exhaustive [small]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let holds = match arguments.split_first() {
        Some((tier, options)) if tier == "soup" => soup(options),
        Some((tier, options)) if tier == "exhaustive" => exhaustive(options),
        _ => None,
    };
    match holds {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn soup(options: &[String]) -> Option<bool> {
    let (mut from, mut seeds, mut trace) = (0, 1_000, false);
    let mut scenario = Scenario::default();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--trace" => trace = true,
            "--from" => from = number(options.next()?)?,
            "--seeds" => seeds = number(options.next()?)?,
            "--orders" => scenario.orders = usize::try_from(number(options.next()?)?).ok()?,
            "--faults" => {
                let bits = u32::try_from(number(options.next()?)?).ok()?;
                scenario.faults = Faults::from_bits(bits);
            }
            _ => return None,
        }
    }
    if !(1..=ORDERS).contains(&scenario.orders) {
        return None;
    }
    if trace {
        let (narration, report) = soup::replay(&Production, from, scenario);
        for line in narration {
            println!("{line}");
        }
        return Some(report.found.is_empty());
    }
    let begun = Instant::now();
    let report = soup::try_services(&Production, from..from.checked_add(seeds)?, scenario);
    print!("{report}");
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    Some(report.found.is_empty())
}

fn exhaustive(options: &[String]) -> Option<bool> {
    let configs: &[Config] = match options {
        [] => &Config::FULL,
        [size] if size == "small" => &Config::IN_TESTS,
        _ => return None,
    };
    let mut holds = true;
    for config in configs {
        let outcome = exhaustive::run(*config);
        println!("{outcome}");
        holds &= outcome.holds();
    }
    Some(holds)
}

/// In decimal, or in hexadecimal behind `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
