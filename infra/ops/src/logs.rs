//! The functions' logs in the order of time, with the failures that only the emulator logs.

use std::collections::HashSet;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::ui::{foreign, say, say_whole};

const SHOWN_AT_FIRST: usize = 200;
const PAUSE: Duration = Duration::from_secs(1);
/// Lines of one moment may arrive late.
const OVERLAP_MS: i64 = 5_000;

#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only the functions of this service
    pub service: Option<String>,
    /// Continue printing new lines
    #[arg(short, long)]
    pub follow: bool,
    /// Since this long ago (`15m`, `2h`) or this time; with --aws the default is `1h`
    #[arg(long, value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only lines that contain this order's id
    #[arg(long)]
    pub order: Option<Uuid>,
    /// Only lines that contain this trace or request id
    #[arg(long)]
    pub trace: Option<String>,
    /// Only lines of this level and above
    #[arg(long)]
    pub level: Option<Level>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

fn moment(text: &str) -> std::result::Result<Timestamp, String> {
    text.parse::<Timestamp>()
        .or_else(|_| Timestamp::now().checked_sub(text.parse::<SignedDuration>()?))
        .map_err(|_| {
            "expected a duration such as 15m or a time such as 2026-01-31T12:00Z".to_owned()
        })
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Clone, Serialize)]
struct Line {
    #[serde(rename = "time_ms")]
    milliseconds: i64,
    function: String,
    #[serde(skip)]
    id: String,
    message: String,
}

impl Line {
    fn matches(&self, filter: &Filter) -> bool {
        let names = |id: &str| self.message.contains(id);
        filter.order.is_none_or(|order| names(&order.to_string()))
            && filter.trace.as_deref().is_none_or(names)
            && filter.level.is_none_or(|level| self.level() <= level)
    }

    /// A line that is not JSON comes from a panic or a failed start. The line of a request or message
    /// has no level.
    fn level(&self) -> Level {
        let line: Value = serde_json::from_str(&self.message).unwrap_or_default();
        match line["level"].as_str() {
            None if line.is_object() => Level::Info,
            Some("WARN") => Level::Warn,
            Some("INFO") => Level::Info,
            Some("DEBUG") => Level::Debug,
            Some("TRACE") => Level::Trace,
            _ => Level::Error,
        }
    }
}

/// Prints the log and, with `follow`, new lines. `emulator_log` has the failures that only the emulator logs.
pub fn print(
    aws: &Aws,
    prefix: &str,
    emulator_log: Option<PathBuf>,
    filter: &Filter,
    as_json: bool,
) -> Result<()> {
    let functions = match &filter.service {
        Some(service) => format!("{prefix}-{service}-"),
        None => format!("{prefix}-"),
    };
    let mut seen = HashSet::new();
    let mut since = filter.since.map_or(0, Timestamp::as_millisecond);
    let mut first = true;
    loop {
        let mut lines = printed(aws, &functions, since, filter)?;
        if let Some(log) = &emulator_log {
            let text = std::fs::read(log).context(log.display())?;
            lines.extend(failures(&String::from_utf8_lossy(&text), &functions, since));
        }
        lines.retain(|line| line.matches(filter) && seen.insert(line.clone()));
        lines.sort();
        let skipped = match first && filter.since.is_none() {
            true => lines.len().saturating_sub(SHOWN_AT_FIRST),
            false => 0,
        };
        for line in &lines[skipped..] {
            let is_read = match as_json {
                true => say_whole(json!(line)),
                false => say(render(line)),
            };
            if !is_read {
                return Ok(());
            }
        }
        if !filter.follow {
            return Ok(());
        }
        first = false;
        if let Some(last) = lines.last() {
            since = since.max(last.milliseconds - OVERLAP_MS);
            seen.retain(|line: &Line| line.milliseconds >= since);
        }
        thread::sleep(PAUSE);
    }
}

fn printed(aws: &Aws, functions: &str, since: i64, filter: &Filter) -> Result<Vec<Line>> {
    let groups = format!("/aws/lambda/{functions}");
    let prefix = json!({"logGroupNamePrefix": groups});
    let known = aws
        .list("logs", "DescribeLogGroups", "logGroups", prefix)
        .context("listing the logs")?;
    let names: Vec<&str> = known
        .iter()
        .filter_map(|group| group["logGroupName"].as_str())
        .collect();
    if let (Some(service), true) = (&filter.service, names.is_empty()) {
        return Err(Error::new(format!(
            "no logs of a service `{service}`; check its name and --prefix"
        )));
    }
    let mut lines = Vec::new();
    for group in names {
        let function = group.trim_start_matches("/aws/lambda/");
        let mut params = json!({"logGroupName": group, "startTime": since});
        let order = filter.order.map(|order| order.to_string());
        if let Some(id) = order.as_ref().or(filter.trace.as_ref()) {
            params["filterPattern"] = json!(format!("\"{}\"", id.replace('"', "")));
        }
        let events = aws
            .list("logs", "FilterLogEvents", "events", params)
            .context(format!("reading {group}"))?;
        let printed = events.iter();
        lines.extend(printed.filter_map(|event| event_line(function, event)));
    }
    Ok(lines)
}

/// The beginnings of the platform's own lines.
const PLATFORM: [&str; 5] = [
    "INIT_START Runtime Version: ",
    "EXTENSION\tName: ",
    "START RequestId: ",
    "END RequestId: ",
    "REPORT RequestId: ",
];

/// A line of the function's own; the platform's are left out.
fn event_line(function: &str, event: &Value) -> Option<Line> {
    let message = event["message"].as_str()?.trim_end();
    if message.is_empty() || PLATFORM.iter().any(|start| message.starts_with(start)) {
        return None;
    }
    let id = event["eventId"]
        .as_str()
        .or(event["logStreamName"].as_str());
    Some(Line {
        milliseconds: event["timestamp"].as_i64()?,
        function: function.to_owned(),
        id: id.unwrap_or_default().to_owned(),
        message: message.to_owned(),
    })
}

/// The emulator's own lines about functions that did not start or answer.
fn failures(log: &str, functions: &str, since: i64) -> Vec<Line> {
    log.lines()
        .enumerate()
        .filter_map(|(number, line)| failure_line(functions, number, line))
        .filter(|line| line.milliseconds >= since)
        .collect()
}

/// `2026-11-23 20:31:42 ERROR [lambda] ... for waybill-users-me: missing variable`
fn failure_line(functions: &str, number: usize, line: &str) -> Option<Line> {
    let (time, rest) = line.split_at_checked("2026-11-23 20:31:42".len())?;
    let message = rest
        .strip_prefix(" ERROR [lambda")
        .or_else(|| rest.strip_prefix(" WARNING [lambda"))?
        .split_once("] ")?
        .1;
    let time: Timestamp = format!("{}Z", time.replace(' ', "T")).parse().ok()?;
    let function = message
        .split([' ', ':'])
        .find(|word| word.starts_with(functions))?;
    Some(Line {
        milliseconds: time.as_millisecond(),
        function: function.to_owned(),
        id: number.to_string(),
        message: message.to_owned(),
    })
}

fn render(line: &Line) -> String {
    let time = Timestamp::from_millisecond(line.milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    format!(
        "{time:.3}  {:<20}  {}",
        line.function,
        foreign(&line.message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assert_contains;

    #[test]
    fn a_line_is_printed_with_time_and_function() {
        let event = json!({"timestamp": 1_795_464_402_350_i64, "eventId": "1", "message": "{\"level\":\"INFO\"}\n"});
        let line = event_line("orders-place", &event).expect("a line");
        assert_eq!(
            render(&line),
            "2026-11-23T20:06:42.350Z  orders-place          {\"level\":\"INFO\"}"
        );
    }

    #[test]
    fn lines_are_filtered_by_order_trace_and_level() {
        let line = |message: &str| Line {
            milliseconds: 0,
            function: String::new(),
            id: String::new(),
            message: message.to_owned(),
        };
        let order = Uuid::from_u128(7);
        let info = line(&format!(
            r#"{{"order":"{order}","outcome":"ok","trace":"4bf9"}}"#
        ));
        let (order, level) = (Some(order), Some(Level::Warn));
        assert!(info.matches(&Filter {
            order,
            trace: Some("4bf9".to_owned()),
            level: Some(Level::Info),
            ..Filter::default()
        }));
        assert!(!info.matches(&Filter {
            level,
            ..Filter::default()
        }));
        assert!(line("thread panicked").matches(&Filter {
            level,
            ..Filter::default()
        }));
        assert!(!line("thread panicked").matches(&Filter {
            order,
            ..Filter::default()
        }));
    }

    #[test]
    fn since_takes_a_time_or_a_duration() {
        let time = moment("2026-01-31T12:00:00Z").expect("a time");
        assert_eq!(time.to_string(), "2026-01-31T12:00:00Z");
        assert!(moment("15m").expect("a while") < Timestamp::now());
        assert!(moment("soon").is_err());
    }

    #[test]
    fn a_line_is_escaped_and_cut() {
        let message = format!(
            "thread panicked: \u{1b}]0;x\u{7}\r\n{}",
            "x".repeat(200_000)
        );
        let event = json!({"timestamp": 1, "eventId": "1", "message": message});
        let shown = render(&event_line("orders-place", &event).expect("a line"));
        assert!(!shown.contains(char::is_control), "{shown:.500}");
        assert_contains(&shown, &["\\u001b]0;x\\u0007\\u000d\\u000a"]);
        assert!(shown.ends_with("more characters)"), "{}", shown.len());
    }

    #[test]
    fn platform_lines_are_skipped() {
        for message in [
            "INIT_START Runtime Version: provided:al2023.v100\tRuntime Version ARN: arn:aws:a",
            "EXTENSION\tName: insights\tState: Ready\tEvents: [INVOKE, SHUTDOWN]",
            "REPORT RequestId: 7\tDuration: 8 ms",
        ] {
            let event = json!({"timestamp": 1, "eventId": "1", "message": message});
            assert_eq!(event_line("orders-place", &event), None, "{message}");
        }
    }

    #[test]
    fn failed_starts_come_from_the_emulators_log() {
        let log = "2026-11-23 20:31:42 ERROR [lambda] Warm execution error for waybill-users-me: no USERS_TABLE";
        let line = failure_line("waybill-users-", 7, log).expect("a line");
        assert_eq!(line.function, "waybill-users-me");
        assert_eq!(
            line.message,
            "Warm execution error for waybill-users-me: no USERS_TABLE"
        );
        assert_eq!(failure_line("waybill-orders-", 7, log), None);
        let harmless = "2026-11-23 20:31:42 INFO [lambda] ESM: Lambda waybill-users-me processed 1";
        assert_eq!(failure_line("waybill-users-", 7, harmless), None);
    }
}
