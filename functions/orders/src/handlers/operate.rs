//! What operators do to orders in flight: list, show, retry, abandon. No route leads here: it is
//! called by name (`waybill saga`), with an operator's own AWS credentials.
//!
//! The call says who asks (`by`), which goes into the timeline; AWS tells a function nothing about
//! its caller. Whether the name is true is for CloudTrail, which records the call.

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup, sqs, telemetry};
use uuid::Uuid;

use super::view::{FailureBody, MoneyBody};
use crate::advance::{Applied, Saga};
use crate::domain::{
    Compensation, Entry, Event, MAX_ATTEMPTS, Order, OrderId, Rehearsal, What, abandonment, owed,
};
use crate::messages::{Routes, owed_message};
use crate::store::{Due, DuePartition};

/// The sweeper runs every minute: an order it has passed over twice is stuck.
pub const OVERDUE: SignedDuration = SignedDuration::from_secs(120);

/// A list stops here, and says where it goes on. An answer may have 6 MB; an order takes about 1 KB.
const LISTED: usize = 500;

/// How many entries of the index are read at once on the way to where a list goes on.
const SKIPPED: usize = 5_000;

/// How many orders are read side by side.
const CONCURRENCY: usize = 10;

const MAX_REASON_CHARACTERS: usize = 500;
const MAX_NAME_CHARACTERS: usize = 100;

/// Any step may be retried, so there is a route to every participant.
pub fn wire(setup: &Setup) -> Result<Saga, Error> {
    let routes = Routes::default()
        .users(setup.env("USERS_COMMANDS_QUEUE_URL")?)
        .inventory(setup.env("INVENTORY_COMMANDS_QUEUE_URL")?)
        .payments(setup.env("PAYMENTS_COMMANDS_QUEUE_URL")?);
    Saga::wire(setup, routes)
}

#[derive(Deserialize)]
#[serde(
    tag = "action",
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
enum Request {
    /// The orders that have not ended; only the stuck ones where asked for.
    List {
        #[serde(default)]
        stuck: bool,
        /// The `next_cursor` of the list before.
        #[serde(default)]
        cursor: Option<Cursor>,
    },
    Show {
        order_id: Uuid,
    },
    Retry {
        order_id: Uuid,
        by: String,
    },
    Abandon {
        order_id: Uuid,
        step: Step,
        reason: String,
        by: String,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Refund,
    Release,
}

/// A request that makes sense.
enum Call {
    List { stuck: bool, from: Cursor },
    Show(OrderId),
    Advance(OrderId, Event),
}

/// One call. An error is worth calling again for; what is wrong with a request is an answer, which
/// rings no alarm. Each action may be repeated as often as one likes.
pub async fn handle(saga: &Saga, context: Context, request: Value) -> Result<Value, Error> {
    match parse(request) {
        Ok(Call::List { stuck, from }) => list(saga, stuck, from, &context).await,
        Ok(Call::Show(id)) => show(saga, id, &context).await,
        Ok(Call::Advance(id, event)) => advance(saga, id, &event, &context).await,
        Err(detail) => Ok(json!({"outcome": "invalid", "detail": detail})),
    }
}

fn parse(request: Value) -> Result<Call, String> {
    let request: Request =
        serde_json::from_value(request).map_err(|error| format!("the request: {error}"))?;
    Ok(match request {
        Request::List { stuck, cursor } => Call::List {
            stuck,
            from: cursor.unwrap_or_default(),
        },
        Request::Show { order_id } => Call::Show(OrderId(order_id)),
        Request::Retry { order_id, by } => {
            let event = Event::RetryRequested { by: name(&by)? };
            Call::Advance(OrderId(order_id), event)
        }
        Request::Abandon {
            order_id,
            step,
            reason,
            by,
        } => {
            let event = Event::Abandoned {
                step: match step {
                    Step::Refund => Compensation::Refund,
                    Step::Release => Compensation::Release,
                },
                reason: line("reason", &reason, MAX_REASON_CHARACTERS)?,
                by: name(&by)?,
            };
            Call::Advance(OrderId(order_id), event)
        }
    })
}

fn name(text: &str) -> Result<String, String> {
    line("by", text, MAX_NAME_CHARACTERS)
}

/// A line of text, as the timeline keeps it.
fn line(field: &str, text: &str, limit: usize) -> Result<String, String> {
    let text = text.trim();
    if (1..=limit).contains(&text.chars().count()) && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "the request: {field} is not one line of 1 to {limit} characters"
        ))
    }
}

#[derive(Serialize)]
struct Report {
    order_id: Uuid,
    user_id: Uuid,
    status: &'static str,
    state: &'static str,
    /// The command that has had no answer yet.
    waits_for: Option<&'static str>,
    attempt: u32,
    max_attempts: u32,
    due_at: Option<Timestamp>,
    parked: bool,
    /// The sweeper has passed it over twice.
    overdue: bool,
    total: Option<MoneyBody>,
    failure: Option<FailureBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rehearsal: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timeline: Vec<EntryReport>,
}

#[derive(Serialize)]
struct EntryReport {
    at: Timestamp,
    event: &'static str,
    attempt: Option<u32>,
    detail: Option<String>,
}

impl Report {
    fn of(order: &Order, now: Timestamp) -> Self {
        Self {
            order_id: order.id.0,
            user_id: order.user_id.0,
            status: order.status().as_str(),
            state: order.state.as_str(),
            waits_for: owed(order).map(|command| command.action().message),
            attempt: order.attempt,
            max_attempts: MAX_ATTEMPTS,
            due_at: order.due_at,
            parked: order.parked,
            overdue: is_overdue(order, now),
            total: order.total.map(MoneyBody::from),
            failure: order.failure.as_ref().map(FailureBody::from),
            rehearsal: order.rehearsal.as_ref().map(Rehearsal::to_string),
            created_at: order.created_at,
            updated_at: order.updated_at,
            timeline: Vec::new(),
        }
    }

    fn whole(order: &Order, now: Timestamp) -> Self {
        Self {
            timeline: order.timeline.iter().map(EntryReport::from).collect(),
            ..Self::of(order, now)
        }
    }
}

impl From<&Entry> for EntryReport {
    fn from(entry: &Entry) -> Self {
        Self {
            at: entry.at,
            event: entry.what.as_str(),
            attempt: entry.attempt,
            detail: entry.detail.clone(),
        }
    }
}

fn is_overdue(order: &Order, now: Timestamp) -> bool {
    // Without a due time the sweeper cannot find it.
    let is_late = |due_at| now.duration_since(due_at) > OVERDUE;
    owed(order).is_some() && order.due_at.is_none_or(is_late)
}

/// An order whose row cannot be read.
#[derive(Serialize)]
struct UnreadableReport {
    order_id: Uuid,
    due_at: Timestamp,
    cause: String,
}

#[derive(Default, Serialize)]
struct Listing {
    orders: Vec<Report>,
    unreadable: Vec<UnreadableReport>,
    /// Entries of the index that do not even say which order they are about.
    nameless: usize,
    /// Where it goes on, if there is more.
    next_cursor: Option<Cursor>,
}

/// Where a list goes on. It holds for whoever may list anything at all.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// The partition, counted in the order they are listed in.
    partition: usize,
    /// In this partition, everything due before then has been listed,
    due_at: Option<Timestamp>,
    /// and of what is due then, these. (An index does not say in which order it gives equals.)
    listed: Vec<Uuid>,
    /// So many of its entries have been counted as nameless.
    nameless: usize,
}

impl Cursor {
    fn has_passed(&self, due: &Due) -> bool {
        self.due_at.is_some_and(|due_at| {
            due.at < due_at || (due.at == due_at && self.listed.contains(&due.id.0))
        })
    }

    fn pass(&mut self, due: &Due) {
        if self.due_at != Some(due.at) {
            self.due_at = Some(due.at);
            self.listed.clear();
        }
        self.listed.push(due.id.0);
    }
}

async fn list(saga: &Saga, stuck: bool, from: Cursor, context: &Context) -> Result<Value, Error> {
    let now = context.now;
    let mut list = Listing::default();
    // The parked ones first: nothing takes care of them but an operator.
    let shards = DuePartition::all().filter(|partition| *partition != DuePartition::Parked);
    let partitions = [DuePartition::Parked].into_iter().chain(shards);
    let mut cursor = from;
    for (number, partition) in partitions.enumerate().skip(cursor.partition) {
        if number != cursor.partition {
            cursor = Cursor {
                partition: number,
                ..Cursor::default()
            };
        }
        let by = match partition {
            DuePartition::Shard(_) if stuck => Some(now - OVERDUE),
            DuePartition::Shard(_) | DuePartition::Parked => None,
        };
        let is_resumed = cursor.due_at.is_some();
        let mut nameless = 0;
        let mut after = None;
        loop {
            let left = LISTED.saturating_sub(list.orders.len() + list.unreadable.len());
            let limit = if is_resumed { SKIPPED } else { left.max(1) };
            let page = saga.orders.due(partition, by, limit, after).await?;
            nameless += page.unreadable;
            if nameless > cursor.nameless {
                list.nameless += nameless - cursor.nameless;
                cursor.nameless = nameless;
            }
            let entries = page.entries.into_iter();
            let mut entries: Vec<Due> = entries.filter(|due| !cursor.has_passed(due)).collect();
            let is_cut = entries.len() > left;
            entries.truncate(left);
            entries.iter().for_each(|due| cursor.pass(due));
            let read: Vec<_> = stream::iter(entries)
                .map(|due| async move { (due, saga.orders.get(due.id).await) })
                .buffered(CONCURRENCY)
                .collect()
                .await;
            for (due, order) in read {
                match order {
                    Ok(Some(order)) => {
                        // The index runs behind; the order itself knows.
                        let wanted = owed(&order).is_some()
                            && (!stuck || order.parked || is_overdue(&order, now));
                        if wanted {
                            list.orders.push(Report::of(&order, now));
                        }
                    }
                    Ok(None) => {}
                    Err(error) if error.is_corrupt() => list.unreadable.push(UnreadableReport {
                        order_id: due.id.0,
                        due_at: due.at,
                        cause: telemetry::chain(&error),
                    }),
                    Err(error) => return Err(error.into()),
                }
            }
            if is_cut {
                list.next_cursor = Some(cursor);
                return Ok(json!(list));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(json!(list))
}

async fn show(saga: &Saga, id: OrderId, context: &Context) -> Result<Value, Error> {
    Ok(match saga.orders.get(id).await {
        Ok(None) => json!({"outcome": "no_such_order"}),
        Ok(Some(order)) => {
            json!({"outcome": "found", "order": Report::whole(&order, context.now)})
        }
        Err(error) if error.is_corrupt() => unreadable(&error),
        Err(error) => return Err(error.into()),
    })
}

fn unreadable(error: &TableError) -> Value {
    json!({"outcome": "unreadable", "detail": telemetry::chain(error)})
}

/// Carries an operator's decision through and sends what the order then owes. Dying in between
/// leaves it to the sweeper, or to the operator asking again; so does a send that fails, which is an
/// answer, because the decision stands.
async fn advance(
    saga: &Saga,
    id: OrderId,
    event: &Event,
    context: &Context,
) -> Result<Value, Error> {
    let (order, owes, written) = match saga.advance(id, event, context).await {
        Ok(Applied::Advanced(order)) => (order, true, true),
        Ok(Applied::Repeated(order)) => (order, true, false),
        Ok(Applied::Overtaken(order)) => (order, false, false),
        Ok(Applied::Refused(order, refusal)) => {
            let order = Report::whole(&order, context.now);
            return Ok(
                json!({"outcome": "refused", "detail": refusal.to_string(), "order": order}),
            );
        }
        Ok(Applied::NotFound) => return Ok(json!({"outcome": "no_such_order"})),
        Err(error) if error.is_corrupt() => return Ok(unreadable(&error)),
        Err(error) => return Err(error.into()),
    };
    let message = if owes {
        owed_message(&order, &saga.routes, context)
    } else {
        Ok(None)
    };
    let is_owed = !matches!(message, Ok(None));
    let failure = match message {
        Ok(message) => {
            let sent = sqs::send(&saga.queues, message.into_iter().collect()).await;
            sent.err().map(|error| telemetry::chain(&error))
        }
        Err(error) => Some(error.to_string()),
    };
    let outcome = match (&failure, outcome(&order, event, is_owed)) {
        // Nothing was recorded of what they wanted; what is owed is not theirs to send.
        (_, outcome @ ("answered" | "never_asked" | "abandoned_before")) => outcome,
        (Some(_), "abandoned") => "recorded_not_sent",
        (Some(_), _) if written => "recorded_not_sent",
        // It was asked for just now, and the order's row says so already.
        (Some(_), _) => "not_sent",
        (None, outcome) => outcome,
    };
    tracing::warn!(
        event = "operated",
        order_id = %order.id.0,
        outcome,
        state = ?order.state,
        cause = failure,
        trace_id = context.trace_id(),
        "{}",
        match written {
            true => "an operator stepped in; the order's timeline says who and why",
            false => "an operator stepped in, and there was nothing to record",
        }
    );
    let mut answer = json!({"outcome": outcome, "order": Report::whole(&order, context.now)});
    if let Some(failure) = failure {
        answer["detail"] = json!(failure);
    }
    Ok(answer)
}

/// What an operator is told became of their decision.
fn outcome(order: &Order, event: &Event, sent: bool) -> &'static str {
    let happened = |what| order.timeline.iter().any(|entry| entry.what == what);
    match event {
        Event::Abandoned { step, reason, by } => {
            let (what, asked, answered) = match step {
                Compensation::Refund => (
                    What::RefundAbandoned,
                    What::RefundPaymentRequested,
                    What::PaymentRefunded,
                ),
                Compensation::Release => (
                    What::ReleaseAbandoned,
                    What::ReleaseStockRequested,
                    What::StockReleased,
                ),
            };
            let theirs = abandonment(by, reason);
            let mut timeline = order.timeline.iter();
            match timeline.find(|entry| entry.what == what) {
                Some(entry) if entry.detail.as_ref() == Some(&theirs) => "abandoned",
                // Somebody else decided, or they did for another reason: only that is recorded.
                Some(_) => "abandoned_before",
                // The step's answer came before the operator's decision.
                None if happened(asked) || happened(answered) => "answered",
                None => "never_asked",
            }
        }
        Event::UserVerified { .. }
        | Event::UserRefused { .. }
        | Event::StockReserved { .. }
        | Event::StockRefused { .. }
        | Event::StockReleased
        | Event::PaymentCharged { .. }
        | Event::PaymentDeclined { .. }
        | Event::PaymentRefunded { .. }
        | Event::CancelRequested { .. }
        | Event::Due
        | Event::RetryRequested { .. } => {
            if sent {
                "sent"
            } else {
                "nothing_owed"
            }
        }
    }
}
