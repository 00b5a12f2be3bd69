//! The command line: what can be asked for. The comments on commands and options are their `--help`.

use clap::{Parser, Subcommand};
use tooling::command::EXIT_CODES;

use crate::new::Scaffolded;
use crate::seed_bugs::SeedBugs;
use crate::sim::Simulation;

/// The developer's command; the operator's is `cargo waybill`
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Build, start, deploy and seed everything that changed; print what to try
    Up {
        /// The emulator's port; a free one where it is not given
        #[arg(long, value_parser = clap::value_parser!(u16).range(1024..))]
        port: Option<u16>,
    },
    /// Stop the local stack and keep its state
    Down {
        /// Forget the state too
        #[arg(long)]
        wipe: bool,
    },
    /// Stacks, functions, queue depths and parked orders; fails when something is wrong
    Status,
    /// Print the base URL and nothing else
    Url,
    /// Print `export X=...` lines: the tables, queues and keys of the stack
    Env,
    /// `cargo lambda watch` against the same tables and queues
    Watch {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the functions for AWS, small and for arm64, where the templates look for them
    Bundle {
        #[arg(long = "x86_64")]
        x86_64: bool,
    },
    /// Orders that end every way, their timelines, and the balance of stock and money
    Demo,
    /// Format, lints, rules, and the tests of one service or of what differs from the last commit
    Check {
        /// A folder below functions/
        service: Option<String>,
    },
    /// Every check: format, lints, tests, templates, and the whole system on stacks of its own
    Test {
        /// Leave the system out
        #[arg(long)]
        fast: bool,
    },
    /// Write everything mechanical of an endpoint or a service, and list what to fill in
    New {
        #[command(subcommand)]
        what: Scaffolded,
    },
    /// The services under every fault: N worlds of the production handlers, and every order of a few
    /// events
    Sim(Simulation),
    /// Bugs on purpose, one at a time, in a copy below target/: whether the simulation finds them
    SeedBugs(SeedBugs),
    /// Measure what docs/measured.md shows, and write it there
    Measure {
        /// Only these
        names: Vec<String>,
    },
    /// `cargo mutants`: changes what decides, one place at a time; a test has to notice
    Mutants {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The operator's commands, which have a program of their own
    #[command(
        hide = true, name = "saga", disable_help_flag = true,
        aliases = ["dlq", "audit", "keys", "admin", "sweep", "preflight", "logs"],
    )]
    Moved {
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
    fn a_tiers_own_options_are_passed_on_to_it() {
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
