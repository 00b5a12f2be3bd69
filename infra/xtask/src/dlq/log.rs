//! What a function's log says about the messages it failed at.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::letter::{Letter, Sqs};
use crate::error::{Context, Result};

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
    /// What is said of a message that is not among them.
    otherwise: String,
}

pub const NOT_LOGGED: &str = "(not in the function's log: it died, timed out, or the log is gone)";

impl Log {
    /// From the time on when the first of the letters was sent. Letters are worth showing without
    /// their errors, too: why the log cannot be read takes their place.
    pub fn read(logs: &Logs<'_>, group: &str, letters: &[Letter]) -> Self {
        match failures(logs, group, letters) {
            Ok(failures) => Self::of(failures),
            Err(error) => Self {
                failures: BTreeMap::new(),
                otherwise: format!("(the function's log could not be read: {error})"),
            },
        }
    }

    pub fn of(failures: BTreeMap<String, Failure>) -> Self {
        Self {
            failures,
            otherwise: NOT_LOGGED.to_owned(),
        }
    }

    pub fn failure_of(&self, letter: &Letter) -> Option<&Failure> {
        self.failures.get(&letter.id)
    }

    /// The error of a letter, without what differs from one message to the next.
    pub fn error_of(&self, letter: &Letter) -> String {
        self.failure_of(letter).map_or_else(
            || self.otherwise.clone(),
            |failure| normalised(&failure.error),
        )
    }
}

/// One call of CloudWatch Logs.
type Logs<'a> = Sqs<'a>;

fn failures(logs: &Logs<'_>, group: &str, letters: &[Letter]) -> Result<BTreeMap<String, Failure>> {
    let mut found: BTreeMap<String, Failure> = BTreeMap::new();
    let sent = letters
        .iter()
        .filter_map(|letter| letter.number("SentTimestamp"));
    let Some(since) = sent.min() else {
        return Ok(found);
    };
    let mut request = json!({"logGroupName": group, "startTime": since,
                             "filterPattern": "\"message failed\""});
    loop {
        let page = match logs("FilterLogEvents", request.clone()) {
            // It has never been called.
            Err(error) if error.is("ResourceNotFoundException") => break,
            page => page.context(format!("reading {group}"))?,
        };
        for event in page["events"].as_array().into_iter().flatten() {
            if let Some((id, failure)) = failure(event)
                && found.get(&id).is_none_or(|known| known.at <= failure.at)
            {
                found.insert(id, failure);
            }
        }
        match &page["nextToken"] {
            Value::String(token) => request["nextToken"] = json!(token),
            _ => break,
        }
    }
    Ok(found)
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
    let is_id = |word: &str| Uuid::try_parse(word).is_ok();
    let mut text = String::new();
    let mut word = String::new();
    for character in error.chars().chain(['\n']) {
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
