//! The sweeper: every minute it finds the orders whose time is up and sends again what they owe,
//! gives up a step that was tried often enough, or parks what cannot be undone. An order whose command
//! waits in a queue that is behind is left alone for a while.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared_lambda::schedule::TimeLimit;
use shared_lambda::sqs::{self, Outgoing};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup, telemetry};

use super::backlog::Backlogs;
use crate::advance::{Applied, Saga};
use crate::domain::{Event, InjectedFaults, Order, OrderId, TimelineEvent};
use crate::messages::{Routes, owed_message};
use crate::store::{Due, DuePartition, DuePlace};

/// How many orders are driven side by side, and then sent for at once: as many as a batch of messages
/// takes. An attempt that was counted and not sent is one that its participant never heard of, so
/// what a run that is cut short leaves unsent must be little.
const SIDE_BY_SIDE: usize = 10;

/// How many orders of one partition are read before it is another's turn.
const PAGE: usize = 100;

/// When a run takes on nothing more. What it has begun may then take two calls of eight seconds at the
/// table, the patience below and a last call that counts, and the function has a minute.
const TAKES_ON_FOR: Duration = Duration::from_secs(25);

/// How long the queues are waited for, for each ten orders. What they do not take has its next attempt.
const SEND_PATIENCE: Duration = Duration::from_secs(8);

/// What sweeping needs.
pub struct Sweep {
    pub saga: Saga,
    /// The queue of the answers.
    pub replies: String,
}

/// Any step's time may be up, so there is a route to every participant.
pub fn wire(setup: &Setup) -> Result<Sweep, Error> {
    let routes = Routes::default()
        .users(setup.env("USERS_COMMANDS_QUEUE_URL")?)
        .inventory(setup.env("INVENTORY_COMMANDS_QUEUE_URL")?)
        .payments(setup.env("PAYMENTS_COMMANDS_QUEUE_URL")?);
    Ok(Sweep {
        saga: Saga::wire(setup, routes)?,
        replies: setup.env("ORDERS_REPLIES_QUEUE_URL")?,
    })
}

/// One run. A partition or an order that fails does not keep the others waiting; the run as a
/// whole then fails too, so that its alarm rings. An order that cannot be read has an alarm of its
/// own: it would fail every run there is.
pub async fn handle(sweep: &Sweep, context: Context) -> Result<Value, Error> {
    let limit = TimeLimit::of(TAKES_ON_FOR);
    let mut tally = Tally::default();
    let mut turns = turns(context.now);
    // A page of each in turn, so that no partition's backlog is another's.
    while let Some((partition, after)) = turns.pop_front() {
        if limit.is_over() {
            tally.cut_short = true;
            break;
        }
        match sweep_page(sweep, partition, after, limit, &context, &mut tally).await {
            Ok(Some(next)) => turns.push_back((partition, Some(next))),
            Ok(None) => {}
            Err(error) => {
                tally.unseen = true;
                tally.failed(None, &error, &context);
            }
        }
    }
    // Counted anew by every run: an alarm on what is parked must not depend on whoever parked it
    // having lived to say so.
    let parked_now = match sweep.saga.orders.count(DuePartition::Parked).await {
        Ok(count) => Some(count),
        Err(error) => {
            tally.failed(None, &error, &context);
            None
        }
    };
    tally.report(parked_now, &context);
    if tally.failures > 0 {
        return Err(format!(
            "{} orders or partitions could not be swept; the log names each",
            tally.failures
        )
        .into());
    }
    Ok(json!({
        "due": tally.due,
        "sent": tally.sent,
        "parked": tally.parked,
        "given_up": tally.given_up,
        "unreadable": tally.unreadable,
        "cut_short": tally.cut_short,
        "parked_now": parked_now,
        "held_back": tally.held_back,
    }))
}

type Turn = (DuePartition, Option<DuePlace>);

/// Every partition, another one first in every minute: where runs do not get through, it is not the
/// same ones that wait.
fn turns(now: Timestamp) -> VecDeque<Turn> {
    let mut turns: VecDeque<Turn> = DuePartition::all().map(|which| (which, None)).collect();
    let first = (now.as_second() / 60).rem_euclid(turns.len() as i64);
    turns.rotate_left(first as usize);
    turns
}

/// A page of a partition; where the next one begins, if there is one. The queues are asked once in a
/// run, before the first order is driven.
async fn sweep_page(
    sweep: &Sweep,
    partition: DuePartition,
    after: Option<DuePlace>,
    limit: TimeLimit,
    context: &Context,
    tally: &mut Tally,
) -> Result<Option<DuePlace>, TableError> {
    let page = sweep
        .saga
        .orders
        .due(partition, Some(context.now), PAGE, after)
        .await?;
    tally.unreadable += page.unreadable;
    for due in page.entries.chunks(SIDE_BY_SIDE) {
        if limit.is_over() {
            tally.cut_short = true;
            break;
        }
        if tally.backlogs.is_none() {
            let queues = sweep
                .saga
                .routes
                .queue_urls()
                .chain([sweep.replies.as_str()]);
            tally.backlogs = Some(Backlogs::look(&sweep.saga.queues, queues, context).await);
        }
        drive(sweep, due, context, tally).await;
    }
    Ok(page.next)
}

#[derive(Default)]
struct Tally {
    due: usize,
    sent: usize,
    parked: usize,
    given_up: usize,
    unreadable: usize,
    held_back: usize,
    failures: usize,
    /// What was found when the queues were asked.
    backlogs: Option<Backlogs>,
    /// Since when the order has been due that had been so for longest, of those that can be read.
    oldest_due: Option<Timestamp>,
    /// There was more to do than there was time for; the next run goes on.
    cut_short: bool,
    /// A page could not be read.
    unseen: bool,
}

impl Tally {
    fn failed(
        &mut self,
        id: Option<OrderId>,
        error: &(dyn std::error::Error + 'static),
        context: &Context,
    ) {
        self.failures += 1;
        tracing::error!(
            order_id = id.map(|id| id.0.to_string()),
            trace_id = context.trace_id(),
            cause = telemetry::chain(error),
            "could not be swept; the next run tries again, or the one after its step's time if this \
             attempt was counted"
        );
    }

    /// Its attempt is counted, and the participant has not heard of it.
    fn not_sent(&mut self, order: &Order, cause: &str, context: &Context) {
        self.failures += 1;
        tracing::error!(
            event = "command_not_sent",
            order_id = %order.id.0,
            trace_id = context.trace_id(),
            state = ?order.state,
            attempt = order.attempt,
            due_at = order.due_at.map(|at| at.to_string()),
            cause,
            "its command could not be sent; it is sent by the first run after due_at, or at once by \
             waybill saga retry"
        );
    }

    fn unreadable(&mut self, id: OrderId, error: &TableError, context: &Context) {
        self.unreadable += 1;
        tracing::error!(
            event = "order_unreadable",
            order_id = %id.0,
            trace_id = context.trace_id(),
            cause = telemetry::chain(error),
            "its row is not what this service writes: it waits until the row is mended"
        );
    }

    /// The line that the metric filters of the template read.
    fn report(&self, parked_now: Option<usize>, context: &Context) {
        let overdue = self
            .oldest_due
            .map_or(0, |due_at| context.now.duration_since(due_at).as_secs());
        // An alarm must not end because a run has not seen everything.
        let unreadable = (!self.cut_short && !self.unseen).then_some(self.unreadable);
        tracing::info!(
            target: telemetry::METRICS,
            event = "swept",
            due = self.due,
            sent = self.sent,
            parked_now,
            given_up = self.given_up,
            unreadable,
            held_back = self.held_back,
            oldest_due_seconds = overdue,
            cut_short = self.cut_short,
            failures = self.failures,
            trace_id = context.trace_id(),
            "swept"
        );
    }
}

/// Carries some orders a step on, and sends what they then owe.
async fn drive(sweep: &Sweep, due: &[Due], context: &Context, tally: &mut Tally) {
    let backlogs = tally.backlogs.as_ref();
    let driven: Vec<_> = stream::iter(due.iter().copied())
        .map(|due| async move {
            if let Some(backlogs) = backlogs
                && is_held_back(sweep, backlogs, due.id, context).await
            {
                return (due, None);
            }
            let applied = sweep.saga.advance(due.id, &Event::Due, context).await;
            (due, Some(applied))
        })
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    let (mut whose, mut owed): (Vec<Box<Order>>, Vec<Outgoing>) = Default::default();
    for (due, applied) in driven {
        match applied {
            None => tally.held_back += 1,
            Some(Err(error)) if error.is_corrupt() => {
                tally.unreadable(due.id, &error, context);
                // It waits for somebody to mend it, not for the sweeper.
                continue;
            }
            Some(Err(error)) => tally.failed(Some(due.id), &error, context),
            Some(Ok(Applied::Advanced(order) | Applied::Repeated(order))) => {
                tally.due += 1;
                tell(&order, context, tally);
                match owed_message(&order, &sweep.saga.routes, context) {
                    Ok(Some(message)) => {
                        owed.push(message);
                        whose.push(order);
                    }
                    Ok(None) => {}
                    Err(error) => tally.not_sent(&order, &error.to_string(), context),
                }
            }
            // Moved on, ended or gone since the index was written.
            Some(Ok(Applied::Overtaken(_) | Applied::Refused(..) | Applied::NotFound)) => {}
        }
        tally.oldest_due = Some(tally.oldest_due.map_or(due.at, |at| at.min(due.at)));
    }
    let sent = sqs::send_within(SEND_PATIENCE, &sweep.saga.queues, owed).await;
    for (index, order) in whose.iter().enumerate() {
        let error = sent.as_ref().err();
        match error.and_then(|error| error.cause_of(index)) {
            Some(cause) => tally.not_sent(order, cause, context),
            None => tally.sent += 1,
        }
    }
}

/// Whether an order is left as it is in this run: nothing is written, counted or sent. Where no queue is
/// behind, the order is not read here. One that cannot be read is reported when it is driven.
async fn is_held_back(sweep: &Sweep, backlogs: &Backlogs, id: OrderId, context: &Context) -> bool {
    if backlogs.is_empty() {
        return false;
    }
    let order = sweep.saga.orders.get(id).await;
    order.is_ok_and(|order| {
        order.is_some_and(|order| {
            backlogs.hold_back(&order, &sweep.saga.routes, &sweep.replies, context)
        })
    })
}

/// What somebody may have to do something about.
fn tell(order: &Order, context: &Context, tally: &mut Tally) {
    let faults = order.faults.as_ref().map(InjectedFaults::to_string);
    if order.parked {
        tally.parked += 1;
        tracing::error!(
            event = "order_parked",
            order_id = %order.id.0,
            state = ?order.state,
            attempt = order.attempt,
            faults,
            trace_id = context.trace_id(),
            "a compensation has no answer: see the participant's dead-letter queue"
        );
        return;
    }
    let given_up = order
        .timeline
        .iter()
        .rev()
        .take_while(|entry| entry.at == context.now)
        .find(|entry| entry.what == TimelineEvent::StepTimedOut);
    if let Some(entry) = given_up {
        tally.given_up += 1;
        tracing::warn!(
            event = "step_given_up",
            order_id = %order.id.0,
            state = ?order.state,
            faults,
            trace_id = context.trace_id(),
            "{}; what it may have done is undone: see the participant's queue and its log",
            entry.detail.as_deref().unwrap_or("no answer")
        );
    }
}
