//! The command line: what can be asked for. The comments on commands and options are their `--help`.

use clap::{Args, Parser, Subcommand};
use tooling::command::EXIT_CODES;
use uuid::Uuid;

use crate::logs::Wanted;

/// The operator's command: on the local stack, or with `--aws` in an AWS account
#[derive(Debug, Parser)]
#[command(name = "waybill", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

pub const DEFAULT_PREFIX: &str = "waybill";

/// Where a command's AWS calls go.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// In the AWS account of the environment, not on the local stack
    #[arg(long, global = true)]
    pub aws: bool,
    /// The AWS profile, in place of AWS_PROFILE and of keys in the environment
    #[arg(long, global = true)]
    pub profile: Option<String>,
    /// What the names of the account's stack begin with
    #[arg(long, global = true, default_value = DEFAULT_PREFIX)]
    pub prefix: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stacks, functions, queue depths and parked orders; fails when something is wrong
    Status {
        /// As JSON: {stacks: [{name, status, functions}], queues: [{name, waiting, in_flight,
        /// delayed}], parked, wrong}
        #[arg(long)]
        json: bool,
    },
    /// What the functions printed
    Logs {
        #[command(flatten)]
        wanted: Wanted,
        /// As JSON, one line each: {time_ms, function, message}
        #[arg(long)]
        json: bool,
    },
    /// A completion script for a shell, to standard output
    Completions { shell: clap_complete::Shell },
    /// Single orders
    Order {
        #[command(subcommand)]
        action: OrderAction,
    },
    /// Administrators
    Admin {
        #[command(subcommand)]
        action: AdminAction,
    },
    /// The keys that access tokens are signed with
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Whether the account, its quotas and its keys fit the templates, which are read from a checkout
    Preflight {
        /// Values of the templates' parameters
        #[arg(value_name = "NAME=VALUE", value_parser = parameter)]
        given: Vec<(String, String)>,
        /// As JSON: [{weight, about, said}]
        #[arg(long)]
        json: bool,
    },
    /// Run the deadline sweeper once, now
    Sweep,
    /// Orders that have not ended
    Saga {
        #[command(subcommand)]
        action: SagaAction,
    },
    /// What failed for good
    Dlq {
        #[command(subcommand)]
        action: DlqAction,
    },
    /// Reconcile stock and money over all four services: ends with 0 if everything balances, 1 if something
    /// does not, 2 if that cannot be told, 3 if it could not be carried out
    Audit {
        /// As JSON: {certain: [{subject, kind, what, next}], undecided: [...], last: {stock: {SKU: {stocked,
        /// available, held, confirmed, in_flight, written_off, unexplained}}, money: {CURRENCY: {charged,
        /// refunded, ...}}, orders, written_off, after_all, remarks, rows}}
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum OrderAction {
    /// An order and its timeline
    Show {
        order: Uuid,
        /// As JSON, as orders-admin answers
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum AdminAction {
    /// Make a registered user an administrator
    Grant { email: String },
    /// Make an administrator a customer
    Revoke { email: String },
    /// The administrators
    List {
        /// As JSON: [{id, email, status}]
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// The keys, and what their rotation waits for
    List {
        /// As JSON: {keys: [{kid, role, since, remark}], kms_key, verifiers, issuers, next}
        #[arg(long)]
        json: bool,
    },
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

#[derive(Debug, Subcommand)]
pub enum SagaAction {
    /// The orders that have not ended, and each one's next move
    Ls {
        /// Only the parked and the overdue
        #[arg(long)]
        stuck: bool,
        /// Those that the sweeper cannot find, by a scan of the whole table
        #[arg(long, conflicts_with = "stuck")]
        never_due: bool,
        /// As JSON: {orders: [{order_id, status, state, waits_for, parked, due_at, ...}], unreadable}
        #[arg(long)]
        json: bool,
    },
    /// Ask for the step an order is at now, with all its attempts before it
    Retry { order: Uuid },
    /// Go on without a parked refund or release that is settled by hand
    Abandon {
        order: Uuid,
        /// As `saga ls` names it
        step: String,
        /// Why; the order's timeline keeps it
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum DlqAction {
    /// What failed for good, by queue, type and error
    Ls {
        /// Every id, with its order
        #[arg(long)]
        all: bool,
        #[arg(long)]
        order: Option<Uuid>,
        /// As JSON: {letters: [{queue, id, type, error, order_id, sent_at}], queues: [{queue, more,
        /// unreadable}]}; `more` is about how many messages SQS counts beyond those seen,
        /// `unreadable` why a queue could not be read
        #[arg(long)]
        json: bool,
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

    fn parsed(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(format!("waybill {line}").split_whitespace())
            .map_err(|error| error.kind())
    }

    #[test]
    fn every_command_has_help() {
        Cli::command().debug_assert();
        for line in ["--help", "help", "saga --help", "dlq redrive --help"] {
            assert_eq!(parsed(line).err(), Some(ErrorKind::DisplayHelp), "{line}");
        }
        assert_eq!(parsed("--version").err(), Some(ErrorKind::DisplayVersion));
    }

    #[test]
    fn arguments_that_do_not_go_together_are_refused() {
        const ORDER: &str = "00000000-0000-0000-0000-000000000007";
        for line in [
            "saga ls --stuck --never-due".to_owned(),
            "dlq drop 0a1b2c3".to_owned(),
            "dlq drop".to_owned(),
            format!("dlq drop {ORDER} --order {ORDER}"),
            format!("dlq redrive --id {ORDER} --order {ORDER}"),
            format!("saga abandon {ORDER} refund"),
            "preflight Most".to_owned(),
            "preflight =2".to_owned(),
        ] {
            assert!(parsed(&line).is_err(), "{line}");
        }
        assert!(parsed("saga ls --stuck --aws --prefix shop").is_ok());
    }
}
