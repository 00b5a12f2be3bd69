//! Logs: one JSON object per line on standard output. Lambda sends them to CloudWatch Logs.

use std::fmt;
use std::io;

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Prefixes of the libraries' targets. Below `info`, libraries print whole events, requests and rows
/// with passwords, tokens and addresses.
const LIBRARIES: [&str; 5] = ["aws_", "h2", "hyper", "lambda_", "rustls"];

/// The target of log lines that become metrics: `tracing::info!(target: telemetry::METRICS, ..)`.
/// They are printed at every level, because alarms depend on them.
pub const METRICS: &str = "metrics";

/// The target of the one line that a request or message leaves. A confirmed order leaves six of them in
/// at most 1 KB: so they have no time, which CloudWatch adds, and no level, which is INFO.
pub const CALLS: &str = "calls";

/// Starts logging at `LOG_LEVEL` (`error`, `warn`, `info`, `debug`, `trace`; default `info`). The
/// level applies to this project's code; libraries never log below `info`. Every runner calls it; a
/// second call changes nothing.
pub fn init() {
    let level = crate::env_or_none("LOG_LEVEL")
        .and_then(|text| text.parse::<LevelFilter>().ok())
        .unwrap_or(LevelFilter::INFO);
    // Fails only when a subscriber exists, which then stays.
    let _ = subscriber(level, io::stdout).try_init();
}

/// Writes the lines of a level.
pub fn subscriber<W>(level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let json = || {
        Format::default()
            .json()
            .flatten_event(true)
            .with_target(false)
    };
    let format = Lines {
        calls: json()
            .with_current_span(false)
            .with_span_list(false)
            .with_level(false)
            .without_time(),
        others: json().with_current_span(true).with_span_list(false),
    };
    let lines = tracing_subscriber::fmt::layer()
        .event_format(format)
        .fmt_fields(JsonFields::new());
    tracing_subscriber::registry().with(lines.with_writer(writer).with_filter(filter(level)))
}

/// The formats of [`CALLS`] and of all other lines.
struct Lines {
    calls: Format<Json, ()>,
    others: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match event.metadata().target() == CALLS {
            true => self.calls.format_event(context, writer, event),
            false => self.others.format_event(context, writer, event),
        }
    }
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
