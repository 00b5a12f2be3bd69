//! The timeline in an order's row.
//!
//! Schema 2 has a text for each entry, `1250 charge_payment_requested#2: detail`: the milliseconds since
//! `created_at`, the event, the attempt and the detail. Schema 1 has a map, of almost three times the size.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::{Entry, TimelineEvent};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum EntryRow {
    Text(String),
    Map {
        at: Timestamp,
        what: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

impl EntryRow {
    pub fn of(entry: &Entry) -> Self {
        Self::Map {
            at: entry.at,
            what: entry.event.as_str().to_owned(),
            attempt: entry.attempt,
            detail: entry.detail.clone(),
        }
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
