//! The sweeper: every minute it finds the orders whose time is up and sends again what they owe,
//! gives up a step that was tried often enough, or parks what cannot be undone.

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared_lambda::sqs::{self, Outgoing};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, telemetry};

use super::{Applied, apply};
use crate::domain::{Event, OrderId, Rehearsal, StepTimeout};
use crate::messages::{Routes, owed_message};
use crate::store::{DuePartition, OrderStore};

/// How many readable orders of a partition one run takes on; the rest are due in the next run as well.
const ORDERS_PER_PARTITION: usize = 250;

/// How many orders are driven side by side.
const CONCURRENCY: usize = 10;

/// What sweeping needs.
pub struct Sweep {
    pub orders: OrderStore,
    pub queues: aws_sdk_sqs::Client,
    pub routes: Routes,
    pub timeout: StepTimeout,
}

/// One run. A partition or an order that fails does not keep the others waiting; the run as a
/// whole then fails too, so that its alarm rings. An order that cannot be read has an alarm of its
/// own: it would fail every run there is.
pub async fn handle(sweep: &Sweep, context: Context) -> Result<Value, Error> {
    let mut tally = Tally::default();
    for partition in DuePartition::all() {
        if let Err(error) = sweep_partition(sweep, partition, &context, &mut tally).await {
            tally.failed(None, &error, &context);
        }
    }
    // Counted anew by every run: an alarm on what is parked must not depend on whoever parked it
    // having lived to say so.
    let parked_now = match sweep.orders.count(DuePartition::Parked).await {
        Ok(count) => Some(count),
        Err(error) => {
            tally.failed(None, &error, &context);
            None
        }
    };
    tally.report(parked_now, &context);
    if tally.failures > 0 {
        return Err(format!("{} orders or partitions could not be swept", tally.failures).into());
    }
    Ok(json!({
        "due": tally.due,
        "sent": tally.sent,
        "parked": tally.parked,
        "unreadable": tally.unreadable,
        "parked_now": parked_now,
    }))
}

async fn sweep_partition(
    sweep: &Sweep,
    partition: DuePartition,
    context: &Context,
    tally: &mut Tally,
) -> Result<(), TableError> {
    let (mut left, mut after) = (ORDERS_PER_PARTITION, None);
    loop {
        let page = sweep
            .orders
            .due(partition, Some(context.now), left, after)
            .await?;
        tally.unreadable += page.unreadable;
        for due in &page.entries {
            tally.oldest_due = Some(tally.oldest_due.map_or(due.at, |at| at.min(due.at)));
        }
        let ids: Vec<OrderId> = page.entries.iter().map(|due| due.id).collect();
        let unreadable = tally.unreadable;
        drive(sweep, &ids, context, tally).await;
        // What cannot be read stays at the head of the line, where it must not take the place of
        // those that can.
        left -= ids.len().saturating_sub(tally.unreadable - unreadable);
        after = page.next;
        if left == 0 || after.is_none() {
            return Ok(());
        }
    }
}

#[derive(Default)]
struct Tally {
    due: usize,
    sent: usize,
    parked: usize,
    unreadable: usize,
    failures: usize,
    oldest_due: Option<Timestamp>,
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
            "could not be swept; the next run tries again"
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
        tracing::info!(
            target: telemetry::METRICS,
            event = "swept",
            due = self.due,
            sent = self.sent,
            parked_now,
            unreadable = self.unreadable,
            oldest_due_seconds = overdue,
            failures = self.failures,
            trace_id = context.trace_id(),
            "swept"
        );
    }
}

async fn drive(sweep: &Sweep, ids: &[OrderId], context: &Context, tally: &mut Tally) {
    let driven: Vec<_> = stream::iter(ids.iter().copied())
        .map(|id| async move {
            let applied = apply(&sweep.orders, id, &Event::Due, sweep.timeout, context).await;
            (id, applied)
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let mut owed: Vec<Outgoing> = Vec::new();
    for (id, applied) in driven {
        match applied {
            Ok(Applied::Order { order, owes: true }) => {
                tally.due += 1;
                if order.parked {
                    tally.parked += 1;
                    tracing::error!(
                        event = "order_parked",
                        order_id = %order.id.0,
                        state = ?order.state,
                        attempt = order.attempt,
                        rehearsal = order.rehearsal.as_ref().map(Rehearsal::to_string),
                        trace_id = context.trace_id(),
                        "a compensation has no answer: see the participant's dead-letter queue"
                    );
                }
                owed.extend(owed_message(&order, &sweep.routes, context));
            }
            // Moved on, ended or gone since the index was written.
            Ok(
                Applied::Order { owes: false, .. } | Applied::Refused { .. } | Applied::NoSuchOrder,
            ) => {}
            Err(error) if error.is_corrupt() => tally.unreadable(id, &error, context),
            Err(error) => tally.failed(Some(id), &error, context),
        }
    }
    let count = owed.len();
    match sqs::send(&sweep.queues, owed).await {
        Ok(()) => tally.sent += count,
        Err(error) => tally.failed(None, &error, context),
    }
}
