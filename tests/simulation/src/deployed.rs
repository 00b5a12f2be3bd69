//! What the templates deploy, as far as the simulation goes by it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use test_support::template::Template;

use crate::network::{Millis, QueueName};

/// What is read once: reading templates costs more than a small simulation.
struct Deployed {
    users: Template,
    orders: Template,
    inventory: Template,
    payments: Template,
    /// By the functions' binaries.
    timeouts: BTreeMap<String, Millis>,
    /// In the order of [`QueueName::ALL`].
    queues: [Limits; 4],
    step_timeout: Millis,
    sweep_every: Millis,
}

/// How often and how soon a queue gives a message out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After so many receipts without success a message is dead.
    pub max_receives: u32,
    /// For how long a message stays away that was received and neither deleted nor given back.
    pub visibility: Millis,
}

static DEPLOYED: LazyLock<Deployed> = LazyLock::new(|| {
    let [users, orders, inventory, payments] =
        ["users", "orders", "inventory", "payments"].map(Template::of_service);
    let timeouts = [&users, &orders, &inventory, &payments]
        .into_iter()
        .flat_map(timeouts)
        .collect();
    let queues = QueueName::ALL.map(|queue| match queue {
        QueueName::Users => limits(&users, "CommandsQueue"),
        QueueName::Inventory => limits(&inventory, "CommandsQueue"),
        QueueName::Payments => limits(&payments, "CommandsQueue"),
        QueueName::Replies => limits(&orders, "RepliesQueue"),
    });
    Deployed {
        step_timeout: step_timeout_in(&orders),
        sweep_every: sweep_every_in(&orders),
        users,
        orders,
        inventory,
        payments,
        timeouts,
        queues,
    }
});

/// Each service's template and its table's name there: users, orders, inventory, payments.
pub fn tables() -> [(&'static Template, &'static str); 4] {
    [
        (&DEPLOYED.users, "UsersTable"),
        (&DEPLOYED.orders, "OrdersTable"),
        (&DEPLOYED.inventory, "InventoryTable"),
        (&DEPLOYED.payments, "PaymentsTable"),
    ]
}

/// After how long a function is ended, by its binary's name.
pub fn timeout(function: &str) -> Millis {
    let timeout = DEPLOYED.timeouts.get(function);
    *timeout.unwrap_or_else(|| panic!("no template has a function {function}"))
}

pub fn queue(queue: QueueName) -> Limits {
    DEPLOYED.queues[queue as usize]
}

/// How long a step may take: `StepTimeoutSeconds` unless somebody says otherwise.
pub fn step_timeout() -> Millis {
    DEPLOYED.step_timeout
}

/// How often the sweeper runs.
pub fn sweep_every() -> Millis {
    DEPLOYED.sweep_every
}

fn step_timeout_in(orders: &Template) -> Millis {
    let parameter = &orders.document()["Parameters"]["StepTimeoutSeconds"];
    parameter["Default"].as_i64().expect("it is in seconds") * 1000
}

fn sweep_every_in(orders: &Template) -> Millis {
    let schedule = orders.properties("OrdersSweepSchedule", "AWS::Scheduler::Schedule");
    let rate = schedule["ScheduleExpression"].as_str().unwrap_or_default();
    let rate = rate
        .strip_prefix("rate(")
        .and_then(|rate| rate.strip_suffix(')'));
    match rate.and_then(|rate| rate.split_once(' ')) {
        Some((minutes, "minute" | "minutes")) => {
            minutes.parse::<Millis>().expect("it is a number") * 60_000
        }
        _ => panic!("the sweeper's schedule is not a rate in minutes"),
    }
}

fn timeouts(template: &Template) -> Vec<(String, Millis)> {
    let document = template.document();
    let usual = &document["Globals"]["Function"]["Timeout"];
    let resources = document["Resources"].as_object();
    let functions = resources.into_iter().flat_map(|all| all.values());
    functions
        .filter(|resource| resource["Type"] == "AWS::Serverless::Function")
        .map(|function| {
            let properties = &function["Properties"];
            let code = properties["CodeUri"].as_str().unwrap_or_default();
            let name = code.trim_end_matches('/').rsplit('/').next();
            let seconds = properties["Timeout"].as_i64().or(usual.as_i64());
            let seconds = seconds.expect("a function has a timeout");
            (name.unwrap_or_default().to_owned(), seconds * 1000)
        })
        .collect()
}

fn limits(template: &Template, queue: &str) -> Limits {
    let queue = template.properties(queue, "AWS::SQS::Queue");
    let number = |value: &serde_json::Value| value.as_i64().expect("the template says it");
    Limits {
        max_receives: number(&queue["RedrivePolicy"]["maxReceiveCount"]) as u32,
        visibility: number(&queue["VisibilityTimeout"]) * 1000,
    }
}
