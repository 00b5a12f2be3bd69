//! The command line. The comments on commands and options are their `--help`.

use clap::{Args, Parser, Subcommand};
use tooling::command::EXIT_CODES;
use uuid::Uuid;

use crate::logs::Filter;
use crate::migrate::Migrate;
use crate::{dlq, restore, saga};

/// Operate Waybill: the local stack or, with `--aws`, an AWS account
#[derive(Debug, Parser)]
#[command(name = "waybill", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Command,
}

pub const DEFAULT_PREFIX: &str = "waybill";

/// Where a command's AWS calls go.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Use the AWS account of the environment instead of the local stack
    #[arg(long, global = true)]
    pub aws: bool,
    /// Use this AWS profile instead of AWS_PROFILE and the keys in the environment
    #[arg(long, global = true)]
    pub profile: Option<String>,
    /// The prefix of the installation's names
    #[arg(long, global = true, default_value = DEFAULT_PREFIX)]
    pub prefix: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print stacks, functions, queue depths and parked orders; fail if one of them has a problem
    Status {
        /// Print JSON: {stacks: [{name, status, functions}], queues: [{name, waiting, in_flight,
        /// delayed}], parked, wrong}
        #[arg(long)]
        json: bool,
    },
    /// Print the functions' logs
    Logs {
        #[command(flatten)]
        filter: Filter,
        /// Print one JSON object a line: {time_ms, function, message}
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// Inspect one order
    Order {
        #[command(subcommand)]
        action: OrderAction,
    },
    /// Manage administrators
    Admin {
        #[command(subcommand)]
        action: AdminAction,
    },
    /// Manage the keys that sign access tokens
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Check an account's quotas, names and keys before a deployment; reads the templates of a checkout
    Preflight {
        /// A value for a parameter of the templates
        #[arg(value_name = "NAME=VALUE", value_parser = parameter)]
        given: Vec<(String, String)>,
        /// Print JSON: [{weight, about, said}]
        #[arg(long)]
        json: bool,
    },
    /// Migrate the rows of a service's table to a newer schema, or print the schemas of all services
    Migrate(Migrate),
    /// Back up all tables at one moment
    Backup {
        #[command(subcommand)]
        action: BackupAction,
    },
    /// Put all tables back to one moment, under the same names; later changes are lost
    Restore(restore::Options),
    /// Run the deadline sweeper once
    Sweep,
    /// List and repair orders in flight
    Saga {
        #[command(subcommand)]
        action: saga::Action,
    },
    /// Inspect, send back and drop dead letters
    Dlq {
        #[command(subcommand)]
        action: dlq::Action,
    },
    /// Reconcile stock and money across all services. Exit code 0: everything balances; 1: something does
    /// not; 2: undecided; 3: the audit did not run
    Audit {
        /// Print JSON: {certain: [{subject, kind, what, next}], undecided: [...], last: {stock: {SKU:
        /// {stocked, available, held, confirmed, in_flight, written_off, unexplained}}, money: {CURRENCY:
        /// {charged, refunded, ...}}, orders, written_off, after_all, remarks, rows}}
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum OrderAction {
    /// Print an order and its timeline
    Show {
        order: Uuid,
        /// Print the answer of orders-admin as JSON
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
    /// List the administrators
    List {
        /// Print JSON: [{id, email, status}]
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// List the keys and the next step of a rotation
    List {
        /// Print JSON: {keys: [{kid, role, since, remark}], kms_key, verifiers, issuers, next}
        #[arg(long)]
        json: bool,
    },
    /// Create a KMS key, a signing key encrypted under it and the public key set, unless they exist
    Create {
        /// Use this existing KMS key
        #[arg(long, value_name = "ARN")]
        kms_key: Option<String>,
    },
    /// Do the next step of a rotation: publish a new key, sign with it, retire the old one
    Rotate {
        /// Continue to the end and sit out the waiting times
        #[arg(long)]
        wait: bool,
        /// Skip the waiting times, which invalidates tokens; asks first. For a leaked key
        #[arg(long)]
        retire_now: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum BackupAction {
    /// Stop the functions, back up all tables and start the functions again. Requests fail meanwhile, on
    /// AWS for about three minutes
    Create {
        /// Do not ask for a confirmation
        #[arg(long)]
        yes: bool,
    },
    /// List the backups
    #[command(name = "ls")]
    List {
        /// Print JSON: [{name, created, bytes, tables: {TABLE: {arn, status}}, complete}]
        #[arg(long)]
        json: bool,
    },
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
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
            "restore".to_owned(),
            "restore --from x --to 2026-11-27T12:00:00Z".to_owned(),
            "restore --to yesterday".to_owned(),
            "preflight =2".to_owned(),
            "migrate --dry-run".to_owned(),
            "migrate orders --check --to 2".to_owned(),
            "migrate orders --rate 0".to_owned(),
        ] {
            assert!(parsed(&line).is_err(), "{line}");
        }
        assert!(parsed("saga ls --stuck --aws --prefix shop").is_ok());
    }
}
