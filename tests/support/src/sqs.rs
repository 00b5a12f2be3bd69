//! SQS: queues in memory, with the part of the API that services use.
//!
//! Naming a queue creates it. There is no clock: a message is visible at once, and a received one
//! stays in flight until it is deleted, made visible, or [redelivered](crate::Aws::redeliver).

use crate::wire::{Answer, Call};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The limit for one message or one batch: 1 MiB.
const MAX_BYTES: usize = 1_048_576;
const MAX_ENTRIES: usize = 10;

/// A message as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// In the order of arrival over all queues.
    pub id: String,
    pub body: String,
    /// The requested delay. It has no effect here.
    pub delay_seconds: Option<i64>,
    /// `MessageAttributes` from the request.
    pub attributes: Value,
    /// The count of receives.
    pub receives: u32,
    /// The seconds of its last `ChangeMessageVisibility`.
    pub visibility: Option<i64>,
    receipt: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Queues {
    queues: BTreeMap<String, Vec<Message>>,
    /// Messages that the test itself holds: visible and in flight.
    elsewhere: BTreeMap<String, (usize, usize)>,
    arrived: u64,
}

impl Queues {
    /// Takes the visible messages.
    pub(crate) fn drain(&mut self, queue_url: &str) -> Vec<Message> {
        self.queue(queue_url)
            .extract_if(.., |message| message.receipt.is_none())
            .collect()
    }

    pub(crate) fn in_flight(&mut self, queue_url: &str) -> Vec<Message> {
        self.queue(queue_url)
            .iter()
            .filter(|message| message.receipt.is_some())
            .cloned()
            .collect()
    }

    pub(crate) fn redeliver(&mut self, queue_url: &str) {
        for message in self.queue(queue_url) {
            message.receipt = None;
        }
    }

    pub(crate) fn keep_elsewhere(&mut self, queue_url: &str, waiting: usize, in_flight: usize) {
        self.elsewhere
            .insert(queue_url.to_owned(), (waiting, in_flight));
    }

    /// Puts a message on the queue and gives its id.
    pub(crate) fn send(&mut self, queue_url: &str, body: &str, sent: &Value) -> String {
        self.arrived += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", self.arrived);
        self.queue(queue_url).push(Message {
            id: id.clone(),
            body: body.to_owned(),
            delay_seconds: sent["DelaySeconds"].as_i64(),
            attributes: sent["MessageAttributes"].clone(),
            receives: 0,
            visibility: None,
            receipt: None,
        });
        id
    }

    /// Answers a call. In a sent batch, the entries at `refused` fail.
    pub(crate) fn answer(&mut self, call: &Call, refused: &[usize]) -> Answer {
        let outcome = match call.action.as_str() {
            "SendMessage" => self.send_message(&call.request),
            "SendMessageBatch" => self.send_batch(&call.request, refused),
            "ReceiveMessage" => self.receive(&call.request),
            "GetQueueAttributes" => self.attributes(&call.request),
            "DeleteMessage" => self.single(&call.request, Queues::delete),
            "ChangeMessageVisibility" => self.single(&call.request, Queues::change_visibility),
            "DeleteMessageBatch" => self.batch(&call.request, Queues::delete),
            "ChangeMessageVisibilityBatch" => self.batch(&call.request, Queues::change_visibility),
            _ => return Answer::unknown_operation(call),
        };
        match outcome {
            Ok(body) => Answer::ok(&body),
            Err(refusal) => refusal.into_answer(),
        }
    }

    fn send_message(&mut self, request: &Value) -> Result<Value, Refusal> {
        let body = body_of(request)?;
        if body.len() > MAX_BYTES {
            return Err(Refusal::invalid("the message is longer than SQS takes"));
        }
        let id = self.send(queue_url(request)?, body, request);
        Ok(json!({ "MessageId": id }))
    }

    fn send_batch(&mut self, request: &Value, refused: &[usize]) -> Result<Value, Refusal> {
        let queue_url = queue_url(request)?;
        let entries = entries_of(request)?;
        let mut bytes = 0;
        for entry in entries {
            bytes += body_of(entry)?.len();
        }
        if bytes > MAX_BYTES {
            return Err(Refusal(
                "BatchRequestTooLong",
                "the batch is longer than SQS takes",
            ));
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (position, entry) in entries.iter().enumerate() {
            if refused.contains(&position) {
                failed.push(json!({
                    "Id": entry["Id"], "Code": "InternalError", "SenderFault": false,
                    "Message": "injected",
                }));
            } else {
                let id = self.send(queue_url, body_of(entry)?, entry);
                successful.push(json!({ "Id": entry["Id"], "MessageId": id }));
            }
        }
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }

    fn receive(&mut self, request: &Value) -> Result<Value, Refusal> {
        let queue_url = queue_url(request)?;
        let wanted = match request["MaxNumberOfMessages"].as_u64() {
            None => 1,
            Some(wanted @ 1..=10) => wanted as usize,
            Some(_) => return Err(Refusal::invalid("MaxNumberOfMessages is 1 to 10")),
        };
        let messages: Vec<Value> = self
            .queue(queue_url)
            .iter_mut()
            .filter(|message| message.receipt.is_none())
            .take(wanted)
            .map(|message| {
                message.receives += 1;
                // As on AWS, an older receipt does not delete a message that was received again.
                let receipt = format!("{}#{}", message.id, message.receives);
                message.receipt = Some(receipt.clone());
                let mut received = json!({
                    "MessageId": message.id,
                    "ReceiptHandle": receipt,
                    "Body": message.body,
                    "Attributes": { "ApproximateReceiveCount": message.receives.to_string() },
                });
                if !message.attributes.is_null() {
                    received["MessageAttributes"] = message.attributes.clone();
                }
                received
            })
            .collect();
        let mut answer = Map::new();
        if !messages.is_empty() {
            answer.insert("Messages".to_owned(), Value::Array(messages));
        }
        Ok(Value::Object(answer))
    }

    /// Only the counts of messages.
    fn attributes(&mut self, request: &Value) -> Result<Value, Refusal> {
        let queue_url = queue_url(request)?;
        let (waiting, in_flight) = self.elsewhere.get(queue_url).copied().unwrap_or_default();
        let messages = self.queue(queue_url);
        let received = messages.iter().filter(|message| message.receipt.is_some());
        let received = received.count();
        let waiting = waiting + messages.len() - received;
        let mut attributes = Map::new();
        for name in request["AttributeNames"].as_array().into_iter().flatten() {
            let count = match name.as_str() {
                Some("ApproximateNumberOfMessages") => waiting,
                Some("ApproximateNumberOfMessagesNotVisible") => received + in_flight,
                _ => return Err(Refusal("InvalidAttributeName", "no such count is kept")),
            };
            let name = name.as_str().unwrap_or_default().to_owned();
            attributes.insert(name, Value::String(count.to_string()));
        }
        Ok(json!({ "Attributes": attributes }))
    }

    fn delete(&mut self, queue_url: &str, entry: &Value) -> Result<(), Refusal> {
        let receipt = receipt_of(entry)?;
        // As on AWS, deleting a missing message succeeds.
        self.queue(queue_url)
            .retain(|message| message.receipt.as_deref() != Some(receipt));
        Ok(())
    }

    fn change_visibility(&mut self, queue_url: &str, entry: &Value) -> Result<(), Refusal> {
        let receipt = receipt_of(entry)?;
        let Some(seconds @ 0..=43_200) = entry["VisibilityTimeout"].as_i64() else {
            return Err(Refusal::invalid("VisibilityTimeout is 0 to 43200"));
        };
        let message = self
            .queue(queue_url)
            .iter_mut()
            .find(|message| message.receipt.as_deref() == Some(receipt))
            .ok_or(Refusal(
                "MessageNotInflight",
                "no such message is in flight",
            ))?;
        message.visibility = Some(seconds);
        if seconds == 0 {
            message.receipt = None;
        }
        Ok(())
    }

    fn single(
        &mut self,
        request: &Value,
        action: fn(&mut Queues, &str, &Value) -> Result<(), Refusal>,
    ) -> Result<Value, Refusal> {
        action(self, queue_url(request)?, request)?;
        Ok(json!({}))
    }

    fn batch(
        &mut self,
        request: &Value,
        action: fn(&mut Queues, &str, &Value) -> Result<(), Refusal>,
    ) -> Result<Value, Refusal> {
        let queue_url = queue_url(request)?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries_of(request)? {
            match action(self, queue_url, entry) {
                Ok(()) => successful.push(json!({ "Id": entry["Id"] })),
                Err(refusal) => failed.push(json!({
                    "Id": entry["Id"], "Code": refusal.code(), "SenderFault": true,
                    "Message": refusal.1,
                })),
            }
        }
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }

    fn queue(&mut self, queue_url: &str) -> &mut Vec<Message> {
        self.queues.entry(queue_url.to_owned()).or_default()
    }
}

pub(crate) fn throttled() -> Answer {
    Refusal("RequestThrottled", "the rate of requests is too high").into_answer()
}

/// The error's name in SQS's model, and its message.
struct Refusal(&'static str, &'static str);

impl Refusal {
    fn invalid(message: &'static str) -> Refusal {
        Refusal("InvalidParameterValue", message)
    }

    /// The error's name in the query protocol, which the SDK reads.
    fn code(&self) -> String {
        let Refusal(shape, _) = self;
        match *shape {
            "InvalidParameterValue" | "MissingParameter" | "RequestThrottled" => {
                (*shape).to_owned()
            }
            _ => format!("AWS.SimpleQueueService.{shape}"),
        }
    }

    fn into_answer(self) -> Answer {
        let Refusal(shape, message) = self;
        Answer::error(&format!("com.amazonaws.sqs#{shape}"), message).with_query_error(&self.code())
    }
}

fn queue_url(request: &Value) -> Result<&str, Refusal> {
    request["QueueUrl"]
        .as_str()
        .filter(|url| !url.is_empty())
        .ok_or(Refusal("MissingParameter", "a QueueUrl is required"))
}

fn body_of(entry: &Value) -> Result<&str, Refusal> {
    entry["MessageBody"]
        .as_str()
        .filter(|body| !body.is_empty())
        .ok_or(Refusal("MissingParameter", "a MessageBody is required"))
}

fn receipt_of(entry: &Value) -> Result<&str, Refusal> {
    entry["ReceiptHandle"]
        .as_str()
        .ok_or(Refusal("MissingParameter", "a ReceiptHandle is required"))
}

/// A batch's entries: one to ten, with distinct ids of letters, digits, `-` and `_`.
fn entries_of(request: &Value) -> Result<&[Value], Refusal> {
    let entries = request["Entries"].as_array().map_or(&[][..], Vec::as_slice);
    if entries.is_empty() {
        return Err(Refusal("EmptyBatchRequest", "the batch has no entries"));
    }
    if entries.len() > MAX_ENTRIES {
        return Err(Refusal(
            "TooManyEntriesInBatchRequest",
            "a batch has at most ten entries",
        ));
    }
    let mut ids = BTreeSet::new();
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=80).contains(&id.len()) || !id.chars().all(allowed) {
            return Err(Refusal("InvalidBatchEntryId", "an entry's Id is malformed"));
        }
        if !ids.insert(id) {
            return Err(Refusal(
                "BatchEntryIdsNotDistinct",
                "two entries have the same Id",
            ));
        }
    }
    Ok(entries)
}
