//! Backlogs of queues. A command in a backlog has been sent already. To send it again would only make the
//! queue longer.
//!
//! The number of waiting messages decides, because SQS does not give their age: the metric
//! `ApproximateAgeOfOldestMessage` is minutes late, and IAM cannot limit reading metrics to one queue.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
use futures_util::future::join_all;
use jiff::SignedDuration;
use shared_lambda::{Context, Error, telemetry};
use tokio::time::timeout;

use crate::domain::Order;
use crate::messages::{Routes, owed_message};

/// The most messages that any of the queues' functions takes at once: its trigger's
/// `MaximumConcurrency` times its `BatchSize`. Further messages are a backlog.
pub const TAKEN_AT_ONCE: u64 = 200;

/// How long past its due time an order is held back. After that its command may be lost.
pub const HELD_BACK_FOR: SignedDuration = SignedDuration::from_hours(1);

const TIMEOUT: Duration = Duration::from_secs(2);

/// The URLs of the queues with a backlog.
#[derive(Debug, Default)]
pub struct Backlogs(HashSet<String>);

impl Backlogs {
    /// Reads the length of each queue. A queue that does not answer counts as without a backlog.
    pub async fn read(
        client: &aws_sdk_sqs::Client,
        queues: impl Iterator<Item = &str>,
        context: &Context,
    ) -> Self {
        let lengths = queues.map(|queue| async move {
            let waiting = timeout(TIMEOUT, waiting(client, queue)).await;
            let trace = context.trace_id();
            match waiting.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                Ok(waiting) if waiting > TAKEN_AT_ONCE => {
                    tracing::warn!(
                        event = "queue_behind",
                        queue,
                        waiting,
                        trace,
                        "more messages wait in this queue than its function takes at once; due orders that \
                         wait for it are held back until it is shorter, for an hour at most"
                    );
                    Some(queue.to_owned())
                }
                Ok(_) => None,
                Err(error) => {
                    let cause = telemetry::chain(&*error);
                    tracing::warn!(
                        queue,
                        trace,
                        cause,
                        "the length of this queue cannot be read; its orders are not held back"
                    );
                    None
                }
            }
        });
        Self(join_all(lengths).await.into_iter().flatten().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether to leave a due order alone: its command may wait in a backlog, or its answer in a backlog
    /// of `replies`.
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
    let waiting = waiting.ok_or("the answer has no ApproximateNumberOfMessages")?;
    Ok(waiting.parse()?)
}
