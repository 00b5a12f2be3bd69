//! The command line of the simulation, as `cargo xtask sim` starts it.

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use simulation::fault_profile::FaultKind;
use simulation::report::{replay_command, run_all, shrink};
use simulation::run::{Plan, run};

const USAGE: &str = "\
Runs the production handlers of all services with injected faults, one world for each seed.

Usage: cargo xtask sim --tier engine [options]

  --from SEED      the first seed (0)
  --seeds N        how many seeds (1000)
  --orders N       orders in each world (10)
  --without A,B    kinds of fault to leave out
  --trace          print every step
  --unshrunk       do not shrink the first failure
  --threads N      worlds to run at once (all cores)

Exits with 1 after a violation, and prints the command that replays it.";

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => simulate(&arguments),
        Ok(None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            eprintln!("{mistake}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

struct Arguments {
    plan: Plan,
    seeds: u64,
    threads: usize,
    shrunk: bool,
}

impl Arguments {
    /// `None` if only the help was requested.
    fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut arguments = Self {
            plan: Plan::new(0),
            seeds: 1000,
            threads: thread::available_parallelism().map_or(1, usize::from),
            shrunk: true,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--from" => arguments.plan.seed = number(&value()?)?,
                "--seeds" => arguments.seeds = number(&value()?)?,
                "--orders" => arguments.plan.orders = number(&value()?)? as usize,
                "--threads" => arguments.threads = number(&value()?)?.max(1) as usize,
                "--without" => arguments.plan.without = faults(&value()?)?,
                "--trace" => arguments.plan.traced = true,
                "--unshrunk" => arguments.shrunk = false,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        if arguments.plan.seed.checked_add(arguments.seeds).is_none() {
            return Err("--from plus --seeds must be below 2^64".to_owned());
        }
        Ok(Some(arguments))
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text} is not a whole number"))
}

fn faults(list: &str) -> Result<Vec<FaultKind>, String> {
    let known = || {
        let names: Vec<&str> = FaultKind::ALL.iter().map(|fault| fault.name()).collect();
        names.join(", ")
    };
    list.split(',')
        .map(|name| {
            FaultKind::parse(name)
                .ok_or(format!("unknown kind of fault {name}; known: {}", known()))
        })
        .collect()
}

fn simulate(arguments: &Arguments) -> ExitCode {
    if arguments.plan.traced {
        return trace(arguments);
    }
    let begun = Instant::now();
    let Arguments {
        plan,
        seeds,
        threads,
        shrunk,
    } = arguments;
    let report = run_all(plan.seed..plan.seed + seeds, plan, *threads);
    println!("{report}");
    println!("{:>12.1}  seconds", begun.elapsed().as_secs_f64());
    let Some((seed, violations)) = report.failures.first_key_value() else {
        return ExitCode::SUCCESS;
    };
    println!("\nViolations with seed {seed}:");
    for violation in violations {
        println!("  {violation}");
    }
    let found = plan.of_seed(*seed);
    let smallest = if *shrunk {
        println!("Shrinking ...");
        shrink(&found)
    } else {
        found
    };
    println!("Replay it with\n  {}", replay_command(&smallest));
    ExitCode::FAILURE
}

fn trace(arguments: &Arguments) -> ExitCode {
    let mut wrong = false;
    for seed in arguments.plan.seed..arguments.plan.seed + arguments.seeds {
        let outcome = run(&arguments.plan.of_seed(seed));
        print!("{}", outcome.trace);
        println!(
            "seed {seed}: {:?}, hash {:x}",
            outcome.endings, outcome.hash
        );
        for violation in &outcome.violations {
            println!("  {violation}");
        }
        wrong |= !outcome.violations.is_empty();
    }
    ExitCode::from(u8::from(wrong))
}
