//! What the functions printed, and how they failed where they could not print, in the order of time.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::project::Project;
use crate::stack::Stack;
use crate::state::Home;
use crate::ui::{foreign, say};

const SHOWN_AT_FIRST: usize = 200;
const PAUSE: Duration = Duration::from_secs(1);
/// Lines of one moment may come in after one another.
const OVERLAP_MS: i64 = 5_000;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Clone)]
struct Line {
    milliseconds: i64,
    function: String,
    id: String,
    message: String,
}

/// Prints what there is and, with `follow`, what comes.
pub fn print(
    project: &Project,
    home: &Home,
    stack: &Stack,
    service: Option<&str>,
    follow: bool,
) -> Result<()> {
    if let Some(service) = service {
        let known = project.services()?.into_iter().map(|known| known.name);
        is_known(service, &known.collect::<Vec<_>>())?;
    }
    let aws = stack.aws(project)?;
    let functions = match service {
        Some(service) => stack.name(&format!("{service}-")),
        None => stack.name(""),
    };
    let mut seen = HashSet::new();
    let mut since = 0;
    let mut first = true;
    loop {
        let mut lines = printed(&aws, &functions, since)?;
        lines.extend(failures(home, &functions, since)?);
        lines.retain(|line| seen.insert(line.clone()));
        lines.sort();
        let skipped = if first {
            lines.len().saturating_sub(SHOWN_AT_FIRST)
        } else {
            0
        };
        for line in &lines[skipped..] {
            if !say(render(line)) {
                return Ok(());
            }
        }
        if !follow {
            return Ok(());
        }
        first = false;
        if let Some(last) = lines.last() {
            since = (last.milliseconds - OVERLAP_MS).max(0);
            seen.retain(|line: &Line| line.milliseconds >= since);
        }
        thread::sleep(PAUSE);
    }
}

fn is_known(service: &str, known: &[String]) -> Result<()> {
    match known.iter().any(|known| known == service) {
        true => Ok(()),
        false => Err(Error::new(format!(
            "there is no service `{service}`; there are {}",
            known.join(", ")
        ))),
    }
}

fn printed(aws: &Aws, functions: &str, since: i64) -> Result<Vec<Line>> {
    let groups = format!("/aws/lambda/{functions}");
    let prefix = json!({"logGroupNamePrefix": groups});
    let known = aws
        .list("logs", "DescribeLogGroups", "logGroups", prefix)
        .context("listing the logs")?;
    let names = known
        .iter()
        .filter_map(|group| group["logGroupName"].as_str());
    let mut lines = Vec::new();
    for group in names {
        let function = group.trim_start_matches("/aws/lambda/");
        let params = json!({"logGroupName": group, "startTime": since});
        let events = aws
            .list("logs", "FilterLogEvents", "events", params)
            .context(format!("reading {group}"))?;
        let printed = events.iter();
        lines.extend(printed.filter_map(|event| event_line(function, event)));
    }
    Ok(lines)
}

/// A line of the function's own; the platform's are left out.
fn event_line(function: &str, event: &Value) -> Option<Line> {
    let message = event["message"].as_str()?.trim_end();
    let platform = ["START RequestId: ", "END RequestId: ", "REPORT RequestId: "];
    if message.is_empty() || platform.iter().any(|start| message.starts_with(start)) {
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

/// What only the emulator knows: a function that did not start or did not answer.
fn failures(home: &Home, functions: &str, since: i64) -> Result<Vec<Line>> {
    let log = home.emulator_log();
    let text = std::fs::read(&log).context(log.display())?;
    let text = String::from_utf8_lossy(&text);
    let lines = text
        .lines()
        .enumerate()
        .filter_map(|(number, line)| failure_line(functions, number, line));
    Ok(lines.filter(|line| line.milliseconds >= since).collect())
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

    #[test]
    fn a_functions_line_is_shown_with_its_time_and_its_name() {
        let event = json!({"timestamp": 1_795_464_402_350_i64, "eventId": "1", "message": "{\"level\":\"INFO\"}\n"});
        let line = event_line("orders-place", &event).expect("a line");
        assert_eq!(
            render(&line),
            "2026-11-23T20:06:42.350Z  orders-place          {\"level\":\"INFO\"}"
        );
    }

    #[test]
    fn a_service_that_is_not_there_is_told_with_those_that_are() {
        let known = ["orders".to_owned(), "users".to_owned()];
        assert!(is_known("users", &known).is_ok());
        let error = is_known("nope", &known).expect_err("there is none");
        let told = "there is no service `nope`; there are orders, users";
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn a_line_is_shown_escaped_and_cut() {
        let message = format!(
            "thread panicked: \u{1b}]0;x\u{7}\r\n{}",
            "x".repeat(200_000)
        );
        let event = json!({"timestamp": 1, "eventId": "1", "message": message});
        let shown = render(&event_line("orders-place", &event).expect("a line"));
        assert!(!shown.contains(char::is_control), "{shown:.500}");
        assert!(
            shown.contains("\\u001b]0;x\\u0007\\u000d\\u000a"),
            "{shown:.500}"
        );
        assert!(shown.ends_with("more characters)"), "{}", shown.len());
    }

    #[test]
    fn the_platforms_lines_are_left_out() {
        let event = json!({"timestamp": 1, "eventId": "1", "message": "REPORT RequestId: 7\tDuration: 8 ms"});
        assert_eq!(event_line("orders-place", &event), None);
    }

    #[test]
    fn a_function_that_did_not_start_is_found_in_the_emulators_log() {
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
