//! `waybill backup` and `waybill restore`: all tables at one moment, and back under the same names.
//!
//! DynamoDB restores only into a new table, so a restore deletes the present table. Before that, it
//! stops the functions and backs the present tables up.
//!
//! Each step first looks at what exists, so a killed run is finished by the next one. One SSM parameter
//! keeps what cannot be seen afterwards: the settings of the tables, functions and triggers.

mod backups;
mod calls;
mod parts;
mod stopped;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::reconcile::{Finding, Kind};
use crate::audit::{self, Audit};
use crate::aws::{Aws, AwsError};
use crate::error::{Context, Error, Result};
use crate::ui::{count, print_stderr};
pub use backups::{Backup, listed};
use backups::{backup_of, label};
use parts::Parts;
use stopped::Record;

/// The comments here are the `--help` of `waybill restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["from", "to"])))]
pub struct Options {
    /// Restore this backup; `waybill backup ls` lists the names
    #[arg(long, value_name = "BACKUP")]
    pub from: Option<String>,
    /// Restore this moment, for example 2026-11-27T12:00:00Z, from point-in-time recovery
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// Print the plan without changing anything
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for a confirmation
    #[arg(long)]
    pub yes: bool,
    /// Start the functions even if the restored tables do not balance
    #[arg(long)]
    pub despite_findings: bool,
    /// Print JSON: {backup, safety, audit}
    #[arg(long)]
    pub json: bool,
}

/// How long to wait for things that cannot be seen.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A stopped function has ended after this time. `None`: the longest timeout of the functions.
    running: Option<Duration>,
    /// A backup may lack the writes of the minute before it (API reference, CreateBackup). Purging a
    /// queue takes up to a minute (PurgeQueue).
    minute: Duration,
    poll: Duration,
}

impl Pace {
    pub const AWS: Self = Self {
        running: None,
        minute: Duration::from_secs(60),
        poll: Duration::from_secs(5),
    };
    /// The emulator copies and deletes at once.
    pub const LOCAL: Self = Self {
        running: Some(Duration::from_secs(1)),
        minute: Duration::ZERO,
        poll: Duration::from_millis(100),
    };
}

/// Calls an operation of a service.
type Call<'a> = dyn Fn(&str, &str, Value) -> std::result::Result<Value, AwsError> + 'a;

/// One installation: all stacks with its prefix.
pub struct Installation<'a> {
    prefix: &'a str,
    call: Box<Call<'a>>,
    audit: Box<dyn Fn() -> Result<Audit> + 'a>,
    note: fn(&str),
    parts: Parts,
    pace: Pace,
}

/// A restore that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Restore {
    backup: String,
    /// The backup of the tables that the restore replaces.
    safety: String,
    tables: BTreeMap<String, Settings>,
}

/// The settings that a restored table does not get from its backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Settings {
    /// The id of the table to replace. A restored table has another one.
    id: Option<String>,
    recovery: Option<Value>,
    expiry: Option<String>,
    tags: Vec<Value>,
    protected: bool,
}

/// The names of the fields are those of `--json`.
#[derive(Debug, Serialize)]
pub struct Restored {
    pub backup: String,
    pub safety: String,
    pub audit: Audit,
}

impl Restored {
    pub fn report(&self) -> String {
        let Self {
            backup,
            safety,
            audit,
        } = self;
        let report = audit.report();
        format!("{report}\n\nrestored {backup}; the replaced tables are the backup {safety}")
    }
}

impl<'a> Installation<'a> {
    pub fn of(aws: &'a Aws, prefix: &'a str, pace: Pace) -> Result<Self> {
        Ok(Self {
            prefix,
            call: Box::new(|service, operation, params| aws.call(service, operation, params)),
            audit: Box::new(|| audit::take(aws, prefix)),
            note: |text: &str| print_stderr(text),
            parts: Parts::read(aws, prefix)?,
            pace,
        })
    }

    /// Backs all tables up while the functions are stopped, and returns the backup's name.
    pub fn back_up(&self, now: Timestamp) -> Result<String> {
        let record = self.begin()?;
        if let Some(restore) = &record.restore {
            return Err(under_way(restore).not_run());
        }
        self.write(&record)?;
        let name = stamp("", now);
        let outcome = self.stop(&record).and_then(|()| {
            self.wait(self.pace.minute, "the last writes to be part of a backup");
            for table in &self.parts.tables {
                self.dynamodb("CreateBackup", backup_of(table, &name))?;
            }
            self.wait(self.pace.minute, "the backups to hold no later write");
            self.start(&record)
        });
        outcome.map_err(|error| {
            let next = "run waybill backup create again: it starts them at its end";
            Error::new(format!(
                "{error}\nThe functions are stopped. Remove the cause, then {next}"
            ))
        })?;
        self.each_table(|table| self.is_available(table, &name))?;
        Ok(name)
    }

    /// Restores all tables, or continues a restore of the same backup.
    pub fn restore(&self, options: &Options, now: Timestamp) -> Result<Restored> {
        let backup = self.source(options).map_err(Error::not_run)?;
        if let (Some(moment), None) = (options.to, self.record()?.and_then(|one| one.restore)) {
            self.recover(&backup, moment)?;
        }
        self.arns(&backup).map_err(Error::not_run)?;
        let mut record = self.begin()?;
        let restore = match record.restore.take() {
            Some(restore) => restore,
            None => self.prepare(backup, now)?,
        };
        record.restore = Some(restore.clone());
        self.write(&record)?;
        let audit = self.carry_out(&record, &restore).map_err(|error| {
            let next = "Remove the cause, then run the same command again: it continues";
            Error::new(format!("{error}\nThe functions are stopped. {next}"))
        })?;
        let wrong: Vec<&Finding> = audit.certain.iter().filter(is_wrong).collect();
        if !wrong.is_empty() && !options.despite_findings {
            let safety = &restore.safety;
            return Err(Error::new(format!(
                "{}\nThe tables are restored, but {} in them. The functions are stopped. Repair the rows \
                 and run the same command again, or add --despite-findings to start the functions as it \
                 is. The replaced tables are the backup {safety}",
                audit.report(),
                count(wrong.len(), "finding")
            )));
        }
        self.start(&record)?;
        Ok(Restored {
            backup: restore.backup,
            safety: restore.safety,
            audit,
        })
    }

    /// The steps of a restore, for `--dry-run` and the confirmation.
    pub fn plan(&self, options: &Options) -> Result<String> {
        let backup = self.source(options)?;
        let under_way = self.record()?.and_then(|record| record.restore);
        let mut steps = Vec::new();
        if let Some(restore) = &under_way {
            steps.push(format!("continue the restore of {}", restore.backup));
        } else if let Some(moment) = options.to {
            steps.push(format!(
                "restore each table as of {moment:.0} beside the present one, back it up as {backup} and \
                 delete it"
            ));
        } else {
            self.arns(&backup)?;
        }
        let Parts {
            tables,
            functions,
            triggers,
            queues,
            ..
        } = &self.parts;
        steps.push(format!(
            "stop {} and {}: requests fail until the end",
            count(triggers.len(), "trigger"),
            count(functions.len(), "other function")
        ));
        steps.push(format!(
            "purge {}: messages about later changes would make the tables wrong",
            count(queues.len(), "queue")
        ));
        steps.push("back up the present tables".to_owned());
        steps.push(format!("replace {} by {backup}", tables.join(", ")));
        steps.push(
            "set recovery, expiry, tags and deletion protection as the present tables have them"
                .to_owned(),
        );
        steps.push("audit, and start the functions if stock and money balance".to_owned());
        let mut text = format!("restore {} to {backup}", self.prefix);
        for (number, step) in steps.iter().enumerate() {
            text.push_str(&format!("\n  {}. {step}", number + 1));
        }
        text.push_str("\nEvery change after that moment is lost, also orders and payments.");
        Ok(text)
    }

    /// The name of the backup to restore, unless another restore is under way.
    fn source(&self, options: &Options) -> Result<String> {
        let backup = match (&options.from, options.to) {
            (Some(name), _) => name.clone(),
            (None, Some(moment)) => stamp("at-", moment),
            (None, None) => {
                return Err(Error::new("name a backup with --from, or a time with --to"));
            }
        };
        match self.record()?.and_then(|record| record.restore) {
            Some(restore) if restore.backup != backup => Err(under_way(&restore)),
            _ => Ok(backup),
        }
    }

    /// Notes the settings of the present tables. Nothing is changed yet.
    fn prepare(&self, backup: String, now: Timestamp) -> Result<Restore> {
        let arns = self.arns(&backup)?;
        let settings = |table: &String| Ok((table.clone(), self.settings(table, &arns[table])?));
        let tables = self.parts.tables.iter().map(settings);
        Ok(Restore {
            tables: tables.collect::<Result<_>>()?,
            backup,
            safety: stamp("before-restore-", now),
        })
    }

    fn carry_out(&self, record: &Record, restore: &Restore) -> Result<Audit> {
        self.stop(record)?;
        for queue in &self.parts.queues {
            // One purge a minute.
            while !self.attempt("sqs", "PurgeQueue", json!({"QueueUrl": queue}))? {
                thread::sleep(self.pace.poll);
            }
        }
        self.wait(self.pace.minute, "the queues to be empty");
        self.each_table(|table| match self.is_old(table, restore)? {
            true if self.stored(table, &restore.safety)?.is_none() => {
                self.attempt(
                    "dynamodb",
                    "CreateBackup",
                    backup_of(table, &restore.safety),
                )?;
                Ok(Some("is backed up".to_owned()))
            }
            true => self.is_available(table, &restore.safety),
            false => Ok(None),
        })?;
        (self.note)(&format!(
            "the present tables are in the backup {}",
            restore.safety
        ));
        let arns = self.arns(&restore.backup)?;
        self.each_table(|table| self.replace(table, restore, &arns[table]))?;
        self.each_table(|table| self.set(table, &restore.tables[table]))?;
        (self.note)("the tables are restored; the audit begins");
        (self.audit)().context("the audit did not run")
    }

    /// One step from the old table to the restored one.
    fn replace(&self, table: &str, restore: &Restore, arn: &str) -> Result<Option<String>> {
        let Some(found) = self.describe(table)? else {
            let params = json!({"TargetTableName": table, "BackupArn": arn});
            self.attempt("dynamodb", "RestoreTableFromBackup", params)?;
            return Ok(Some("is restored".to_owned()));
        };
        let status = found["TableStatus"].as_str().unwrap_or_default();
        let is_old = restore.tables[table].id.as_deref() == found["TableId"].as_str();
        match (is_old, status) {
            (false, "ACTIVE") => Ok(None),
            (true, "ACTIVE") if found["DeletionProtectionEnabled"] == true => {
                self.protect(table, false)?;
                Ok(Some("loses its deletion protection".to_owned()))
            }
            (true, "ACTIVE") => {
                self.attempt("dynamodb", "DeleteTable", json!({"TableName": table}))?;
                Ok(Some("is deleted".to_owned()))
            }
            _ => Ok(Some(status.to_owned())),
        }
    }

    /// Gives a restored table the settings of the old one.
    fn set(&self, table: &str, settings: &Settings) -> Result<Option<String>> {
        let found = self.describe(table)?.context(format!("{table} is gone"))?;
        if found["TableStatus"] != "ACTIVE" {
            return Ok(Some("is updated".to_owned()));
        }
        if let Some(recovery) = &settings.recovery {
            let params = json!({"TableName": table, "PointInTimeRecoverySpecification": recovery});
            // Unavailable for a moment after a restore.
            if !self.attempt("dynamodb", "UpdateContinuousBackups", params)? {
                return Ok(Some("has no point-in-time recovery yet".to_owned()));
            }
        }
        if let Some(attribute) = &settings.expiry
            && self.expiry(table)?.is_none()
        {
            let specification = json!({"Enabled": true, "AttributeName": attribute});
            let params = json!({"TableName": table, "TimeToLiveSpecification": specification});
            self.dynamodb("UpdateTimeToLive", params)?;
        }
        if !settings.tags.is_empty() {
            let params = json!({"ResourceArn": found["TableArn"], "Tags": settings.tags});
            self.dynamodb("TagResource", params)?;
        }
        if settings.protected && found["DeletionProtectionEnabled"] != true {
            self.protect(table, true)?;
        }
        Ok(None)
    }

    fn settings(&self, table: &str, arn: &str) -> Result<Settings> {
        let Some(found) = self.describe(table)? else {
            (self.note)(&format!(
                "{table} does not exist: after the restore, set its tags and its deletion protection"
            ));
            let backup = self.dynamodb("DescribeBackup", json!({"BackupArn": arn}))?;
            let features = &backup["BackupDescription"]["SourceTableFeatureDetails"];
            let expiry = features["TimeToLiveDescription"]["AttributeName"].as_str();
            return Ok(Settings {
                id: None,
                recovery: Some(json!({"PointInTimeRecoveryEnabled": true})),
                expiry: expiry.map(str::to_owned),
                tags: Vec::new(),
                protected: false,
            });
        };
        let recovery = self.dynamodb("DescribeContinuousBackups", json!({"TableName": table}))?;
        let recovery = &recovery["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
        let days = recovery["RecoveryPeriodInDays"].as_u64();
        let recovery = (recovery["PointInTimeRecoveryStatus"] == "ENABLED").then(|| match days {
            Some(days) => json!({"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": days}),
            None => json!({"PointInTimeRecoveryEnabled": true}),
        });
        let params = json!({"ResourceArn": found["TableArn"]});
        let mut tags = self.pages("ListTagsOfResource", "Tags", ["NextToken"; 2], params)?;
        // Only AWS sets these.
        tags.retain(|tag| {
            tag["Key"]
                .as_str()
                .is_some_and(|key| !key.starts_with("aws:"))
        });
        Ok(Settings {
            id: found["TableId"].as_str().map(str::to_owned),
            recovery,
            expiry: self.expiry(table)?,
            tags,
            protected: found["DeletionProtectionEnabled"] == true,
        })
    }

    /// Makes a backup of all tables as they were, through tables beside the present ones.
    fn recover(&self, backup: &str, moment: Timestamp) -> Result<()> {
        self.each_table(|table| {
            let beside = label(table, backup);
            let found = self.describe(&beside)?;
            let is_active = found
                .as_ref()
                .is_some_and(|found| found["TableStatus"] == "ACTIVE");
            let stored = self.stored(table, backup)?;
            match (stored.as_deref(), found.is_some()) {
                (Some("AVAILABLE"), false) => return Ok(None),
                (Some("AVAILABLE"), true) if is_active => {
                    self.attempt("dynamodb", "DeleteTable", json!({"TableName": beside}))?;
                }
                (None, false) => {
                    let params = json!({"SourceTableName": table, "TargetTableName": beside,
                                        "RestoreDateTime": moment.as_second()});
                    self.attempt("dynamodb", "RestoreTableToPointInTime", params)?;
                }
                (None, true) if is_active => {
                    let params = json!({"TableName": beside, "BackupName": beside});
                    self.attempt("dynamodb", "CreateBackup", params)?;
                }
                _ => {}
            }
            let step = match stored {
                Some(_) => "its backup becomes available",
                None => "is restored beside the present table",
            };
            Ok(Some(step.to_owned()))
        })
    }

    fn expiry(&self, table: &str) -> Result<Option<String>> {
        let found = self.dynamodb("DescribeTimeToLive", json!({"TableName": table}))?;
        let found = &found["TimeToLiveDescription"];
        let is_on = ["ENABLED", "ENABLING"]
            .iter()
            .any(|on| found["TimeToLiveStatus"] == *on);
        let attribute = found["AttributeName"].as_str().filter(|_| is_on);
        Ok(attribute.map(str::to_owned))
    }

    fn is_old(&self, table: &str, restore: &Restore) -> Result<bool> {
        let found = self.describe(table)?;
        let id = |found: &Value| found["TableId"].as_str().map(str::to_owned);
        Ok(found.is_some_and(|found| id(&found) == restore.tables[table].id))
    }

    fn protect(&self, table: &str, protected: bool) -> Result<()> {
        let params = json!({"TableName": table, "DeletionProtectionEnabled": protected});
        self.dynamodb("UpdateTable", params).map(drop)
    }
}

/// An order that waits or is parked was so in the backup, too.
fn is_wrong(finding: &&Finding) -> bool {
    !matches!(finding.kind, Kind::Overdue | Kind::Parked)
}

fn under_way(restore: &Restore) -> Error {
    let backup = &restore.backup;
    Error::new(format!(
        "a restore of {backup} is under way; finish it with waybill restore --from {backup}"
    ))
}

fn stamp(kind: &str, time: Timestamp) -> String {
    format!("{kind}{}", time.strftime("%Y%m%dT%H%M%SZ"))
}
