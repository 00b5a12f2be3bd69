//! Finds the errors of dead letters in the function's log.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::dead_letter::{DeadLetter, Sqs};
use crate::error::{Context, Error, Result};

/// The last failure of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub at: i64,
    pub error: String,
    pub receive_count: Option<i64>,
    pub trace: Option<String>,
}

/// The last logged failure of each message, by the message's id.
#[derive(Debug)]
pub struct Log {
    failures: BTreeMap<String, Failure>,
    /// The error that ended reading early.
    unread: Option<String>,
}

pub const NOT_LOGGED: &str = "(not in the function's log: it crashed, timed out, or the log has \
                              expired)";

/// The `maxReceiveCount` of every queue: after this attempt SQS moves the message to the
/// dead-letter queue.
pub const LAST_TRY: i64 = 5;

/// How long after the send time the last attempt is searched, in minutes. Most messages fail within
/// minutes, some after hours; no queue keeps one longer than 14 days.
const AFTER: [i64; 3] = [20, 12 * 60, 14 * 24 * 60];

/// Log lines may be stamped slightly before their message, by another clock.
const BEFORE: i64 = 60_000;

/// Windows closer than this are read as one.
const APART: i64 = 60 * 60_000;

/// The limit of log pages for one list.
const PAGES: usize = 200;

impl Log {
    /// Reads as much as it can. The error of an unreadable log replaces the errors that were not
    /// found.
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

    /// The error that ended reading, if a part of the log was read.
    pub fn read_in_part(&self) -> Option<&str> {
        self.unread.as_deref().filter(|_| !self.failures.is_empty())
    }

    pub fn failure_of(&self, letter: &DeadLetter) -> Option<&Failure> {
        self.failures.get(&letter.id)
    }

    /// The error of a message, without ids, so that equal errors form a group.
    pub fn error_of(&self, letter: &DeadLetter) -> String {
        match (self.failure_of(letter), &self.unread) {
            (Some(failure), _) => normalised(&failure.error),
            (None, None) => NOT_LOGGED.to_owned(),
            (None, Some(_)) if !self.failures.is_empty() => {
                "(not in the part of the log that was read)".to_owned()
            }
            (None, Some(why)) => format!("(the function's log could not be read: {why})"),
        }
    }
}

/// Calls one operation of CloudWatch Logs.
type Logs<'a> = Sqs<'a>;

/// Searches the time after each message was sent, near times first, until every last attempt is
/// found.
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

/// A time window of the log, and the messages that may be in it.
struct Window<'l> {
    from: i64,
    to: i64,
    wanted: Vec<&'l str>,
}

/// Windows from `from` to `to` milliseconds after each message was sent. Close windows are merged.
/// `wanted` is sorted by time.
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
            // The function has never run.
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

/// Parses the runner's line about a failed message into the message's id and its failure.
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
        trace: line["trace"].as_str().map(str::to_owned),
    };
    Some((line["message_id"].as_str()?.to_owned(), failure))
}

/// Replaces ids in an error.
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

/// UUIDs and long words with digits: request ids, traces, hashes.
fn is_id(word: &str) -> bool {
    Uuid::try_parse(word).is_ok()
        || (word.len() >= 16 && word.contains(|character: char| character.is_ascii_digit()))
}

/// The SDK prints an unmodelled error with its request id, in the service's own format.
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
