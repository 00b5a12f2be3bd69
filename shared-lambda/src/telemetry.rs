//! Logs: one JSON object a line on standard output, which Lambda hands to CloudWatch Logs.

use tracing_subscriber::filter::LevelFilter;

/// Starts logging at `LOG_LEVEL` (`error`, `warn`, `info`, `debug`, `trace`; default `info`).
/// Called by every runner; calling it again changes nothing.
pub fn init() {
    let level = crate::env_or_none("LOG_LEVEL")
        .and_then(|text| text.parse::<LevelFilter>().ok())
        .unwrap_or(LevelFilter::INFO);
    // Refused only when a subscriber is there already: that one counts.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level)
        .try_init();
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
