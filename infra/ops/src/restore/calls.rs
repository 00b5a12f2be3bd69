//! Calls to AWS, and waiting for their effects.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Installation;
use crate::error::{Context, Result};

/// Parts of the codes of errors that pass by themselves.
const NOT_READY: [&str; 5] = [
    "InUse",
    "AlreadyExists",
    "LimitExceeded",
    "ContinuousBackupsUnavailable",
    "PurgeQueueInProgress",
];

impl Installation<'_> {
    pub(super) fn describe(&self, table: &str) -> Result<Option<Value>> {
        match (self.call)("dynamodb", "DescribeTable", json!({"TableName": table})) {
            Ok(mut found) => Ok(Some(found["Table"].take())),
            Err(error) if error.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error).context(format!("reading {table}")),
        }
    }

    pub(super) fn pages(
        &self,
        operation: &str,
        items: &str,
        [ask, next]: [&str; 2],
        mut params: Value,
    ) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        loop {
            let mut page = self.dynamodb(operation, params.clone())?;
            all.extend(page[items].as_array().cloned().unwrap_or_default());
            params[ask] = page[next].take();
            if params[ask].is_null() {
                return Ok(all);
            }
        }
    }

    pub(super) fn dynamodb(&self, operation: &str, params: Value) -> Result<Value> {
        self.ask("dynamodb", operation, params)
    }

    pub(super) fn ask(&self, service: &str, operation: &str, params: Value) -> Result<Value> {
        let doing = format!("{operation} {params}");
        (self.call)(service, operation, params).context(doing)
    }

    /// `false` if AWS is not ready for it: an earlier change of the same thing has not ended.
    pub(super) fn attempt(&self, service: &str, operation: &str, params: Value) -> Result<bool> {
        let doing = format!("{operation} {params}");
        match (self.call)(service, operation, params) {
            Ok(_) => Ok(true),
            Err(error) if NOT_READY.iter().any(|code| error.code.contains(code)) => Ok(false),
            Err(error) => Err(error).context(doing),
        }
    }

    pub(super) fn each_table(&self, step: impl Fn(&str) -> Result<Option<String>>) -> Result<()> {
        self.each(&self.parts.tables, step)
    }

    /// Repeats a step for all until each has ended, so that AWS works on all at once. A step that has
    /// not ended says why.
    pub(super) fn each(
        &self,
        all: &[String],
        step: impl Fn(&str) -> Result<Option<String>>,
    ) -> Result<()> {
        let mut seen = BTreeMap::new();
        loop {
            let mut is_waiting = false;
            for one in all {
                let Some(state) = step(one)? else { continue };
                is_waiting = true;
                if seen.insert(one, state.clone()).as_ref() != Some(&state) {
                    (self.note)(&format!("{one} {state}"));
                }
            }
            if !is_waiting {
                return Ok(());
            }
            thread::sleep(self.pace.poll);
        }
    }

    pub(super) fn wait(&self, time: Duration, reason: &str) {
        if !time.is_zero() {
            (self.note)(&format!("waiting {} s for {reason}", time.as_secs()));
            thread::sleep(time);
        }
    }
}
