//! Queues: each message by itself, failures reported by id, answers sent before anything is
//! acknowledged.
//!
//! A handler returns the messages its outcome owes; the runner sends them, batched, and lets SQS
//! delete a message only when everything it led to was accepted. Dying at any point before that
//! brings the message back.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, SendMessageBatchRequestEntry};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::envelope::{Envelope, Payload, seal};
use crate::rehearsal::{Fault, fault_now};
use crate::{Context, Error, Origin, Stage, telemetry};

/// `SendMessageBatch` and a visibility batch take at most this many entries (SQS API reference).
const BATCH_ENTRIES: usize = 10;

/// A batch may have 1 MiB in all; staying under 256 KiB suits every region's older limit too.
const BATCH_BYTES: usize = 256 * 1024;

/// How long a failed message waits, by how often it was received. A table or a provider that is
/// away for three minutes does not send everything in flight to the dead-letter queue, while what was
/// only contended comes back soon.
const BACKOFF_SECONDS: [u32; MAX_RECEIVES as usize - 1] = [2, 10, 50, 120];

/// How often a queue gives a message out: the templates' `maxReceiveCount`. After the last time there is
/// nothing to wait for, and the message is to be found among the dead letters soon.
pub const MAX_RECEIVES: u32 = 5;

/// So long before the function is stopped its handlers end, and with them whatever is not answered:
/// what the others did is then still acknowledged, and the rest is told to have failed.
const CLOSING: Duration = Duration::from_secs(5);

/// So long before the function is stopped answers are no longer waited for.
const REPORTING: Duration = Duration::from_millis(1500);

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    queue_url: String,
    body: String,
}

impl Outgoing {
    pub fn new<T: Payload>(
        queue_url: &str,
        order_id: Uuid,
        payload: &T,
        context: &Context,
    ) -> Self {
        Self::with_fault(queue_url, order_id, payload, None, context)
    }

    /// A command that is to go wrong on purpose, where there is a fault.
    pub fn with_fault<T: Payload>(
        queue_url: &str,
        order_id: Uuid,
        payload: &T,
        fault: Option<Fault>,
        context: &Context,
    ) -> Self {
        Self {
            queue_url: queue_url.to_owned(),
            body: seal(order_id, payload, fault, context),
        }
    }

    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    /// The message's body, as it goes onto the queue.
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// Why a message was not handled.
#[derive(Debug)]
pub struct Failure {
    detail: String,
    cause: Option<Error>,
    retry: bool,
}

impl Failure {
    /// Something did not answer or was contended: the message comes back after a growing wait.
    pub fn retry(detail: impl Into<String>, cause: impl Into<Error>) -> Self {
        Self {
            detail: detail.into(),
            cause: Some(cause.into()),
            retry: true,
        }
    }

    /// No later try can succeed: the message comes back at once until the queue's redrive policy
    /// moves it to the dead-letter queue, where an operator finds it whole.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            cause: None,
            retry: false,
        }
    }

    /// Adds what was beneath it, for the log.
    pub fn because(mut self, cause: impl Into<Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn is_retried(&self) -> bool {
        self.retry
    }

    /// What was the matter beneath, where there is more to it than the detail.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// The queue a function is triggered by.
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
    concurrency: usize,
    stage: Stage,
}

impl Queue {
    /// Messages of a batch are handled side by side: they are about different orders.
    pub fn new(client: aws_sdk_sqs::Client, url: String) -> Self {
        Self {
            client,
            url,
            concurrency: BATCH_ENTRIES,
            stage: Stage::Production,
        }
    }

    /// Messages of a batch are handled one after another, for handlers that contend for the same
    /// rows.
    pub fn one_at_a_time(mut self) -> Self {
        self.concurrency = 1;
        self
    }

    /// For queues of commands: outside production, faults that commands carry are acted on.
    pub fn in_stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }
}

/// Runs the function of a queue.
pub async fn run<F, Fut>(queue: &Queue, handler: F) -> Result<(), Error>
where
    F: Fn(Context, Envelope) -> Fut,
    Fut: Future<Output = Result<Vec<Outgoing>, Failure>>,
{
    telemetry::init();
    let (origin, handler) = (Origin::system(), &handler);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let origin = origin.clone();
        async move {
            let left = event.context.deadline().duration_since(SystemTime::now());
            let ends_at = Instant::now() + left.unwrap_or_default();
            Ok::<_, Error>(process(&origin, queue, event.payload, ends_at, handler).await)
        }
        .boxed_local()
    }))
    .await
}

/// One batch: what [`run`] does per invocation, without Lambda around it. `ends_at` is when the
/// function is stopped.
pub async fn process<F, Fut>(
    origin: &Origin,
    queue: &Queue,
    event: SqsEvent,
    ends_at: Instant,
    handler: F,
) -> SqsBatchResponse
where
    F: Fn(Context, Envelope) -> Fut,
    Fut: Future<Output = Result<Vec<Outgoing>, Failure>>,
{
    let handler = &handler;
    let mut handled: Vec<(SqsMessage, Result<Vec<Outgoing>, Failure>)> =
        stream::iter(event.records)
            .map(|message| {
                // Boxed, because side by side they are moved about, and they are large.
                async move {
                    let handled = handle(origin, queue.stage, &message, handler);
                    let outcome = until(ends_at - CLOSING, handled).await;
                    (message, outcome)
                }
                .boxed_local()
            })
            .buffered(queue.concurrency)
            .collect()
            .await;

    send_answers(&queue.client, ends_at - REPORTING, &mut handled).await;

    let mut response = SqsBatchResponse::default();
    let mut retries = Vec::new();
    // A standard queue may deliver one message twice in a batch; its id is then reported once.
    let mut failed: Vec<String> = Vec::new();
    for (message, outcome) in handled {
        let Err(failure) = outcome else { continue };
        log(&message, &failure);
        let seconds = backoff_seconds(&message, &failure);
        retries.extend(message.receipt_handle.map(|receipt| (receipt, seconds)));
        let id = message.message_id.unwrap_or_default();
        if !failed.contains(&id) {
            failed.push(id);
        }
    }
    response.set_failures(failed);
    // What this does not get to comes back after the visibility timeout.
    let _ = timeout_at(ends_at - REPORTING / 3, make_visible(queue, retries)).await;
    response
}

/// A handler that is not through by then is dropped where it waits, as if the process had died
/// there; one that has not begun does not begin.
async fn until(
    cutoff: Instant,
    handled: impl Future<Output = Result<Vec<Outgoing>, Failure>>,
) -> Result<Vec<Outgoing>, Failure> {
    let out_of_time = || {
        Failure::retry(
            "the function's time was up",
            "it or its batch took longer than the function may",
        )
    };
    if Instant::now() >= cutoff {
        return Err(out_of_time());
    }
    timeout_at(cutoff, handled)
        .await
        .unwrap_or_else(|_| Err(out_of_time()))
}

async fn handle<F, Fut>(
    origin: &Origin,
    stage: Stage,
    message: &SqsMessage,
    handler: &F,
) -> Result<Vec<Outgoing>, Failure>
where
    F: Fn(Context, Envelope) -> Fut,
    Fut: Future<Output = Result<Vec<Outgoing>, Failure>>,
{
    let envelope = Envelope::parse(message.body.as_deref().unwrap_or_default())?;
    let context = origin.context(envelope.traceparent.as_deref());
    let fault = fault_now(stage, &envelope, context.now);
    match fault {
        Some(Fault::Fail) => {
            return Err(Failure::unprocessable(
                "the order's rehearsal has this step fail",
            ));
        }
        Some(Fault::FailOnce) if receive_count(message) == 1 => {
            return Err(Failure::retry(
                "the order's rehearsal has this step fail once",
                "its next delivery is carried out",
            ));
        }
        Some(Fault::Timeout) => return Ok(Vec::new()),
        Some(Fault::FailOnce | Fault::LostReply | Fault::AnswerTwice) | None => {}
    }
    // Made inside the guarded future, so that a panic before the first await is caught as well.
    let answers = AssertUnwindSafe(async { handler(context, envelope).await })
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            Err(Failure::retry(
                "the handler panicked",
                "see the panic's own line before this one",
            ))
        })?;
    Ok(match fault {
        Some(Fault::LostReply) => Vec::new(),
        Some(Fault::AnswerTwice) => [answers.clone(), answers].concat(),
        Some(Fault::Fail | Fault::FailOnce | Fault::Timeout) | None => answers,
    })
}

/// Sends what the handled messages led to; a message whose answer was not accepted has failed.
async fn send_answers(
    client: &aws_sdk_sqs::Client,
    cutoff: Instant,
    handled: &mut [(SqsMessage, Result<Vec<Outgoing>, Failure>)],
) {
    let mut sources = Vec::new();
    let mut outgoing = Vec::new();
    for (source, (_, outcome)) in handled.iter_mut().enumerate() {
        if let Ok(answers) = outcome {
            for answer in answers.drain(..) {
                sources.push(source);
                outgoing.push(answer);
            }
        }
    }
    for rejected in send_each(client, outgoing, cutoff).await {
        let source = sources[rejected.index];
        handled[source].1 = Err(Failure::retry(
            "its answer was not accepted",
            rejected.cause,
        ));
    }
}

/// Messages that were not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{} of {sent} messages were not accepted", rejected.len())]
pub struct SendError {
    sent: usize,
    /// Which they were, counted in the order they were given, and why each was not.
    rejected: BTreeMap<usize, String>,
    /// Why the first of them was not.
    source: Error,
}

impl SendError {
    /// Why a message was not accepted, if it was not.
    pub fn cause_of(&self, index: usize) -> Option<&str> {
        self.rejected.get(&index).map(String::as_str)
    }
}

/// Sends messages, for functions that no queue triggers.
pub async fn send(client: &aws_sdk_sqs::Client, outgoing: Vec<Outgoing>) -> Result<(), SendError> {
    // The client itself gives up long before.
    send_within(Duration::from_secs(60), client, outgoing).await
}

/// Sends messages for somebody who is waiting: what is not accepted in time counts as not sent,
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

struct Rejected {
    index: usize,
    cause: Error,
}

/// Sends to all queues at once: one that does not answer takes no time from the others.
async fn send_each(
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

/// Cuts messages into batches that SQS takes.
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

/// Those of a batch that were not accepted.
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
        // Only what SQS says it took has been sent.
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

/// Lets failed messages come back sooner than the visibility timeout would, which must be long
/// enough for a whole batch. A message this fails for simply comes back later.
async fn make_visible(queue: &Queue, retries: Vec<(String, u32)>) {
    for batch in retries.chunks(BATCH_ENTRIES) {
        let entries = batch.iter().enumerate().map(|(index, (receipt, seconds))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(i32::try_from(*seconds).unwrap_or(i32::MAX))
                .build()
                .expect("id and receipt handle are set")
        });
        let changed = queue
            .client
            .change_message_visibility_batch()
            .queue_url(&queue.url)
            .set_entries(Some(entries.collect()))
            .send()
            .await;
        let cause = match changed {
            Ok(answer) if answer.failed.is_empty() => continue,
            Ok(answer) => answer.failed[0].code.clone(),
            Err(error) => telemetry::chain(&error),
        };
        tracing::warn!(
            cause,
            "failed messages come back only after the visibility timeout"
        );
    }
}

fn backoff_seconds(message: &SqsMessage, failure: &Failure) -> u32 {
    if !failure.retry {
        return 0;
    }
    let before = receive_count(message).saturating_sub(1) as usize;
    BACKOFF_SECONDS.get(before).copied().unwrap_or(0)
}

fn receive_count(message: &SqsMessage) -> u32 {
    message
        .attributes
        .get("ApproximateReceiveCount")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

/// One line per failure, with everything an operator needs to find the order, and nothing of what
/// the message says.
fn log(message: &SqsMessage, failure: &Failure) {
    let body: Value = message
        .body
        .as_deref()
        .and_then(|body| serde_json::from_str(body).ok())
        .unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or("unknown");
    tracing::error!(
        message_id = message.message_id.as_deref().unwrap_or("unknown"),
        order_id = text("order_id"),
        message_type = text("type"),
        traceparent = text("traceparent"),
        receive_count = receive_count(message),
        retry = failure.retry,
        cause = failure
            .cause
            .as_deref()
            .map(|cause| telemetry::chain(cause)),
        "message failed: {}",
        failure.detail
    );
}
