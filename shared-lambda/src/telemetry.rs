//! Logs: one JSON object a line on standard output, which Lambda hands to CloudWatch Logs.

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What libraries' targets begin with. Below `info` they print events, requests and rows whole:
/// passwords, tokens and addresses with them.
const LIBRARIES: [&str; 5] = ["aws_", "h2", "hyper", "lambda_", "rustls"];

/// The target of lines that metrics are taken from: `tracing::info!(target: telemetry::METRICS, ..)`.
/// They are printed at every level, or an alarm would fall silent with the log.
pub const METRICS: &str = "metrics";

/// Starts logging at `LOG_LEVEL` (`error`, `warn`, `info`, `debug`, `trace`; default `info`), which
/// holds for this project's own code; libraries never go below `info`. Called by every runner;
/// calling it again changes nothing.
pub fn init() {
    let level = crate::env_or_none("LOG_LEVEL")
        .and_then(|text| text.parse::<LevelFilter>().ok())
        .unwrap_or(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_filter(filter(level));
    // Refused only when a subscriber is there already: that one counts.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// What is let through at a level.
pub fn filter(level: LevelFilter) -> Targets {
    let quiet = level.min(LevelFilter::INFO);
    Targets::new()
        .with_default(level)
        .with_targets(LIBRARIES.map(|library| (library, quiet)))
        .with_target(METRICS, LevelFilter::INFO)
}

/// An error with everything beneath it, on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = cause.source();
    }
    text
}
