//! What a function's log says about the messages it failed at.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::dead_letter::{DeadLetter, Sqs};
use crate::error::{Context, Error, Result};

/// How a message failed the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub at: i64,
    pub error: String,
    pub receive_count: Option<i64>,
    pub trace: Option<String>,
}

/// The last failure of each message that the function logged, by the message's id.
#[derive(Debug)]
pub struct Log {
    failures: BTreeMap<String, Failure>,
    /// Why not all of it was read.
    unread: Option<String>,
}

pub const NOT_LOGGED: &str = "(not in the function's log: it died, timed out, or the log is gone)";

/// The `maxReceiveCount` of every queue: after this try a message is moved to the dead letters.
pub const LAST_TRY: i64 = 5;

/// How long after a message was sent its last try is looked for, in minutes: most fail for good
/// within minutes, some wait for hours, and no queue keeps one longer than 14 days.
const AFTER: [i64; 3] = [20, 12 * 60, 14 * 24 * 60];

/// Lines may be stamped a little earlier than their message: two services, two clocks.
const BEFORE: i64 = 60_000;

/// Stretches of the log no further apart than this are read as one.
const APART: i64 = 60 * 60_000;

/// A day of a busy function is many pages; a list of dead letters is not worth more than these.
const PAGES: usize = 200;

impl Log {
    /// Letters are worth showing without their errors, too: why the log, or a part of it, cannot be
    /// read takes the place of those that were not found.
    pub fn read(logs: &Logs<'_>, group: &str, letters: &[DeadLetter]) -> Self {
        let mut failures = BTreeMap::new();
        let unread = read(logs, group, letters, &mut failures).err();
        Self {
            failures,
            unread: unread.map(|error| error.to_string()),
        }
    }

    #[cfg(test)]
    pub fn of(failures: BTreeMap<String, Failure>) -> Self {
        Self {
            failures,
            unread: None,
        }
    }

    /// Why only a part of it was read, where some of it was.
    pub fn read_in_part(&self) -> Option<&str> {
        self.unread.as_deref().filter(|_| !self.failures.is_empty())
    }

    pub fn failure_of(&self, letter: &DeadLetter) -> Option<&Failure> {
        self.failures.get(&letter.id)
    }

    /// The error of a letter, without what differs from one message to the next.
    pub fn error_of(&self, letter: &DeadLetter) -> String {
        match (self.failure_of(letter), &self.unread) {
            (Some(failure), _) => normalised(&failure.error),
            (None, None) => NOT_LOGGED.to_owned(),
            (None, Some(_)) if !self.failures.is_empty() => {
                "(not in the part of the function's log that was read)".to_owned()
            }
            (None, Some(why)) => format!("(the function's log could not be read: {why})"),
        }
    }
}

/// One call of CloudWatch Logs.
type Logs<'a> = Sqs<'a>;

/// From a little before each letter was sent to when its last try can have been, the near first,
/// until there is nothing left to look for.
fn read(
    logs: &Logs<'_>,
    group: &str,
    letters: &[DeadLetter],
    found: &mut BTreeMap<String, Failure>,
) -> Result<()> {
    let mut pages = 0;
    let mut from = -BEFORE;
    for after in AFTER {
        let to = after * 60_000;
        let mut wanted: Vec<(i64, &str)> = letters
            .iter()
            .filter(|letter| !is_last(found.get(&letter.id)))
            .filter_map(|letter| Some((letter.number("SentTimestamp")?, letter.id.as_str())))
            .collect();
        wanted.sort_unstable();
        for window in windows(&wanted, from, to) {
            read_window(logs, group, &window, &mut pages, found)?;
        }
        from = to;
    }
    Ok(())
}

fn is_last(failure: Option<&Failure>) -> bool {
    failure.is_some_and(|failure| failure.receive_count >= Some(LAST_TRY))
}

/// A stretch of the log, and the messages that may be in it.
struct Window<'l> {
    from: i64,
    to: i64,
    wanted: Vec<&'l str>,
}

/// From so long until so long after each message was sent, in milliseconds; what overlaps, or
/// nearly does, is read once. The messages come in the order they were sent.
fn windows<'l>(wanted: &[(i64, &'l str)], from: i64, to: i64) -> Vec<Window<'l>> {
    let mut windows: Vec<Window<'l>> = Vec::new();
    for (sent, id) in wanted {
        match windows.last_mut() {
            Some(last) if sent + from <= last.to + APART => {
                last.to = sent + to;
                last.wanted.push(id);
            }
            _ => windows.push(Window {
                from: (sent + from).max(0),
                to: sent + to,
                wanted: vec![id],
            }),
        }
    }
    windows
}

fn read_window(
    logs: &Logs<'_>,
    group: &str,
    window: &Window<'_>,
    pages: &mut usize,
    found: &mut BTreeMap<String, Failure>,
) -> Result<()> {
    let mut request = json!({"logGroupName": group, "startTime": window.from,
                             "endTime": window.to, "filterPattern": "\"message failed\""});
    loop {
        if *pages == PAGES {
            return Err(Error::new(format!(
                "{group}: {PAGES} pages of it, and there are more"
            )));
        }
        *pages += 1;
        let page = match logs("FilterLogEvents", request.clone()) {
            // It has never been called.
            Err(error) if error.is("ResourceNotFoundException") => return Ok(()),
            page => page.context(format!("reading {group}"))?,
        };
        for event in page["events"].as_array().into_iter().flatten() {
            if let Some((id, failure)) = failure(event)
                && found.get(&id).is_none_or(|known| known.at <= failure.at)
            {
                found.insert(id, failure);
            }
        }
        let is_over = window.wanted.iter().all(|id| is_last(found.get(*id)));
        match &page["nextToken"] {
            Value::String(token) if !is_over => request["nextToken"] = json!(token),
            _ => return Ok(()),
        }
    }
}

/// The runner's line about a message that failed: its message's id and what it says.
pub fn failure(event: &Value) -> Option<(String, Failure)> {
    let line: Value = serde_json::from_str(event["message"].as_str()?).ok()?;
    let detail = line["message"].as_str()?.strip_prefix("message failed: ")?;
    let error = match line["cause"].as_str() {
        Some(cause) => format!("{detail}: {cause}"),
        None => detail.to_owned(),
    };
    let failure = Failure {
        at: event["timestamp"].as_i64()?,
        error,
        receive_count: line["receive_count"].as_i64(),
        trace: line["traceparent"].as_str().map(str::to_owned),
    };
    Some((line["message_id"].as_str()?.to_owned(), failure))
}

/// An error without what differs from one message to the next: ids.
fn normalised(error: &str) -> String {
    let mut text = String::new();
    let mut word = String::new();
    for character in without_request_ids(error).chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() || character == '-' {
            word.push(character);
            continue;
        }
        text.push_str(if is_id(&word) { "<id>" } else { &word });
        word.clear();
        text.push(character);
    }
    text.trim_end().to_owned()
}

/// UUIDs, and what is as long and has digits in it: request ids, traces, hashes.
fn is_id(word: &str) -> bool {
    Uuid::try_parse(word).is_ok()
        || (word.len() >= 16 && word.contains(|character: char| character.is_ascii_digit()))
}

/// An error that an operation does not model is shown with the id of the request it answered, in
/// whatever form the service has for that.
fn without_request_ids(error: &str) -> String {
    const NAME: &str = "aws_request_id: \"";
    let mut text = String::new();
    let mut rest = error;
    while let Some((before, after)) = rest.split_once(NAME) {
        let Some((_, after)) = after.split_once('"') else {
            break;
        };
        text.push_str(before.strip_suffix(", ").unwrap_or(before));
        rest = after;
    }
    text + rest
}
