//! The command line. The comments on commands and options are their `--help`.

use clap::{Parser, Subcommand};
use tooling::command::EXIT_CODES;

use crate::ci::Ci;
use crate::new::Scaffolded;
use crate::seed_bugs::SeedBugs;
use crate::sim::Simulation;

/// Develop Waybill; `cargo waybill` operates it
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Build, start, deploy and seed the local stack; only changes are built and deployed
    Up {
        /// The emulator's port; by default a free one
        #[arg(long, value_parser = clap::value_parser!(u16).range(1024..))]
        port: Option<u16>,
    },
    /// Stop the local stack and keep its state
    Down {
        /// Delete the state too
        #[arg(long)]
        wipe: bool,
    },
    /// Print stacks, functions, queue depths and parked orders; fail if one of them has a problem
    Status,
    /// Print the base URL
    Url,
    /// Print `export X=...` lines with the tables, queues and keys of the stack
    Env,
    /// Run `cargo lambda watch` with the stack's tables and queues
    Watch {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the functions for AWS, by default for arm64
    Bundle {
        #[arg(long = "x86_64")]
        x86_64: bool,
    },
    /// Run one step of a service's pipeline, or print the services that changed files concern
    Ci(Ci),
    /// Place orders with every outcome; print their timelines and the balance of stock and money
    Demo,
    /// Check format, lints, rules and the tests of one service or of the uncommitted changes
    Check {
        /// A folder below functions/
        service: Option<String>,
    },
    /// Check everything: format, lints, tests, templates and the whole system on its own stacks
    Test {
        /// Skip the system tests
        #[arg(long)]
        fast: bool,
    },
    /// Check the API: lint its documents, and send generated requests to a stack of its own
    Api,
    /// Create the files of a new endpoint or service, and list what to write by hand
    New {
        #[command(subcommand)]
        what: Scaffolded,
    },
    /// Simulate the services under faults: N random runs, and every order of events for a few
    /// orders
    Sim(Simulation),
    /// Run the last release and this code side by side: each reads the rows and messages of the other
    Compat,
    /// Seed one bug at a time in a copy below target/, and check that the simulation finds it
    SeedBugs(SeedBugs),
    /// Run the measurements of docs/measured.md and write the page
    Measure {
        /// Only these measurements
        names: Vec<String>,
    },
    /// Run `cargo mutants`: change the decision code in one place at a time; a test must fail
    Mutants {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parsed(line: &str) -> Result<Command, ErrorKind> {
        Cli::try_parse_from(format!("xtask {line}").split_whitespace())
            .map(|cli| cli.command)
            .map_err(|error| error.kind())
    }

    #[test]
    fn every_command_has_help() {
        Cli::command().debug_assert();
        for line in ["--help", "help", "up --help"] {
            assert_eq!(parsed(line), Err(ErrorKind::DisplayHelp), "{line}");
        }
        assert_eq!(parsed("--version"), Err(ErrorKind::DisplayVersion));
    }

    #[test]
    fn a_tiers_options_are_passed_on() {
        let Ok(Command::Sim(simulation)) = parsed("sim --tier engine --seeds 1 --orders 9 --trace")
        else {
            panic!("it is a simulation");
        };
        assert_eq!(simulation.options, ["--orders", "9", "--trace"]);
        for line in [
            "sim --seeds 0",
            "sim --trace",
            "seed-bugs --seeds 0",
            "up --port 80",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
