//! The state of a stack: its functions, queues and parked orders.

use serde::Serialize;
use serde_json::{Value, json};

use crate::account;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};

/// The names of the fields are those of `--json`.
#[derive(Debug, Serialize)]
pub struct Status {
    pub stacks: Vec<Stack>,
    pub queues: Vec<Queue>,
    /// A backup or a restore has stopped the functions.
    pub stopped: bool,
    /// Orders that need an operator. A stopped function cannot count them.
    pub parked: Option<usize>,
    /// Problems, each with the next step.
    pub wrong: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Stack {
    pub name: String,
    pub status: String,
    pub functions: usize,
}

#[derive(Debug, Serialize)]
pub struct Queue {
    pub name: String,
    pub waiting: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

pub fn read(aws: &Aws, prefix: &str) -> Result<Status> {
    let named = format!("{prefix}-");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let functions = account::functions(aws)?;
    let functions: Vec<String> = functions
        .iter()
        .map(|one| text(&one["FunctionName"]))
        .collect();
    let mut stacks: Vec<Stack> = account::stacks(aws)?
        .iter()
        .map(|stack| (text(&stack["StackName"]), text(&stack["StackStatus"])))
        .filter(|(name, _)| name.starts_with(&named))
        .map(|(name, status)| Stack {
            functions: functions
                .iter()
                .filter(|function| function.starts_with(&format!("{name}-")))
                .count(),
            name,
            status,
        })
        .collect();
    stacks.sort_by(|a, b| a.name.cmp(&b.name));
    let queues = account::queues(aws, &named)?
        .iter()
        .map(|url| queue(aws, url))
        .collect::<Result<Vec<_>>>()?;
    let record = read_parameter(aws, &stopped_parameter(prefix))?;
    let mut status = Status {
        stacks,
        queues,
        stopped: record.is_some(),
        parked: match record {
            Some(_) => None,
            None => Some(parked(aws, &named)?),
        },
        wrong: Vec::new(),
    };
    status.judge(record.as_deref());
    Ok(status)
}

fn queue(aws: &Aws, url: &str) -> Result<Queue> {
    let ask = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let depth = aws
        .call("sqs", "GetQueueAttributes", ask)
        .context(format!("reading {url}"))?;
    let number = |name: &str| {
        let number = depth["Attributes"][format!("ApproximateNumberOfMessages{name}")].as_str();
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Ok(Queue {
        name: url.rsplit('/').next().unwrap_or(url).to_owned(),
        waiting: number(""),
        in_flight: number("NotVisible"),
        delayed: number("Delayed"),
    })
}

/// The SSM parameter that exists while a backup or a restore has stopped the functions.
pub fn stopped_parameter(prefix: &str) -> String {
    format!("/{prefix}/stopped")
}

fn read_parameter(aws: &Aws, name: &str) -> Result<Option<String>> {
    match aws.call("ssm", "GetParameter", json!({"Name": name})) {
        Ok(found) => Ok(found["Parameter"]["Value"].as_str().map(str::to_owned)),
        Err(error) if error.is("ParameterNotFound") => Ok(None),
        Err(error) => Err(error).context(format!("reading the parameter {name}")),
    }
}

/// Names the command that starts the functions again, from the record of the command that stopped them.
fn has_stopped(record: &str) -> String {
    let record: Value = serde_json::from_str(record).unwrap_or_default();
    let (what, command) = match record["restore"]["backup"].as_str() {
        Some(backup) => ("restore", format!("restore --from {backup}")),
        None => ("backup", "backup create".to_owned()),
    };
    format!("a {what} has stopped the functions; if it ended early, run waybill {command}")
}

fn parked(aws: &Aws, prefix: &str) -> Result<usize> {
    let mut parked = 0;
    let mut ask = json!({"action": "list", "stuck": true});
    loop {
        let mut page = account::invoke(aws, &format!("{prefix}orders-admin"), &ask)?;
        let orders = page["orders"].as_array().into_iter().flatten();
        parked += orders.filter(|order| order["parked"] == true).count();
        ask["cursor"] = page["next_cursor"].take();
        if ask["cursor"].is_null() {
            return Ok(parked);
        }
    }
}

impl Status {
    /// With the record of the command that stopped the functions, if any.
    fn judge(&mut self, record: Option<&str>) {
        self.wrong.extend(record.map(has_stopped));
        if self.stacks.is_empty() {
            self.wrong.push("nothing is deployed".to_owned());
        }
        for Stack { name, status, .. } in &self.stacks {
            if status.contains("FAILED") || status.starts_with("ROLLBACK") {
                self.wrong.push(format!("stack {name}: {status}"));
            }
        }
        let dead = self
            .queues
            .iter()
            .filter(|queue| queue.name.ends_with("-dlq"));
        let dead: u64 = dead.map(|queue| queue.waiting + queue.in_flight).sum();
        if dead > 0 {
            let dead = format!("dead letters: {dead}; next: waybill dlq ls");
            self.wrong.push(dead);
        }
        if let Some(parked @ 1..) = self.parked {
            self.wrong.push(format!(
                "parked orders: {parked}; next: waybill saga ls --stuck"
            ));
        }
    }

    pub fn report(&self) -> String {
        let mut output = String::new();
        for stack in &self.stacks {
            let functions = stack.functions;
            output += &format!(
                "{:<22}{:<22}{functions:>3} functions\n",
                stack.name, stack.status
            );
        }
        let (waiting, in_flight, delayed) = ("waiting", "in flight", "delayed");
        output.push_str(&format!(
            "\n{:<40}{waiting:>8}{in_flight:>11}{delayed:>9}\n",
            "queue"
        ));
        for queue in &self.queues {
            let (name, waiting) = (&queue.name, queue.waiting);
            let (in_flight, delayed) = (queue.in_flight, queue.delayed);
            output += &format!("{name:<40}{waiting:>8}{in_flight:>11}{delayed:>9}\n");
        }
        let parked = self.parked.map(|parked| parked.to_string());
        let parked = parked.as_deref().unwrap_or("not counted");
        output.push_str(&format!("\nparked orders: {parked}"));
        output
    }

    pub fn verdict(&self) -> Result<()> {
        match self.wrong.is_empty() {
            true => Ok(()),
            false => Err(Error::new(self.wrong.join("\n"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(stack: &str, dead: u64, parked: usize, record: Option<&str>) -> Status {
        let mut status = Status {
            stacks: vec![Stack {
                name: "waybill-orders".to_owned(),
                status: stack.to_owned(),
                functions: 8,
            }],
            queues: vec![Queue {
                name: "waybill-orders-replies-dlq".to_owned(),
                waiting: dead,
                in_flight: 0,
                delayed: 0,
            }],
            stopped: record.is_some(),
            parked: Some(parked),
            wrong: Vec::new(),
        };
        status.judge(record);
        status
    }

    #[test]
    fn failures_stops_dead_letters_and_parked_orders_are_reported() {
        let whole = "UPDATE_COMPLETE";
        assert!(judged(whole, 0, 0, None).verdict().is_ok());
        let backup = r#"{"reserved": {}, "triggers": [], "restore": null}"#;
        let restore = r#"{"restore": {"backup": "at-20261127T120000Z"}}"#;
        for (status, says) in [
            (
                judged("ROLLBACK_COMPLETE", 0, 0, None),
                "stack waybill-orders",
            ),
            (judged(whole, 1, 0, None), "waybill dlq ls"),
            (judged(whole, 0, 1, None), "waybill saga ls --stuck"),
            (
                judged(whole, 0, 0, Some(backup)),
                "run waybill backup create",
            ),
            (
                judged(whole, 0, 0, Some(restore)),
                "run waybill restore --from at-20261127T120000Z",
            ),
        ] {
            let error = status.verdict().expect_err(says);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
