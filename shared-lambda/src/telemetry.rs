//! Logs: one JSON object per line on standard output. Lambda sends them to CloudWatch Logs.

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Prefixes of the libraries' targets. Below `info`, libraries print whole events, requests and rows
/// with passwords, tokens and addresses.
const LIBRARIES: [&str; 5] = ["aws_", "h2", "hyper", "lambda_", "rustls"];

/// The target of log lines that become metrics: `tracing::info!(target: telemetry::METRICS, ..)`.
/// They are printed at every level, because alarms depend on them.
pub const METRICS: &str = "metrics";

/// Starts logging at `LOG_LEVEL` (`error`, `warn`, `info`, `debug`, `trace`; default `info`). The
/// level applies to this project's code; libraries never log below `info`. Every runner calls it; a
/// second call changes nothing.
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
    // Fails only when a subscriber exists, which then stays.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// The targets that a level enables.
pub fn filter(level: LevelFilter) -> Targets {
    let quiet = level.min(LevelFilter::INFO);
    Targets::new()
        .with_default(level)
        .with_targets(LIBRARIES.map(|library| (library, quiet)))
        .with_target(METRICS, LevelFilter::INFO)
}

/// An error with its sources, on one line.
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
