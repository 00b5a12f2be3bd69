//! Queues: the runner handles each message separately and reports failures by id.
//!
//! A handler returns its answers as messages. The runner sends them in batches. SQS deletes a message
//! only after its answers were accepted. After an earlier crash, SQS delivers the message again.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::context::trace_id;
use crate::envelope::Envelope;
pub use crate::failure::Failure;
use crate::fault::{FAULT_LIFETIME, Fault};
use crate::runtime::{answer, serve};
use crate::send::{BATCH_ENTRIES, send_each};
pub use crate::send::{Outgoing, SendError, send, send_within};
use crate::{Context, Error, Origin, Stage, telemetry};

/// How long a failed message waits, by its receive count. Messages survive an outage of three
/// minutes without a dead letter; contended messages come back soon.
const BACKOFF_SECONDS: [u32; MAX_RECEIVES as usize - 1] = [2, 10, 50, 120];

/// The templates' `maxReceiveCount`. After the last delivery a message does not wait, so that it
/// becomes a dead letter soon.
pub const MAX_RECEIVES: u32 = 5;

/// Handlers are cancelled this long before the function times out. The runner can then acknowledge
/// the finished messages and report the others as failed.
const CLOSING: Duration = Duration::from_secs(5);

/// Sending is cancelled this long before the function times out.
const REPORTING: Duration = Duration::from_millis(1500);

/// The queue that triggers a function.
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
    concurrency: usize,
    stage: Stage,
}

impl Queue {
    /// A queue whose messages are handled concurrently: they are about different orders.
    pub fn new(client: aws_sdk_sqs::Client, url: String) -> Self {
        Self {
            client,
            url,
            concurrency: BATCH_ENTRIES,
            stage: Stage::Production,
        }
    }

    /// Handles the messages of a batch in sequence, for handlers that compete for the same rows.
    pub fn one_at_a_time(mut self) -> Self {
        self.concurrency = 1;
        self
    }

    /// Sets the stage. Outside production, the runner acts on injected faults.
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
    let (origin, handler) = (&Origin::system(), &handler);
    serve(&|event| {
        async move {
            let left = event.context.deadline().duration_since(SystemTime::now());
            let ends_at = Instant::now() + left.unwrap_or_default();
            let batch = serde_json::from_value(event.payload)?;
            answer(&process(origin, queue, batch, ends_at, handler).await)
        }
        .boxed_local()
    })
    .await
}

/// Handles one batch, as [`run`] does per invocation. `ends_at` is the function's timeout.
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
    let mut handled: Vec<Handled> = stream::iter(event.records)
        .map(|message| {
            // Boxed, because `buffered` moves the futures and they are large.
            async move {
                let begun = Instant::now();
                let handled = handle(origin, queue.stage, &message, handler);
                let outcome = with_deadline(ends_at - CLOSING, handled).await;
                Handled {
                    message,
                    outcome,
                    took: begun.elapsed(),
                }
            }
            .boxed_local()
        })
        .buffered(queue.concurrency)
        .collect()
        .await;

    send_answers(&queue.client, ends_at - REPORTING, &mut handled).await;

    let mut response = SqsBatchResponse::default();
    let mut retries = Vec::new();
    // A standard queue may deliver one message twice in a batch; its id is reported once.
    let mut failed: Vec<String> = Vec::new();
    for Handled {
        message,
        outcome,
        took,
    } in handled
    {
        log(&message, &outcome, took);
        let Err(failure) = outcome else { continue };
        let seconds = backoff_seconds(&message, &failure);
        retries.extend(message.receipt_handle.map(|receipt| (receipt, seconds)));
        let id = message.message_id.unwrap_or_default();
        if !failed.contains(&id) {
            failed.push(id);
        }
    }
    response.set_failures(failed);
    // The remaining messages come back after the visibility timeout.
    let _ = timeout_at(ends_at - REPORTING / 3, make_visible(queue, retries)).await;
    response
}

/// A message with its outcome.
struct Handled {
    message: SqsMessage,
    outcome: Result<Vec<Outgoing>, Failure>,
    /// The time of its handler, without the batch's sending.
    took: Duration,
}

/// Drops a handler at the deadline, as if the process had crashed there. After the deadline no
/// handler starts.
async fn with_deadline(
    deadline: Instant,
    handled: impl Future<Output = Result<Vec<Outgoing>, Failure>>,
) -> Result<Vec<Outgoing>, Failure> {
    let out_of_time = || {
        Failure::retry(
            "the handler ran out of time",
            "the message or its batch took longer than the function's timeout allows",
        )
    };
    if Instant::now() >= deadline {
        return Err(out_of_time());
    }
    timeout_at(deadline, handled)
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
                "an injected fault makes this step fail",
            ));
        }
        Some(Fault::Timeout) => return Ok(Vec::new()),
        Some(Fault::LostReply) | None => {}
    }
    // The call is inside the guarded future, to catch a panic before the first await too.
    let answers = AssertUnwindSafe(async { handler(context, envelope).await })
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            Err(Failure::retry(
                "the handler panicked",
                "see the panic in the previous log line",
            ))
        })?;
    Ok(match fault {
        Some(Fault::LostReply) => Vec::new(),
        Some(Fault::Fail | Fault::Timeout) | None => answers,
    })
}

/// The injected fault to act on now. The log reports every fault.
///
/// Production ignores injected faults. An order can only have one if it was placed while the stage
/// allowed faults; its customer then still needs a regular end.
fn fault_now(stage: Stage, command: &Envelope, receives: u32, now: Timestamp) -> Option<Fault> {
    let name = command.fault.as_deref()?;
    let known = Fault::ALL.into_iter().find(|(known, ..)| *known == name);
    let ignored_because = if !stage.allows_faults() {
        Some("production ignores injected faults")
    } else if known.is_none() {
        Some("the fault is unknown")
    } else if known.is_some_and(|(.., once)| once) && receives > 1 {
        Some("the fault applies to the first delivery only")
    } else if now.duration_since(command.time) > FAULT_LIFETIME {
        Some("the fault has expired")
    } else {
        None
    };
    tracing::warn!(
        event = "fault_injected",
        order = %command.subject,
        "type" = command.kind,
        // An unknown fault is arbitrary text, which the log must not repeat.
        fault = known.map(|(name, ..)| name),
        ignored_because,
        "the command carries an injected fault"
    );
    let (_, fault, _) = known?;
    ignored_because.is_none().then_some(fault)
}

/// Sends the answers of the handled messages. A message fails if its answer is not accepted.
async fn send_answers(client: &aws_sdk_sqs::Client, cutoff: Instant, handled: &mut [Handled]) {
    let mut sources = Vec::new();
    let mut outgoing = Vec::new();
    for (source, handled) in handled.iter_mut().enumerate() {
        if let Ok(answers) = &mut handled.outcome {
            for answer in answers.drain(..) {
                sources.push(source);
                outgoing.push(answer);
            }
        }
    }
    for rejected in send_each(client, outgoing, cutoff).await {
        let source = sources[rejected.index];
        handled[source].outcome = Err(Failure::retry(
            "its answer was not accepted",
            rejected.cause,
        ));
    }
}

/// Shortens the visibility timeout of failed messages: the queue's own is long enough for a whole
/// batch. If this fails, the messages come back later.
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
            "the visibility timeout was not shortened; failed messages come back after the queue's own"
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

/// Logs one line per message with the ids that identify the order, without the message's content.
fn log(message: &SqsMessage, outcome: &Result<Vec<Outgoing>, Failure>, took: Duration) {
    let body = message.body.as_deref().unwrap_or_default();
    // Each member is read for itself, so that a wrong one does not hide the others.
    let members: HashMap<String, &RawValue> = serde_json::from_str(body).unwrap_or_default();
    let member = |name: &str| serde_json::from_str::<String>(members.get(name)?.get()).ok();
    let order = member("order_id").and_then(|id| Uuid::try_parse(&id).ok());
    let order = order.map(tracing::field::display);
    let kind = member("type");
    let kind = kind.as_deref().unwrap_or("unknown");
    let traceparent = member("traceparent");
    let trace = traceparent.as_deref().and_then(trace_id);
    let ms = took.as_millis() as u64;
    match outcome {
        Ok(_) => {
            tracing::info!(target: telemetry::CALLS, order, "type" = kind, outcome = "ok", ms, trace)
        }
        Err(failure) => tracing::error!(
            order,
            "type" = kind,
            outcome = if failure.is_retried() {
                "retry"
            } else {
                "poison"
            },
            ms,
            trace,
            message_id = message.message_id.as_deref().unwrap_or("unknown"),
            receive_count = receive_count(message),
            cause = failure.cause().map(telemetry::chain),
            "message failed: {}",
            failure.detail()
        ),
    }
}
