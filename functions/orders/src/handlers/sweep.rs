//! The sweeper: every minute it finds the orders whose time is up and sends again what they owe,
//! gives up a step that was tried often enough, or parks what cannot be undone.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use shared_lambda::sqs::{self, Outgoing};
use shared_lambda::{Context, Error, telemetry};

use super::{Applied, apply};
use crate::domain::{Event, OrderId, StepTimeout};
use crate::messages::{Routes, owed_message};
use crate::store::{DuePartition, OrderStore};

/// How many orders of a partition one run takes on; the rest are due in the next run as well.
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
/// whole then fails too, so that its alarm rings.
pub async fn handle(sweep: &Sweep, context: Context) -> Result<Value, Error> {
    let mut tally = Tally::default();
    for partition in DuePartition::all() {
        match sweep
            .orders
            .due(partition, context.now, ORDERS_PER_PARTITION)
            .await
        {
            Ok(ids) => drive(sweep, &ids, &context, &mut tally).await,
            Err(error) => tally.failed(None, &error, &context),
        }
    }
    if tally.failures > 0 {
        return Err(format!("{} orders or partitions could not be swept", tally.failures).into());
    }
    Ok(json!({"due": tally.due, "sent": tally.sent, "parked": tally.parked}))
}

#[derive(Default)]
struct Tally {
    due: usize,
    sent: usize,
    parked: usize,
    failures: usize,
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
            Err(error) => tally.failed(Some(id), &error, context),
        }
    }
    let count = owed.len();
    match sqs::send(&sweep.queues, owed).await {
        Ok(()) => tally.sent += count,
        Err(error) => tally.failed(None, &error, context),
    }
}
