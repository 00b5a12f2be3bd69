//! The sweeper: every minute it finds the due orders. It sends their commands again, gives up forward
//! steps after their last attempt, and parks compensations. It holds back an order whose command waits
//! in a backlog.

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
use crate::store::{Due, DuePartition, DuePosition};

/// The number of orders that are advanced in parallel. Their commands are then sent as one batch. If the
/// run is cut short, only these attempts can be counted without a command.
const CONCURRENCY: usize = 10;

/// How many orders of one partition are read before the next partition's turn.
const PAGE: usize = 100;

/// A run starts no further orders after this. Those it has started may then take two table calls of
/// eight seconds, the timeout below and a last count. The function has a minute.
const START_WITHIN: Duration = Duration::from_secs(25);

/// The timeout of one batch. A command that is not sent waits for its order's next attempt.
const SEND_TIMEOUT: Duration = Duration::from_secs(8);

/// The dependencies of the sweeper.
pub struct Sweep {
    pub saga: Saga,
    /// The URL of the queue `orders-replies`.
    pub replies: String,
}

/// Any step may be due, so there is a route to every participant.
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

/// Runs once. If a partition or an order fails, the others continue. The run then fails at its end, which
/// raises its alarm. An unreadable order has a separate alarm, because it would fail every run.
pub async fn handle(sweep: &Sweep, context: Context) -> Result<Value, Error> {
    let limit = TimeLimit::of(START_WITHIN);
    let mut tally = Tally::default();
    let mut turns = turns(context.now);
    // One page of each partition in turn, so that one partition's backlog does not delay the others.
    while let Some((partition, after)) = turns.pop_front() {
        if limit.is_over() {
            tally.cut_short = true;
            break;
        }
        match sweep_page(sweep, partition, after, limit, &context, &mut tally).await {
            Ok(Some(next)) => turns.push_back((partition, Some(next))),
            Ok(None) => {}
            Err(error) => {
                tally.incomplete = true;
                tally.failed(None, &error, &context);
            }
        }
    }
    // Every run counts the parked orders. The run that parked them may have crashed before it logged
    // them, so the alarm must not depend on that run.
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

type Turn = (DuePartition, Option<DuePosition>);

/// All partitions. Each minute begins with a different one. So runs that are cut short do not always
/// skip the same partitions.
fn turns(now: Timestamp) -> VecDeque<Turn> {
    let mut turns: VecDeque<Turn> = DuePartition::all().map(|which| (which, None)).collect();
    let first = (now.as_second() / 60).rem_euclid(turns.len() as i64);
    turns.rotate_left(first as usize);
    turns
}

/// Sweeps one page of a partition, and returns the start of the next page. A run reads the queues'
/// lengths once, before its first order.
async fn sweep_page(
    sweep: &Sweep,
    partition: DuePartition,
    after: Option<DuePosition>,
    limit: TimeLimit,
    context: &Context,
    tally: &mut Tally,
) -> Result<Option<DuePosition>, TableError> {
    let page = sweep
        .saga
        .orders
        .due(partition, Some(context.now), PAGE, after)
        .await?;
    tally.unreadable += page.unreadable;
    for due in page.entries.chunks(CONCURRENCY) {
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
            tally.backlogs = Some(Backlogs::read(&sweep.saga.queues, queues, context).await);
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
    backlogs: Option<Backlogs>,
    /// The earliest due time of the readable orders.
    oldest_due: Option<Timestamp>,
    /// The time was up before the work was done; the next run continues.
    cut_short: bool,
    /// A page could not be read.
    incomplete: bool,
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
            order = id.map(|id| id.0.to_string()),
            trace = context.trace_id(),
            cause = telemetry::chain(error),
            "an order or a partition could not be swept; the next run tries again, or the first run \
             after due_at if this attempt was counted"
        );
    }

    /// The attempt is counted, but its command was not sent.
    fn not_sent(&mut self, order: &Order, cause: &str, context: &Context) {
        self.failures += 1;
        tracing::error!(
            event = "command_not_sent",
            order = %order.id.0,
            trace = context.trace_id(),
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
            order = %id.0,
            trace = context.trace_id(),
            cause = telemetry::chain(error),
            "the order's row is invalid; the order waits until the row is repaired"
        );
    }

    /// Logs the line that the template's metric filters read.
    fn report(&self, parked_now: Option<usize>, context: &Context) {
        let overdue = self
            .oldest_due
            .map_or(0, |due_at| context.now.duration_since(due_at).as_secs());
        // An incomplete run must not end the alarm on unreadable orders.
        let unreadable = (!self.cut_short && !self.incomplete).then_some(self.unreadable);
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
            trace = context.trace_id(),
            "swept"
        );
    }
}

/// Advances some orders, and sends the commands they then owe.
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
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let (mut senders, mut owed): (Vec<Box<Order>>, Vec<Outgoing>) = Default::default();
    for (due, applied) in driven {
        match applied {
            None => tally.held_back += 1,
            Some(Err(error)) if error.is_corrupt() => {
                tally.unreadable(due.id, &error, context);
                // An operator must repair it, so it does not count as overdue.
                continue;
            }
            Some(Err(error)) => tally.failed(Some(due.id), &error, context),
            Some(Ok(Applied::Advanced(order) | Applied::Repeated(order))) => {
                tally.due += 1;
                log_transition(&order, context, tally);
                match owed_message(&order, &sweep.saga.routes, context) {
                    Ok(Some(message)) => {
                        owed.push(message);
                        senders.push(order);
                    }
                    Ok(None) => {}
                    Err(error) => tally.not_sent(&order, &error.to_string(), context),
                }
            }
            // The order has moved on, ended or gone since the index was written.
            Some(Ok(Applied::Overtaken(_) | Applied::Refused(..) | Applied::NotFound)) => {}
        }
        tally.oldest_due = Some(tally.oldest_due.map_or(due.at, |at| at.min(due.at)));
    }
    let sent = sqs::send_within(SEND_TIMEOUT, &sweep.saga.queues, owed).await;
    for (index, order) in senders.iter().enumerate() {
        let error = sent.as_ref().err();
        match error.and_then(|error| error.cause_of(index)) {
            Some(cause) => tally.not_sent(order, cause, context),
            None => tally.sent += 1,
        }
    }
}

/// Whether this run leaves the order unchanged. Without a backlog the order is not read here. An
/// unreadable order is reported when it is advanced.
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

/// Logs a transition that may need an operator.
fn log_transition(order: &Order, context: &Context, tally: &mut Tally) {
    let faults = order.faults.as_ref().map(InjectedFaults::to_string);
    if order.parked {
        tally.parked += 1;
        tracing::error!(
            event = "order_parked",
            order = %order.id.0,
            state = ?order.state,
            attempt = order.attempt,
            faults,
            trace = context.trace_id(),
            "a compensation has no answer; see the participant's dead-letter queue"
        );
        return;
    }
    let given_up = order
        .timeline
        .iter()
        .rev()
        .take_while(|entry| entry.at == context.now)
        .find(|entry| entry.event == TimelineEvent::StepTimedOut);
    if let Some(entry) = given_up {
        tally.given_up += 1;
        tracing::warn!(
            event = "step_given_up",
            order = %order.id.0,
            state = ?order.state,
            faults,
            trace = context.trace_id(),
            "{}; the saga undoes it; see the participant's queue and its log",
            entry.detail.as_deref().unwrap_or("no answer")
        );
    }
}
