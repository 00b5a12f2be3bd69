//! The backups of an installation: those of its tables with one name belong together.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::Installation;
use crate::aws::time;
use crate::error::{Context, Error, Result};

/// The backups of all tables with one name.
#[derive(Debug, Serialize)]
pub struct Backup {
    pub name: String,
    pub created: Option<Timestamp>,
    pub bytes: u64,
    /// Each table's backup and its status.
    pub tables: BTreeMap<String, Stored>,
    /// Every table has an available backup.
    pub complete: bool,
}

#[derive(Debug, Serialize)]
pub struct Stored {
    pub arn: String,
    pub status: String,
}

impl Installation<'_> {
    /// The backups of this installation, the oldest first.
    pub fn backups(&self) -> Result<Vec<Backup>> {
        let mut backups: BTreeMap<String, Backup> = BTreeMap::new();
        let token = ["ExclusiveStartBackupArn", "LastEvaluatedBackupArn"];
        for one in self.pages("ListBackups", "BackupSummaries", token, json!({}))? {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            let named = |table: &&String| {
                let set = text("BackupName").strip_prefix(table.as_str())?;
                Some(((*table).clone(), set.strip_prefix('.')?))
            };
            let Some((table, set)) = self.parts.tables.iter().find_map(|table| named(&table))
            else {
                continue;
            };
            let backup = backups.entry(set.to_owned()).or_insert_with(|| Backup {
                name: set.to_owned(),
                created: None,
                bytes: 0,
                tables: BTreeMap::new(),
                complete: false,
            });
            backup.created = backup.created.max(time(&one["BackupCreationDateTime"]));
            backup.bytes += one["BackupSizeBytes"].as_u64().unwrap_or(0);
            let stored = Stored {
                arn: text("BackupArn").to_owned(),
                status: text("BackupStatus").to_owned(),
            };
            backup.tables.insert(table, stored);
            let available = |one: &Stored| one.status == "AVAILABLE";
            backup.complete = backup.tables.len() == self.parts.tables.len()
                && backup.tables.values().all(available);
        }
        let mut backups: Vec<Backup> = backups.into_values().collect();
        backups.sort_by_key(|backup| backup.created);
        Ok(backups)
    }

    /// The ARN of each table's backup. An error if one is missing.
    pub(super) fn arns(&self, backup: &str) -> Result<BTreeMap<String, String>> {
        let known = self.backups()?;
        let arns = |found: Backup| {
            found
                .tables
                .into_iter()
                .map(|(table, one)| (table, one.arn))
        };
        let names: Vec<&str> = known
            .iter()
            .filter(|one| one.complete)
            .map(|one| &*one.name)
            .collect();
        let refusal = format!(
            "no backup {backup} of all {} tables is available; there are: {}",
            self.parts.tables.len(),
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        );
        let mut found = known
            .into_iter()
            .filter(|one| one.complete && one.name == backup);
        Ok(arns(found.next().context(refusal)?).collect())
    }

    /// The status of a table's backup.
    pub(super) fn stored(&self, table: &str, backup: &str) -> Result<Option<String>> {
        let mut known = self.backups()?.into_iter().filter(|one| one.name == backup);
        Ok(known
            .next()
            .and_then(|one| Some(one.tables.get(table)?.status.clone())))
    }

    pub(super) fn is_available(&self, table: &str, backup: &str) -> Result<Option<String>> {
        match self.stored(table, backup)?.as_deref() {
            Some("AVAILABLE") => Ok(None),
            Some("CREATING") | None => Ok(Some("its backup becomes available".to_owned())),
            Some(other) => Err(Error::new(format!(
                "the backup {backup} of {table} is {other}"
            ))),
        }
    }
}

/// The name of a table's backup, and of the table that is restored beside the present one.
pub(super) fn label(table: &str, backup: &str) -> String {
    format!("{table}.{backup}")
}

pub(super) fn backup_of(table: &str, backup: &str) -> Value {
    json!({"TableName": table, "BackupName": label(table, backup)})
}

/// The list of `waybill backup ls`.
pub fn listed(backups: &[Backup]) -> String {
    let mut text = format!("{:<40}{:<22}{:>12}  status", "backup", "created", "bytes");
    for Backup {
        name,
        created,
        bytes,
        tables,
        complete,
    } in backups
    {
        let created = created.map_or("-".to_owned(), |time| format!("{time:.0}"));
        let status = match complete {
            true => "available".to_owned(),
            false => {
                let states = tables
                    .iter()
                    .map(|(table, one)| format!("{table} {}", one.status));
                format!("incomplete: {}", states.collect::<Vec<_>>().join(", "))
            }
        };
        text.push_str(&format!("\n{name:<40}{created:<22}{bytes:>12}  {status}"));
    }
    text
}
