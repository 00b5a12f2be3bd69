//! The parts of an installation, as its stacks list them: another installation's names may begin alike.

use std::time::Duration;

use serde_json::json;

use crate::account;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};

#[derive(Debug, Default)]
pub struct Parts {
    pub tables: Vec<String>,
    /// The functions without a trigger. A disabled trigger stops the others.
    pub functions: Vec<String>,
    /// The longest timeout of all functions.
    pub longest: Duration,
    pub triggers: Vec<String>,
    pub queues: Vec<String>,
}

impl Parts {
    pub fn read(aws: &Aws, prefix: &str) -> Result<Self> {
        let mut parts = Self::default();
        for stack in account::stacks(aws)? {
            if account::stack_parameter(&stack, "Prefix") != Some(prefix) {
                continue;
            }
            let params = json!({"StackName": stack["StackId"]});
            let resources = aws
                .list(
                    "cloudformation",
                    "ListStackResources",
                    "StackResourceSummaries",
                    params,
                )
                .context("listing the resources of the stacks")?;
            for resource in &resources {
                let text = |name: &str| resource[name].as_str().unwrap_or_default();
                let kept = match text("ResourceType") {
                    _ if text("ResourceStatus").starts_with("DELETE_") => continue,
                    "AWS::DynamoDB::Table" => &mut parts.tables,
                    "AWS::Lambda::EventSourceMapping" => &mut parts.triggers,
                    "AWS::Lambda::Function" => &mut parts.functions,
                    "AWS::SQS::Queue" => &mut parts.queues,
                    _ => continue,
                };
                kept.push(text("PhysicalResourceId").to_owned());
            }
        }
        if parts.tables.is_empty() {
            return Err(Error::new(format!(
                "no stack with the prefix {prefix} has a table; check --prefix and the region"
            )));
        }
        parts.tables.sort();
        for function in account::functions(aws)? {
            let name = function["FunctionName"].as_str().unwrap_or_default();
            if parts.functions.iter().any(|one| one == name) {
                let timeout = Duration::from_secs(function["Timeout"].as_u64().unwrap_or(0));
                parts.longest = parts.longest.max(timeout);
            }
        }
        for trigger in &parts.triggers {
            let found = aws.call("lambda", "GetEventSourceMapping", json!({"UUID": trigger}));
            let found = found.context(format!("reading the trigger {trigger}"))?;
            // The ARN ends in the name, or in the name and an alias.
            let function = found["FunctionArn"]
                .as_str()
                .and_then(|arn| arn.split(':').nth(6));
            parts
                .functions
                .retain(|name| Some(name.as_str()) != function);
        }
        Ok(parts)
    }
}
