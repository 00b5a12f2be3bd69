//! How the local stack is: its emulator, its stacks, its functions and its queues.

use serde_json::{Value, json};

use crate::account;
use crate::aws::Aws;
use crate::emulator::{self, Condition};
use crate::error::{Context, Result};
use crate::project::Project;
use crate::stack::Stack;
use crate::state::Home;
use crate::ui::{count, say};

pub fn print(project: &Project, home: &Home) -> Result<()> {
    let emulator = match emulator::condition(home) {
        Condition::Running(emulator) => emulator,
        Condition::Lost(_) => {
            say(format_args!(
                "emulator   gone without `down`; cargo xtask up starts it again"
            ));
            return Ok(());
        }
        Condition::Stopped => {
            say(format_args!(
                "emulator   not running; cargo xtask up starts it"
            ));
            return Ok(());
        }
    };
    say(format_args!(
        "emulator   healthy on port {}, log in {}",
        emulator.port,
        home.emulator_log().display()
    ));
    let stack = Stack::read(&home.stack())?;
    let aws = stack.aws(project)?;
    say(format_args!("API        {}\n", stack.base_url));
    let functions = functions(&aws, &stack.name(""))?;
    for (name, status) in stacks(&aws)? {
        let service = name.strip_prefix(&stack.name("")).unwrap_or(&name);
        let own = functions
            .iter()
            .filter(|f| f.starts_with(&format!("{name}-")))
            .count();
        let functions = if own > 0 {
            count(own, "function")
        } else {
            String::new()
        };
        say(format_args!("{service:<11}{status:<20} {functions}"));
    }
    say(format_args!(
        "\n{:<40}{:>8}{:>11}{:>9}",
        "queue", "waiting", "in flight", "delayed"
    ));
    for url in account::queues(&aws, &stack.name(""))? {
        let depth = aws
            .call(
                "sqs",
                "GetQueueAttributes",
                json!({"QueueUrl": url, "AttributeNames": ["All"]}),
            )
            .context(format!("looking at {url}"))?;
        let number = |name: &str| depth["Attributes"][name].as_str().unwrap_or("?").to_owned();
        let name = url.rsplit('/').next().unwrap_or(&url);
        let waiting = number("ApproximateNumberOfMessages");
        let remark = if name.ends_with("-dlq") && waiting != "0" {
            "  <- failed for good: cargo xtask dlq ls"
        } else {
            ""
        };
        say(format_args!(
            "{name:<40}{waiting:>8}{:>11}{:>9}{remark}",
            number("ApproximateNumberOfMessagesNotVisible"),
            number("ApproximateNumberOfMessagesDelayed")
        ));
    }
    Ok(())
}

fn stacks(aws: &Aws) -> Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut stacks: Vec<_> = account::stacks(aws)?
        .iter()
        .map(|stack| (text(&stack["StackName"]), text(&stack["StackStatus"])))
        .collect();
    stacks.sort();
    Ok(stacks)
}

fn functions(aws: &Aws, prefix: &str) -> Result<Vec<String>> {
    let all = account::functions(aws)?;
    let names = all
        .iter()
        .filter_map(|function| function["FunctionName"].as_str());
    Ok(names
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect())
}
