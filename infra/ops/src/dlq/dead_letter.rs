//! Receives, parses, finds and gives back the messages of a dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Queue;
use crate::aws::AwsError;
use crate::error::{Context, Error, Result};
use crate::ui::count;

/// The shortest visibility timeout. A killed command hides messages this long.
const HIDDEN_SECONDS: u32 = 60;

/// The limit of `ReceiveMessage` and of the batch calls.
pub const BATCH: usize = 10;

/// How many messages of a queue are read unless all are wanted.
pub const SAMPLE_SIZE: usize = 1_000;

/// Reading a whole queue takes at most a second for this many messages.
const READ_PER_SECOND: usize = 20;

/// After this many polls without a new message the pass ends, even if SQS counts more.
const IDLE_POLLS: usize = 3;

/// Calls one SQS operation.
pub type Sqs<'a> = dyn Fn(&str, Value) -> std::result::Result<Value, AwsError> + 'a;

#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub id: String,
    pub receipt: String,
    pub body: String,
    pub attributes: Map<String, Value>,
    pub message_attributes: Map<String, Value>,
    /// `None` if the body cannot be parsed.
    pub envelope: Option<Envelope>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub kind: String,
    pub order: Uuid,
}

impl DeadLetter {
    pub fn read(message: &Value) -> Option<Self> {
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        let object = |name: &str| message[name].as_object().cloned().unwrap_or_default();
        let body = text("Body")?;
        Some(Self {
            id: text("MessageId")?,
            receipt: text("ReceiptHandle")?,
            attributes: object("Attributes"),
            message_attributes: object("MessageAttributes"),
            envelope: envelope(&body),
            body,
        })
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.attributes.get(name)?.as_str()?.parse().ok()
    }

    /// When the message was first sent. A move to the dead-letter queue keeps this time.
    pub fn sent_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.number("SentTimestamp")?).ok()
    }

    pub fn order(&self) -> Option<Uuid> {
        self.envelope.as_ref().map(|envelope| envelope.order)
    }

    /// The message as SQS returned it, without the receipt.
    pub fn record(&self) -> Value {
        json!({"MessageId": self.id, "Attributes": self.attributes,
               "MessageAttributes": self.message_attributes, "Body": self.body})
    }

    pub fn kind(&self) -> &str {
        self.envelope
            .as_ref()
            .map_or("(not a message)", |envelope| &envelope.kind)
    }
}

/// The fields that every message of this system has.
fn envelope(body: &str) -> Option<Envelope> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |name: &str| body[name].as_str();
    Uuid::try_parse(text("id")?).ok()?;
    text("time")?.parse::<Timestamp>().ok()?;
    (body["version"].is_u64() && body.get("data").is_some()).then_some(())?;
    Some(Envelope {
        kind: text("type")?.to_owned(),
        order: Uuid::try_parse(text("order_id")?).ok()?,
    })
}

pub fn url(sqs: &Sqs<'_>, name: &str) -> Result<String> {
    let answer =
        sqs("GetQueueUrl", json!({"QueueName": name})).context(format!("finding {name}"))?;
    let url = answer["QueueUrl"].as_str();
    Ok(url.context(format!("{name} has no address"))?.to_owned())
}

/// The number of messages SQS counts, hidden ones included. On AWS it lags by up to a minute.
fn depth(sqs: &Sqs<'_>, url: &str) -> Result<usize> {
    let names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
    ];
    let request = json!({"QueueUrl": url, "AttributeNames": names});
    let answer = sqs("GetQueueAttributes", request).context(format!("counting {url}"))?;
    names.iter().try_fold(0, |sum, name| {
        let text = answer["Attributes"][name].as_str();
        let number: Option<usize> = text.and_then(|text| text.parse().ok());
        Ok(sum + number.context(format!("counting {url}: SQS returned no {name}"))?)
    })
}

/// How many messages a pass reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Up to [`SAMPLE_SIZE`] messages.
    Sample,
    /// As many as SQS counts, but at least [`SAMPLE_SIZE`].
    Whole,
    /// As many as SQS counts, but at least one batch. New arrivals cannot prolong the pass.
    Counted,
}

/// One pass through a dead-letter queue. Received messages stay hidden during the pass. Its end
/// gives back those that were not moved.
pub struct Pass<'a> {
    sqs: &'a Sqs<'a>,
    pub url: String,
    hidden: u32,
    /// The messages SQS counted at the start.
    counted: usize,
    most: usize,
    pub seen: usize,
    /// Received beyond `most`.
    beyond: usize,
    /// The latest receipts of hidden messages, by id.
    pub receipts: BTreeMap<String, String>,
    /// The old and new ids of messages that this pass moved.
    pub moved: BTreeSet<String>,
}

impl<'a> Pass<'a> {
    pub fn begin(sqs: &'a Sqs<'a>, prefix: &str, queue: Queue, reach: Reach) -> Result<Self> {
        let url = url(sqs, &format!("{prefix}-{}-dlq", queue.name))?;
        let counted = depth(sqs, &url)?;
        let most = match reach {
            Reach::Sample => SAMPLE_SIZE,
            Reach::Whole => counted.max(SAMPLE_SIZE),
            Reach::Counted => counted.max(BATCH),
        };
        Ok(Self {
            sqs,
            url,
            hidden: hidden_seconds(most.min(counted)),
            counted,
            most,
            seen: 0,
            beyond: 0,
            receipts: BTreeMap::new(),
            moved: BTreeSet::new(),
        })
    }

    /// The next new messages; empty at the end.
    pub fn next(&mut self) -> Result<Vec<DeadLetter>> {
        for _ in 0..IDLE_POLLS {
            if self.seen == self.most {
                break;
            }
            let mut news = Vec::new();
            for letter in self.poll()? {
                let receipt = letter.receipt.clone();
                let known = self.receipts.insert(letter.id.clone(), receipt).is_some();
                if known || self.moved.contains(&letter.id) {
                    continue;
                }
                if self.seen == self.most {
                    self.beyond += 1;
                    continue;
                }
                self.seen += 1;
                news.push(letter);
            }
            if !news.is_empty() || self.seen >= self.counted {
                return Ok(news);
            }
        }
        Ok(Vec::new())
    }

    /// Polls long, because a short poll asks only some servers and may miss messages.
    fn poll(&self) -> Result<Vec<DeadLetter>> {
        let request = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": BATCH,
            "VisibilityTimeout": self.hidden,
            "WaitTimeSeconds": 1,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let answer =
            (self.sqs)("ReceiveMessage", request).context(format!("reading {}", self.url))?;
        let messages = answer["Messages"].as_array().into_iter().flatten();
        Ok(messages.filter_map(DeadLetter::read).collect())
    }

    /// About how many messages were not read: hidden by another reader, or beyond the limit.
    pub fn more(&self) -> usize {
        self.counted.saturating_sub(self.seen).max(self.beyond)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        give_back(self.sqs, &self.url, self.receipts.values());
    }
}

/// Makes messages visible again. If this fails, the visibility timeout does it.
fn give_back<'r>(sqs: &Sqs<'_>, url: &str, receipts: impl IntoIterator<Item = &'r String>) {
    let receipts: Vec<&String> = receipts.into_iter().collect();
    for batch in receipts.chunks(BATCH) {
        let entry = |(number, receipt): (usize, &&String)| json!({"Id": number.to_string(), "ReceiptHandle": receipt, "VisibilityTimeout": 0});
        let entries: Vec<Value> = batch.iter().enumerate().map(entry).collect();
        let _ = sqs(
            "ChangeMessageVisibilityBatch",
            json!({"QueueUrl": url, "Entries": entries}),
        );
    }
}

/// The visibility timeout for a pass over this many messages. SQS allows 12 hours.
pub fn hidden_seconds(messages: usize) -> u32 {
    let seconds = u32::try_from(messages / READ_PER_SECOND).unwrap_or(u32::MAX);
    HIDDEN_SECONDS.saturating_add(seconds).min(12 * 60 * 60)
}

#[derive(Debug)]
pub struct Seen {
    pub letters: Vec<DeadLetter>,
    pub more: usize,
}

/// Reads the messages of a dead-letter queue and gives all of them back.
pub fn peek(sqs: &Sqs<'_>, prefix: &str, queue: Queue, reach: Reach) -> Result<Seen> {
    let mut pass = Pass::begin(sqs, prefix, queue, reach)?;
    let mut letters = Vec::new();
    loop {
        let batch = pass.next()?;
        if batch.is_empty() {
            let more = pass.more();
            return Ok(Seen { letters, more });
        }
        letters.extend(batch);
    }
}

/// One message, hidden from others until it is given back or its timeout ends.
#[derive(Debug)]
pub struct Found {
    pub queue: Queue,
    pub url: String,
    pub letter: DeadLetter,
}

impl Found {
    pub fn give_back(&self, sqs: &Sqs<'_>) {
        give_back(sqs, &self.url, [&self.letter.receipt]);
    }
}

pub fn find(sqs: &Sqs<'_>, prefix: &str, queues: &[Queue], id: Uuid) -> Result<Found> {
    let (mut seen, mut more) = (0, 0);
    for queue in queues {
        let mut pass = Pass::begin(sqs, prefix, *queue, Reach::Whole)?;
        loop {
            let batch = pass.next()?;
            if batch.is_empty() {
                break;
            }
            let is_it = |letter: &DeadLetter| Uuid::try_parse(&letter.id) == Ok(id);
            if let Some(letter) = batch.into_iter().find(is_it) {
                pass.receipts.remove(&letter.id);
                return Ok(Found {
                    queue: *queue,
                    url: pass.url.clone(),
                    letter,
                });
            }
        }
        seen += pass.seen;
        more += pass.more();
    }
    let names: Vec<String> = queues
        .iter()
        .map(|queue| format!("{}-dlq", queue.name))
        .collect();
    let rest = match more {
        0 => {
            ", and there are no more; it may be in another queue, still being retried, sent back \
             or dropped"
        }
        more => &unseen(more),
    };
    Err(Error::new(format!(
        "message {id} was not found: {} read in {}{rest}",
        count(seen, "message"),
        names.join(", ")
    )))
}

/// Describes the messages that SQS counts but this command did not see.
pub fn unseen(more: usize) -> String {
    if more == 0 {
        return String::new();
    }
    format!(
        "; SQS counts about {more} more: hidden by another reader for a minute (or longer in a \
         large queue), or beyond the first {SAMPLE_SIZE} of a queue"
    )
}
