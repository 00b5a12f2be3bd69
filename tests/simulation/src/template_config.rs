//! The template settings that the simulation uses.

use std::sync::LazyLock;

use test_support::template::Template;
use test_support::template_config::{self, Service};

use crate::clock::Millis;

static STEP_TIMEOUT: LazyLock<Millis> = LazyLock::new(|| {
    let parameter = &orders().document()["Parameters"]["StepTimeoutSeconds"];
    parameter["Default"].as_i64().expect("a number of seconds") * 1000
});

static SWEEP_EVERY: LazyLock<Millis> = LazyLock::new(|| {
    let schedule = orders().properties("OrdersSweepSchedule", "AWS::Scheduler::Schedule");
    let rate = schedule["ScheduleExpression"].as_str().unwrap_or_default();
    let rate = rate
        .strip_prefix("rate(")
        .and_then(|rate| rate.strip_suffix(')'));
    match rate.and_then(|rate| rate.split_once(' ')) {
        Some((minutes, "minute" | "minutes")) => {
            minutes.parse::<Millis>().expect("a number of minutes") * 60_000
        }
        _ => panic!("the sweeper's schedule is not a rate in minutes"),
    }
});

fn orders() -> &'static Template {
    let mut services = template_config::services().iter();
    let orders = services.find(|service: &&Service| service.name == "orders");
    &orders.expect("orders is a service").template
}

/// The timeout of a function, by the name of its binary.
pub fn timeout(function: &str) -> Millis {
    Millis::from(template_config::function(function).timeout_seconds) * 1000
}

/// The default of `StepTimeoutSeconds`.
pub fn step_timeout() -> Millis {
    *STEP_TIMEOUT
}

/// The interval of the sweeper.
pub fn sweep_every() -> Millis {
    *SWEEP_EVERY
}
