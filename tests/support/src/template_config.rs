//! The deployed configuration from the templates: tables, functions and queues. Read once, because
//! parsing costs more than a small simulation.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::template::{self, Template};

/// A service and its template.
pub struct Service {
    pub name: String,
    pub template: Template,
    /// The logical id of its table, if it has one.
    pub table: Option<String>,
    pub functions: Vec<Function>,
    pub queues: Vec<Queue>,
}

/// A Lambda function.
pub struct Function {
    /// The name of its binary.
    pub name: String,
    pub timeout_seconds: u32,
    /// Its environment. Values that only a deploy knows stay unresolved.
    pub variables: BTreeMap<String, String>,
}

/// A queue that triggers a function.
pub struct Queue {
    pub url: String,
    /// The name of the function's binary.
    pub function: String,
    pub visibility_seconds: u32,
    /// The receives before a message is dead.
    pub max_receives: u32,
}

static SERVICES: LazyLock<Vec<Service>> = LazyLock::new(|| {
    template::services()
        .into_iter()
        .map(Service::read)
        .collect()
});

/// Every service, by name.
pub fn services() -> &'static [Service] {
    &SERVICES
}

/// Every queue that triggers a function.
pub fn queues() -> impl Iterator<Item = &'static Queue> {
    SERVICES.iter().flat_map(|service| &service.queues)
}

/// A function, by its binary's name.
pub fn function(name: &str) -> &'static Function {
    let mut functions = SERVICES.iter().flat_map(|service| &service.functions);
    let function = functions.find(|function| function.name == name);
    function.unwrap_or_else(|| panic!("no template has a function {name}"))
}

impl Service {
    fn read(name: String) -> Self {
        let template = Template::of_service(&name);
        let ids = |kind| template.logical_ids(kind);
        let functions: BTreeMap<String, Function> = ids("AWS::Serverless::Function")
            .into_iter()
            .map(|id| (id.clone(), Function::read(&template, &id)))
            .collect();
        let queues = ids("AWS::Lambda::EventSourceMapping")
            .into_iter()
            .map(|id| Queue::read(&template, &id, &functions))
            .collect();
        Self {
            table: ids("AWS::DynamoDB::Table").into_iter().next(),
            functions: functions.into_values().collect(),
            queues,
            template,
            name,
        }
    }
}

impl Function {
    fn read(template: &Template, id: &str) -> Self {
        let usual = &template.document()["Globals"]["Function"];
        let own = &template.document()["Resources"][id]["Properties"];
        let code = own["CodeUri"].as_str().unwrap_or_default();
        let name = code.trim_end_matches('/').rsplit('/').next();
        let timeout = own["Timeout"].as_u64().or(usual["Timeout"].as_u64());
        let variables = [usual, own].into_iter().filter_map(|properties| {
            let variables = properties["Environment"]["Variables"].as_object()?;
            Some(variables.iter())
        });
        Self {
            name: name.unwrap_or_default().to_owned(),
            timeout_seconds: timeout.expect("a function has a timeout") as u32,
            variables: variables
                .flatten()
                .map(|(name, value)| (name.clone(), variable(template, value)))
                .collect(),
        }
    }
}

impl Queue {
    fn read(template: &Template, id: &str, functions: &BTreeMap<String, Function>) -> Self {
        let mapping = template.properties(id, "AWS::Lambda::EventSourceMapping");
        let text = |name: &str| mapping[name].as_str().unwrap_or_default();
        let queue_id = text("EventSourceArn").trim_end_matches(".Arn");
        let queue = template.properties(queue_id, "AWS::SQS::Queue");
        let number = |value: &Value| value.as_u64().expect("the template says it") as u32;
        Self {
            url: queue_url(&queue),
            function: functions[text("FunctionName").trim_end_matches(".Alias")]
                .name
                .clone(),
            visibility_seconds: number(&queue["VisibilityTimeout"]),
            max_receives: number(&queue["RedrivePolicy"]["maxReceiveCount"]),
        }
    }
}

/// `Ref` is a table's name and a queue's URL.
fn variable(template: &Template, value: &Value) -> String {
    let id = value["Ref"].as_str().unwrap_or_default();
    match template.document()["Resources"][id]["Type"].as_str() {
        Some(kind @ "AWS::DynamoDB::Table") => {
            let table = template.properties(id, kind);
            table["TableName"].as_str().unwrap_or(id).to_owned()
        }
        Some(kind @ "AWS::SQS::Queue") => queue_url(&template.properties(id, kind)),
        _ => match template.resolve(value) {
            Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

fn queue_url(queue: &Value) -> String {
    let name = queue["QueueName"].as_str().unwrap_or_default();
    format!("https://sqs.us-east-1.amazonaws.com/123456789012/{name}")
}
