//! Sending messages to SQS in batches.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::envelope::{Payload, encode};
use crate::{Context, Error, telemetry};

/// The most entries of `SendMessageBatch` and of a visibility batch (SQS API reference).
pub(crate) const BATCH_ENTRIES: usize = 10;

/// A batch may have 1 MiB; 256 KiB is the older limit of some regions.
const BATCH_BYTES: usize = 256 * 1024;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    queue_url: String,
    body: String,
}

impl Outgoing {
    /// A message for a queue.
    pub fn new<T: Payload>(queue_url: &str, subject: Uuid, payload: &T, context: &Context) -> Self {
        Self::with_fault(queue_url, subject, payload, None, context)
    }

    /// A command with an injected [fault](crate::fault::Fault::ALL), if there is one.
    pub fn with_fault<T: Payload>(
        queue_url: &str,
        subject: Uuid,
        payload: &T,
        fault: Option<&'static str>,
        context: &Context,
    ) -> Self {
        Self {
            queue_url: queue_url.to_owned(),
            body: encode(subject, payload, fault, context),
        }
    }

    /// The destination queue.
    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    /// The message's body.
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// SQS did not accept all messages.
#[derive(Debug, thiserror::Error)]
#[error("{} of {sent} messages were not accepted", rejected.len())]
pub struct SendError {
    sent: usize,
    /// The causes, by the index of the message.
    rejected: BTreeMap<usize, String>,
    /// The first cause.
    source: Error,
}

impl SendError {
    /// The cause for the message with this index, if it was not accepted.
    pub fn cause_of(&self, index: usize) -> Option<&str> {
        self.rejected.get(&index).map(String::as_str)
    }
}

/// Sends messages, for functions without a queue trigger.
pub async fn send(client: &aws_sdk_sqs::Client, outgoing: Vec<Outgoing>) -> Result<(), SendError> {
    // The client's own timeout is much shorter.
    send_within(Duration::from_secs(60), client, outgoing).await
}

/// Sends messages while a caller waits. A message that is not accepted in time counts as not sent,
/// although it may have been.
pub async fn send_within(
    patience: Duration,
    client: &aws_sdk_sqs::Client,
    outgoing: Vec<Outgoing>,
) -> Result<(), SendError> {
    let sent = outgoing.len();
    let rejected = send_each(client, outgoing, Instant::now() + patience).await;
    let causes = rejected
        .iter()
        .map(|rejected| (rejected.index, rejected.cause.to_string()));
    let causes = causes.collect();
    match rejected.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(SendError {
            sent,
            rejected: causes,
            source: first.cause,
        }),
    }
}

pub(crate) struct Rejected {
    pub index: usize,
    pub cause: Error,
}

/// Sends to all queues at once, so that a slow queue does not delay the others.
pub(crate) async fn send_each(
    client: &aws_sdk_sqs::Client,
    outgoing: Vec<Outgoing>,
    cutoff: Instant,
) -> Vec<Rejected> {
    let mut by_queue: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for (index, message) in outgoing.into_iter().enumerate() {
        by_queue
            .entry(message.queue_url)
            .or_default()
            .push((index, message.body));
    }
    let sent = by_queue.into_iter().flat_map(|(queue_url, messages)| {
        batches(messages)
            .into_iter()
            .map(move |batch| send_batch(client, queue_url.clone(), batch, cutoff))
    });
    let mut rejected: Vec<Rejected> = join_all(sent).await.into_iter().flatten().collect();
    rejected.sort_by_key(|rejected| rejected.index);
    rejected
}

/// Splits messages into batches within SQS's limits.
fn batches(messages: Vec<(usize, String)>) -> Vec<Vec<(usize, String)>> {
    let mut batches: Vec<Vec<(usize, String)>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        bytes += message.1.len();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_ENTRIES && bytes <= BATCH_BYTES => {
                batch.push(message);
            }
            _ => {
                bytes = message.1.len();
                batches.push(vec![message]);
            }
        }
    }
    batches
}

/// Sends a batch; returns its rejected messages.
async fn send_batch(
    client: &aws_sdk_sqs::Client,
    queue_url: String,
    batch: Vec<(usize, String)>,
    cutoff: Instant,
) -> Vec<Rejected> {
    let indices: Vec<usize> = batch.iter().map(|(index, _)| *index).collect();
    let entries = batch.into_iter().map(|(index, body)| {
        SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .message_body(body)
            .build()
            .expect("id and body are set")
    });
    let sent = client
        .send_message_batch()
        .queue_url(&queue_url)
        .set_entries(Some(entries.collect()))
        .send();
    let answer = match timeout_at(cutoff, sent).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(telemetry::chain(&error)),
        Err(_) => Err("it did not answer in time".to_owned()),
    };
    match answer {
        // Only a message that SQS confirms is sent.
        Ok(answer) => {
            let refused = indices.into_iter().filter_map(|index| {
                let id = index.to_string();
                if answer.successful.iter().any(|entry| entry.id == id) {
                    return None;
                }
                let refusal = answer.failed.iter().find(|entry| entry.id == id);
                let code = refusal.map_or("it did not say why", |entry| entry.code.as_str());
                Some(Rejected {
                    index,
                    cause: format!("{queue_url} refused a message: {code}").into(),
                })
            });
            refused.collect()
        }
        Err(cause) => {
            let all = indices.into_iter().map(|index| Rejected {
                index,
                cause: format!("{queue_url} did not take a batch: {cause}").into(),
            });
            all.collect()
        }
    }
}
