//! The command line: what can be asked for. The comments on commands and options are their `--help`.

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use crate::plant::Planting;
use crate::saga;
use crate::sim::Simulation;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; everything that was looked at is right
  1  it failed, or something that was looked at is wrong
  2  it cannot tell (audit)
  3  it was not carried out: wrong arguments, or nothing was reached";

/// The developer's and operator's command
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
    /// Stacks, functions, queue depths and the emulator's health
    Status,
    /// What the functions printed
    Logs {
        service: Option<String>,
        /// Go on printing
        #[arg(short, long)]
        follow: bool,
    },
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
    /// Format, lints, tests, templates, then the whole system on a stack of its own
    Test {
        /// Leave the system out
        #[arg(long)]
        fast: bool,
    },
    /// The services under every fault: N worlds of the production handlers, and every order of a few
    /// events
    Sim(Simulation),
    /// Bugs on purpose, one at a time, in a copy below target/: whether the simulation finds them
    Plant(Planting),
    /// `cargo mutants`: changes what decides, one place at a time; a test has to notice
    Mutants {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    #[command(flatten)]
    Operate(Operate),
}

/// What an operator does: here, or with `--aws` in an account.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Operate {
    /// Administrators
    Admin {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        action: AdminAction,
    },
    /// The keys that access tokens are signed with
    Keys {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Whether the account, its quotas and its keys fit the templates
    Preflight {
        #[command(flatten)]
        place: Place,
        /// Values of the templates' parameters
        #[arg(value_name = "NAME=VALUE", value_parser = parameter)]
        given: Vec<(String, String)>,
    },
    /// Run the deadline sweeper once, now
    Sweep {
        #[command(flatten)]
        place: Place,
    },
    /// Orders that have not ended
    Saga {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        action: SagaAction,
    },
    /// What failed for good
    Dlq {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        action: DlqAction,
    },
    /// Reconcile stock and money over all four services
    Audit {
        #[command(flatten)]
        place: Place,
    },
}

/// Where a command's AWS calls go.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Place {
    /// In the AWS account of the environment, not on the local stack
    #[arg(long, global = true)]
    pub aws: bool,
    /// What the names of the account's stack begin with
    #[arg(long, global = true, requires = "aws", default_value = "waybill")]
    pub prefix: String,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum AdminAction {
    /// Make a registered user an administrator
    Grant { email: String },
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum KeysAction {
    /// The keys, and what their rotation waits for
    List,
    /// Make a KMS key, a signing key encrypted under it and its public key set, each if there is none
    Create {
        /// A KMS key that is there
        #[arg(long, value_name = "ARN")]
        kms_key: Option<String>,
    },
    /// Do what is due of a rotation: publish the next key, sign with it, retire the old
    Rotate {
        /// Go on to the end, through the waits
        #[arg(long)]
        wait: bool,
        /// Ask, then keep no wait, which ends tokens: for a leaked key
        #[arg(long)]
        retire_now: bool,
    },
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum SagaAction {
    /// The orders that have not ended, and each one's next move
    Ls {
        /// Only the parked and the overdue
        #[arg(long)]
        stuck: bool,
        /// Those that the sweeper cannot find, by a scan of the whole table
        #[arg(long, conflicts_with = "stuck")]
        never_due: bool,
    },
    /// Ask for the step an order is at now, with all its attempts before it
    Retry { order: Uuid },
    /// Go on without a parked refund or release that is settled by hand
    Abandon {
        order: Uuid,
        step: saga::Step,
        /// Why; the order's timeline keeps it
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum DlqAction {
    /// What failed for good, by queue, type and error
    Ls {
        /// Every id, with its order
        #[arg(long)]
        all: bool,
        #[arg(long)]
        order: Option<Uuid>,
    },
    /// A message, its error, its order and its timeline
    Show {
        id: Uuid,
        /// All of the message as JSON, to a file or pipe
        #[arg(long)]
        raw: bool,
    },
    /// Send messages back to where they failed
    Redrive {
        #[arg(long)]
        queue: Option<String>,
        #[arg(long)]
        order: Option<Uuid>,
        /// Only this message, whatever it is
        #[arg(long, conflicts_with = "order")]
        id: Option<Uuid>,
        /// Also those that no function can read
        #[arg(long)]
        unparseable: bool,
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a message whole and delete it, where it must never be sent back
    Drop {
        #[arg(required_unless_present = "order", conflicts_with = "order")]
        id: Option<Uuid>,
        /// Every message of this order
        #[arg(long)]
        order: Option<Uuid>,
    },
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it names no parameter; write NAME=VALUE".to_owned()),
    }
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
        for line in ["--help", "help", "saga --help", "dlq redrive --help"] {
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
        for line in ["sim --seeds 0", "sim --trace", "plant --seeds 0"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn arguments_that_do_not_go_together_are_refused() {
        const ORDER: &str = "00000000-0000-0000-0000-000000000007";
        for line in [
            "saga ls --stuck --never-due".to_owned(),
            "audit --prefix shop".to_owned(),
            "dlq drop 0a1b2c3".to_owned(),
            "dlq drop".to_owned(),
            format!("dlq drop {ORDER} --order {ORDER}"),
            format!("dlq redrive --id {ORDER} --order {ORDER}"),
            format!("saga abandon {ORDER} refund"),
            format!("saga abandon {ORDER} charge --reason paid"),
            "preflight Most".to_owned(),
            "preflight =2".to_owned(),
            "up --port 80".to_owned(),
        ] {
            assert!(parsed(&line).is_err(), "{line}");
        }
        assert!(parsed("saga ls --stuck --aws --prefix shop").is_ok());
    }
}
