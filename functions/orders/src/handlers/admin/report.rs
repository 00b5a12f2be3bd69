//! The report of an order for operators.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Entry, InjectedFaults, MAX_ATTEMPTS, Order, STEPS, owed};
use crate::handlers::view::{FailureBody, MoneyBody};

/// The sweeper runs every minute. An order that it has missed twice is stuck.
pub const OVERDUE: SignedDuration = SignedDuration::from_secs(120);

#[derive(Serialize)]
pub struct Report {
    order_id: Uuid,
    user_id: Uuid,
    status: &'static str,
    state: &'static str,
    /// The command without an answer yet.
    waits_for: Option<&'static str>,
    /// The service that must answer.
    participant: Option<&'static str>,
    /// The name to abandon the command by, if it is a compensation.
    compensation: Option<&'static str>,
    next: Next,
    attempt: u32,
    max_attempts: u32,
    due_at: Option<Timestamp>,
    parked: bool,
    /// The sweeper has missed the order twice.
    overdue: bool,
    total: Option<MoneyBody>,
    failure: Option<FailureBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "rehearsal")]
    faults: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timeline: Vec<EntryReport>,
    /// The compensations that operators abandoned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    abandoned: Vec<Abandoned>,
}

/// The operator's next move.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Next {
    /// The order has ended.
    Nothing,
    /// The sweeper will send the command again.
    Wait,
    Retry,
    /// The order is parked: repair the participant and retry, or abandon the compensation.
    RetryOrAbandon,
}

#[derive(Serialize)]
struct Abandoned {
    step: &'static str,
    /// The commands that must not be executed any more.
    commands: [&'static str; 2],
    #[serde(flatten)]
    entry: EntryReport,
}

#[derive(Serialize)]
struct EntryReport {
    at: Timestamp,
    event: &'static str,
    attempt: Option<u32>,
    detail: Option<String>,
}

impl Report {
    pub fn of(order: &Order, now: Timestamp) -> Self {
        let owed = owed(order);
        let undo = owed.and_then(|command| command.undo());
        let overdue = is_overdue(order, now);
        Self {
            order_id: order.id.0,
            user_id: order.user_id.0,
            status: order.status().as_str(),
            state: order.state.as_str(),
            waits_for: owed.map(|command| command.action().message),
            participant: owed.map(|command| command.step().participant.as_str()),
            compensation: undo.map(|undo| undo.name),
            next: match owed {
                None => Next::Nothing,
                Some(_) if order.parked => Next::RetryOrAbandon,
                Some(_) if overdue => Next::Retry,
                Some(_) => Next::Wait,
            },
            attempt: order.attempt,
            max_attempts: MAX_ATTEMPTS,
            due_at: order.due_at,
            parked: order.parked,
            overdue,
            total: order.total.map(MoneyBody::from),
            failure: order.failure.as_ref().map(FailureBody::from),
            faults: order.faults.as_ref().map(InjectedFaults::to_string),
            created_at: order.created_at,
            updated_at: order.updated_at,
            timeline: Vec::new(),
            abandoned: Vec::new(),
        }
    }

    pub fn whole(order: &Order, now: Timestamp) -> Self {
        let abandoned = STEPS.iter().filter_map(|step| {
            let undo = step.undo.as_ref()?;
            let mut timeline = order.timeline.iter();
            let entry = timeline.find(|entry| entry.event == undo.abandoned)?;
            Some(Abandoned {
                step: undo.name,
                commands: [step.action.message, undo.action.message],
                entry: entry.into(),
            })
        });
        Self {
            timeline: order.timeline.iter().map(EntryReport::from).collect(),
            abandoned: abandoned.collect(),
            ..Self::of(order, now)
        }
    }
}

impl From<&Entry> for EntryReport {
    fn from(entry: &Entry) -> Self {
        Self {
            at: entry.at,
            event: entry.event.as_str(),
            attempt: entry.attempt,
            detail: entry.detail.clone(),
        }
    }
}

pub fn is_overdue(order: &Order, now: Timestamp) -> bool {
    // Without a due time the sweeper cannot find the order.
    let is_late = |due_at| now.duration_since(due_at) > OVERDUE;
    owed(order).is_some() && order.due_at.is_none_or(is_late)
}
