//! Queues: each message by itself, failures reported by id, answers sent before anything is
//! acknowledged.
//!
//! A handler returns the messages its outcome owes; the runner sends them, batched, and lets SQS
//! delete a message only when everything it led to was accepted. Dying at any point before that
//! brings the message back.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::envelope::Envelope;
pub use crate::failure::Failure;
use crate::fault::{FAULT_LIFETIME, Fault};
use crate::send::{BATCH_ENTRIES, send_each};
pub use crate::send::{Outgoing, SendError, send, send_within};
use crate::{Context, Error, Origin, Stage, telemetry};

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
    let fault = fault_now(stage, &envelope, receive_count(message), context.now);
    match fault {
        Some(Fault::Fail) => {
            return Err(Failure::unprocessable(
                "the order's rehearsal has this step fail",
            ));
        }
        Some(Fault::Timeout) => return Ok(Vec::new()),
        Some(Fault::LostReply) | None => {}
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
        Some(Fault::Fail | Fault::Timeout) | None => answers,
    })
}

/// The fault to act on now, said in the log where there is one.
///
/// Production carries such a command out as if it had none. It can only be there because its order
/// was placed while the stage allowed it, and then the order's customer is served best by an end.
fn fault_now(stage: Stage, command: &Envelope, receives: u32, now: Timestamp) -> Option<Fault> {
    let said = command.fault.as_deref()?;
    let known = Fault::ALL.into_iter().find(|(name, ..)| *name == said);
    let why_not = if !stage.allows_faults() {
        Some("production rehearses nothing")
    } else if known.is_none() {
        Some("this function knows no such fault")
    } else if known.is_some_and(|(.., once)| once) && receives > 1 {
        Some("its first delivery has gone wrong")
    } else if now.duration_since(command.time) > FAULT_LIFETIME {
        Some("it was sent too long ago")
    } else {
        None
    };
    tracing::warn!(
        event = "rehearsal",
        order_id = %command.subject,
        message_type = command.kind,
        // One that is not known is whatever the message says, which is no business of the log's.
        fault = known.map(|(name, ..)| name),
        ignored_because = why_not,
        "a command that is to go wrong on purpose"
    );
    let (_, fault, _) = known?;
    why_not.is_none().then_some(fault)
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
    if !failure.is_retried() {
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
        retry = failure.is_retried(),
        cause = failure.cause().map(telemetry::chain),
        "message failed: {}",
        failure.detail()
    );
}
