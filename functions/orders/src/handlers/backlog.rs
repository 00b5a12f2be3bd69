//! Which queues are behind. A command that waits there, or whose answer does, was sent: sending it again
//! would only make the queue longer.
//!
//! SQS does not say how old a message is: `ApproximateAgeOfOldestMessage` is a metric, minutes late, and
//! reading metrics cannot be allowed for one queue alone. So the number of waiting messages decides.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
use futures_util::future::join_all;
use jiff::SignedDuration;
use shared_lambda::{Context, Error, telemetry};
use tokio::time::timeout;

use crate::domain::Order;
use crate::messages::{Routes, owed_message};

/// The most messages that the function of any of these queues takes at once: its trigger's
/// `MaximumConcurrency` times its `BatchSize`. What is beyond that waits for its turn.
pub const TAKEN_AT_ONCE: u64 = 200;

/// How long an order whose command waits in such a queue is left alone, from when it was due. The
/// command may be lost after all.
pub const HELD_BACK_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How long the queues are asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// The queues that are behind, by their addresses.
#[derive(Debug, Default)]
pub struct Backlogs(HashSet<String>);

impl Backlogs {
    /// Asks each of these. One that does not answer counts as not behind.
    pub async fn look(
        client: &aws_sdk_sqs::Client,
        queues: impl Iterator<Item = &str>,
        context: &Context,
    ) -> Self {
        let asked = queues.map(|queue| async move {
            let waiting = timeout(PATIENCE, waiting(client, queue)).await;
            let trace_id = context.trace_id();
            match waiting.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                Ok(waiting) if waiting > TAKEN_AT_ONCE => {
                    tracing::warn!(
                        event = "queue_behind",
                        queue,
                        waiting,
                        trace_id,
                        "more messages wait there than its function takes at once; orders that are due and \
                         wait for it are not asked for again until it is shorter, or for an hour"
                    );
                    Some(queue.to_owned())
                }
                Ok(_) => None,
                Err(error) => {
                    let cause = telemetry::chain(&*error);
                    tracing::warn!(
                        queue,
                        trace_id,
                        cause,
                        "the queue cannot be asked what waits there; its orders are not held back"
                    );
                    None
                }
            }
        });
        Self(join_all(asked).await.into_iter().flatten().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an order that is due is to be left alone: its command may wait in a queue that is behind,
    /// or any order's answer in the queue of `replies`.
    pub fn hold_back(
        &self,
        order: &Order,
        routes: &Routes,
        replies: &str,
        context: &Context,
    ) -> bool {
        let Some(due_at) = order.due_at else {
            return false;
        };
        let due_for = context.now.duration_since(due_at);
        // A missing route is logged where the command is sent.
        let owed = owed_message(order, routes, context).ok().flatten();
        let waits = owed.is_some_and(|message| self.0.contains(message.queue_url()));
        (SignedDuration::ZERO..HELD_BACK_FOR).contains(&due_for)
            && (waits || self.0.contains(replies))
    }
}

async fn waiting(client: &aws_sdk_sqs::Client, queue: &str) -> Result<u64, Error> {
    let answer = client
        .get_queue_attributes()
        .queue_url(queue)
        .attribute_names(ApproximateNumberOfMessages)
        .send()
        .await?;
    let attributes = answer.attributes.unwrap_or_default();
    let waiting = attributes.get(&ApproximateNumberOfMessages);
    Ok(waiting.ok_or("the answer does not say it")?.parse()?)
}
