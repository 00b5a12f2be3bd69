//! Stops the functions and starts them again as they were.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tooling::status::stopped_parameter;

use super::{Installation, Restore};
use crate::error::{Context, Result};

/// Kept in an SSM parameter while the functions are stopped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The functions with a reserved concurrency. The others have none.
    pub reserved: BTreeMap<String, u64>,
    /// The triggers that were enabled.
    pub triggers: Vec<String>,
    pub restore: Option<Restore>,
}

impl Installation<'_> {
    /// The state of the installation before the first change, also if that was an earlier run's.
    pub(super) fn begin(&self) -> Result<Record> {
        if let Some(record) = self.record()? {
            return Ok(record);
        }
        let mut record = Record::default();
        for function in &self.parts.functions {
            let params = json!({"FunctionName": function});
            let found = self.ask("lambda", "GetFunctionConcurrency", params)?;
            if let Some(reserved) = found["ReservedConcurrentExecutions"].as_u64() {
                record.reserved.insert(function.clone(), reserved);
            }
        }
        for trigger in &self.parts.triggers {
            if ["Enabled", "Enabling"].contains(&&*self.trigger(trigger)?) {
                record.triggers.push(trigger.clone());
            }
        }
        Ok(record)
    }

    /// Stops the triggers first: Lambda counts a delivery to a stopped function as a failed one.
    pub(super) fn stop(&self, record: &Record) -> Result<()> {
        self.set_triggers(record, false)?;
        for function in &self.parts.functions {
            let params = json!({"FunctionName": function, "ReservedConcurrentExecutions": 0});
            self.ask("lambda", "PutFunctionConcurrency", params)?;
        }
        let longest = self.pace.running.unwrap_or(self.parts.longest);
        self.wait(longest, "running functions to end");
        Ok(())
    }

    pub(super) fn start(&self, record: &Record) -> Result<()> {
        for function in &self.parts.functions {
            let mut params = json!({"FunctionName": function});
            let operation = match record.reserved.get(function) {
                None => "DeleteFunctionConcurrency",
                Some(reserved) => {
                    params["ReservedConcurrentExecutions"] = json!(reserved);
                    "PutFunctionConcurrency"
                }
            };
            self.ask("lambda", operation, params)?;
        }
        self.set_triggers(record, true)?;
        let params = json!({"Name": self.parameter()});
        self.ask("ssm", "DeleteParameter", params)?;
        (self.note)("the functions are started");
        Ok(())
    }

    pub(super) fn set_triggers(&self, record: &Record, enabled: bool) -> Result<()> {
        let wanted = if enabled { "Enabled" } else { "Disabled" };
        self.each(&record.triggers, |trigger| {
            let state = self.trigger(trigger)?;
            if state == wanted {
                return Ok(None);
            }
            if !state.ends_with("ing") {
                let params = json!({"UUID": trigger, "Enabled": enabled});
                self.attempt("lambda", "UpdateEventSourceMapping", params)?;
            }
            Ok(Some(format!("(a trigger) becomes {wanted}")))
        })
    }

    pub(super) fn trigger(&self, trigger: &str) -> Result<String> {
        let found = self.ask("lambda", "GetEventSourceMapping", json!({"UUID": trigger}))?;
        let state = found["State"].as_str();
        Ok(state
            .context(format!("trigger {trigger} has no state"))?
            .to_owned())
    }

    pub(super) fn parameter(&self) -> String {
        stopped_parameter(self.prefix)
    }

    pub(super) fn record(&self) -> Result<Option<Record>> {
        let name = self.parameter();
        let read = (self.call)("ssm", "GetParameter", json!({"Name": name}));
        match read {
            Ok(found) => {
                let text = found["Parameter"]["Value"].as_str().unwrap_or_default();
                let record = serde_json::from_str(text);
                Ok(Some(
                    record.context(format!("reading the parameter {name}"))?,
                ))
            }
            Err(error) if error.is("ParameterNotFound") => Ok(None),
            Err(error) => Err(error).context(format!("reading the parameter {name}")),
        }
    }

    pub(super) fn write(&self, record: &Record) -> Result<()> {
        let value = serde_json::to_string(record).context("the record")?;
        let params = json!({"Name": self.parameter(), "Type": "String", "Value": value,
                            "Overwrite": true});
        self.ask("ssm", "PutParameter", params)?;
        Ok(())
    }
}
