//! The timeline in an order's row.
//!
//! Schema 2 has a text for each entry, `1250 charge_payment_requested#2: detail`: the milliseconds since
//! `created_at`, the event, the attempt and the detail. Schema 1 has a map, two and a half times as long.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared_lambda::Error;
use shared_lambda::table::{Row, read_row};

use crate::domain::{Entry, TimelineEvent};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum EntryRow {
    Text(String),
    /// Schema 1.
    Map {
        at: Timestamp,
        what: String,
        attempt: Option<u32>,
        detail: Option<String>,
    },
}

/// The change of a row from schema 1 to 2. Only orders have a timeline.
pub fn compacted(row: &Row) -> Result<Option<Row>, Error> {
    #[derive(Deserialize)]
    struct Part {
        created_at: Timestamp,
        timeline: Vec<EntryRow>,
    }
    if !row.contains_key("timeline") {
        return Ok(None);
    }
    let part: Part = read_row("compact a timeline", row.clone(), Ok)?;
    let texts = part.timeline.into_iter().map(|entry| {
        let entry = entry.read(part.created_at)?;
        Some(AttributeValue::S(text(&entry, part.created_at)))
    });
    let texts: Option<Vec<_>> = texts.collect();
    let texts = texts.ok_or("the order's row has an unknown, missing or invalid timeline entry")?;
    let mut next = row.clone();
    next.insert("timeline".to_owned(), AttributeValue::L(texts));
    Ok(Some(next))
}

impl EntryRow {
    pub fn of(entry: &Entry, created_at: Timestamp) -> Self {
        Self::Text(text(entry, created_at))
    }

    /// None if it is no entry that this code knows.
    pub fn read(self, created_at: Timestamp) -> Option<Entry> {
        match self {
            Self::Text(text) => read(&text, created_at),
            Self::Map {
                at,
                what,
                attempt,
                detail,
            } => Some(Entry {
                at,
                event: TimelineEvent::parse(&what)?,
                attempt,
                detail,
            }),
        }
    }
}

fn text(entry: &Entry, created_at: Timestamp) -> String {
    let millis = entry.at.duration_since(created_at).as_millis();
    let mut text = format!("{millis} {}", entry.event.as_str());
    if let Some(attempt) = entry.attempt {
        text.push_str(&format!("#{attempt}"));
    }
    if let Some(detail) = &entry.detail {
        text.push_str(&format!(": {detail}"));
    }
    text
}

fn read(text: &str, created_at: Timestamp) -> Option<Entry> {
    let (millis, rest) = text.split_once(' ')?;
    let after = SignedDuration::from_millis(millis.parse().ok()?);
    let (head, detail) = match rest.split_once(": ") {
        Some((head, detail)) => (head, Some(detail.to_owned())),
        None => (rest, None),
    };
    let (event, attempt) = match head.split_once('#') {
        Some((event, attempt)) => (event, Some(attempt.parse().ok()?)),
        None => (head, None),
    };
    Some(Entry {
        at: created_at.checked_add(after).ok()?,
        event: TimelineEvent::parse(event)?,
        attempt,
        detail,
    })
}
