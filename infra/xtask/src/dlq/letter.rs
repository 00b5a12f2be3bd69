//! The messages of a dead-letter queue: received, read, found by id, and given back.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Queue;
use crate::aws::AwsError;
use crate::error::{Context, Error, Result};

/// How long a message that is looked at is hidden from others, should the looking be killed.
pub const LOOK_SECONDS: u32 = 30;

/// `ReceiveMessage` and the batches take at most this many.
pub const BATCH: usize = 10;

/// A queue is looked into so far; what is beyond is counted by SQS alone.
pub const LOOKED_AT: usize = 1_000;

/// So many polls in a row that find nothing, although SQS counts something, are believed.
const EMPTY_POLLS: usize = 3;

/// One call of SQS: the account's, the emulator's, or a test's.
pub type Sqs<'a> = dyn Fn(&str, Value) -> std::result::Result<Value, AwsError> + 'a;

/// A message that failed for good.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: String,
    pub receipt: String,
    pub body: String,
    pub attributes: Map<String, Value>,
    pub message_attributes: Map<String, Value>,
    /// What it says it is, where it can be read.
    pub envelope: Option<Envelope>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub kind: String,
    pub order: Uuid,
}

impl Letter {
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

    /// When it was first sent; a move to the dead-letter queue does not change that.
    pub fn sent_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.number("SentTimestamp")?).ok()
    }

    pub fn kind(&self) -> &str {
        self.envelope
            .as_ref()
            .map_or("(not a message)", |envelope| &envelope.kind)
    }
}

/// What every message of this system has; `data` is its type's own.
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

/// The address of a queue's dead letters.
pub fn dead(sqs: &Sqs<'_>, prefix: &str, queue: Queue) -> Result<String> {
    url(sqs, &format!("{prefix}-{}-dlq", queue.name))
}

/// What SQS counts in a queue. On AWS it follows what happens by up to a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    pub visible: usize,
    /// Received by somebody, and neither deleted nor given back yet.
    pub hidden: usize,
}

impl Depth {
    /// Of these, how many are not among the `held`.
    pub fn beyond(self, held: usize) -> usize {
        (self.visible + self.hidden).saturating_sub(held)
    }
}

pub fn depth(sqs: &Sqs<'_>, url: &str) -> Result<Depth> {
    let names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
    ];
    let answer = sqs(
        "GetQueueAttributes",
        json!({"QueueUrl": url, "AttributeNames": names}),
    )
    .context(format!("counting {url}"))?;
    let number = |name: &str| {
        let text = answer["Attributes"][name].as_str();
        let number = text.and_then(|text| text.parse().ok());
        number.context(format!("counting {url}: SQS does not say {name}"))
    };
    Ok(Depth {
        visible: number(names[0])?,
        hidden: number(names[1])?,
    })
}

/// The next messages; none only where there are none. A short poll asks some of a queue's servers
/// and may find nothing in a queue that holds something, so every poll is a long one, and an empty
/// one has to agree with what SQS counts.
pub fn receive(sqs: &Sqs<'_>, url: &str, hidden: u32) -> Result<Vec<Letter>> {
    for _ in 0..EMPTY_POLLS {
        let answer = sqs(
            "ReceiveMessage",
            json!({
                "QueueUrl": url,
                "MaxNumberOfMessages": BATCH,
                "VisibilityTimeout": hidden,
                "WaitTimeSeconds": 1,
                "AttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            }),
        )
        .context(format!("reading {url}"))?;
        let messages = answer["Messages"].as_array().into_iter().flatten();
        let letters: Vec<Letter> = messages.filter_map(Letter::read).collect();
        if !letters.is_empty() || depth(sqs, url)?.visible == 0 {
            return Ok(letters);
        }
    }
    Ok(Vec::new())
}

/// Makes messages visible again. One that this fails for is visible soon anyway.
pub fn give_back<'l>(sqs: &Sqs<'_>, url: &str, letters: impl IntoIterator<Item = &'l Letter>) {
    let letters: Vec<&Letter> = letters.into_iter().collect();
    for batch in letters.chunks(BATCH) {
        let entries: Vec<Value> = batch
            .iter()
            .enumerate()
            .map(|(number, letter)| {
                json!({"Id": number.to_string(), "ReceiptHandle": letter.receipt,
                       "VisibilityTimeout": 0})
            })
            .collect();
        let _ = sqs(
            "ChangeMessageVisibilityBatch",
            json!({"QueueUrl": url, "Entries": entries}),
        );
    }
}

/// What was seen of a dead-letter queue.
#[derive(Debug)]
pub struct Seen {
    pub letters: Vec<Letter>,
    /// How many more SQS counts: hidden by somebody else's look or by a killed one, or beyond
    /// [`LOOKED_AT`].
    pub more: usize,
}

/// The messages of a dead-letter queue, which are all given back.
pub fn look(sqs: &Sqs<'_>, prefix: &str, queue: Queue) -> Result<Seen> {
    let url = dead(sqs, prefix, queue)?;
    let seen = hold(sqs, &url, &|_| false)?;
    give_back(sqs, &url, &seen.letters);
    Ok(seen)
}

/// Receives messages, and keeps them hidden, until there are no more, [`LOOKED_AT`] of them are
/// there, or the one that is wanted is.
fn hold(sqs: &Sqs<'_>, url: &str, is_wanted: &dyn Fn(&Letter) -> bool) -> Result<Seen> {
    let mut letters = Vec::new();
    let gathered = gather(sqs, url, is_wanted, &mut letters).and_then(|()| depth(sqs, url));
    match gathered {
        Ok(depth) => Ok(Seen {
            more: depth.beyond(letters.len()),
            letters,
        }),
        Err(error) => {
            give_back(sqs, url, &letters);
            Err(error)
        }
    }
}

fn gather(
    sqs: &Sqs<'_>,
    url: &str,
    is_wanted: &dyn Fn(&Letter) -> bool,
    letters: &mut Vec<Letter>,
) -> Result<()> {
    while letters.len() < LOOKED_AT && !letters.iter().any(is_wanted) {
        let before = letters.len();
        for letter in receive(sqs, url, LOOK_SECONDS)? {
            // Received again: the first ones are visible again.
            match letters.iter_mut().find(|known| known.id == letter.id) {
                Some(known) => known.receipt = letter.receipt,
                None => letters.push(letter),
            }
        }
        if letters.len() == before {
            break;
        }
    }
    Ok(())
}

/// One message, hidden from others until it is given back or its time is over.
#[derive(Debug)]
pub struct Found {
    pub queue: Queue,
    pub url: String,
    pub letter: Letter,
}

/// The one message whose id this is, or begins with this.
pub fn find(sqs: &Sqs<'_>, prefix: &str, queues: &[Queue], id: &str) -> Result<Found> {
    if id.is_empty() {
        return Err(Error::new(
            "say which message; cargo xtask dlq ls names them",
        ));
    }
    let mut found: Vec<Found> = Vec::new();
    let mut more = 0;
    for queue in queues {
        let url = dead(sqs, prefix, *queue)?;
        let seen = hold(sqs, &url, &|letter| letter.id == id)?;
        more += seen.more;
        let (mine, others): (Vec<Letter>, Vec<Letter>) = seen
            .letters
            .into_iter()
            .partition(|letter| letter.id.starts_with(id));
        give_back(sqs, &url, &others);
        found.extend(mine.into_iter().map(|letter| Found {
            queue: *queue,
            url: url.clone(),
            letter,
        }));
        // A whole id, which is one message's alone, whatever else begins with it.
        if let Some(at) = found.iter().position(|found| found.letter.id == id) {
            let whole = found.swap_remove(at);
            release(sqs, &found);
            return Ok(whole);
        }
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(Error::new(format!(
            "no message in sight begins with {id}; cargo xtask dlq ls names those there are{}",
            out_of_sight(more)
        ))),
        number => {
            release(sqs, &found);
            Err(Error::new(format!(
                "{number} messages begin with {id}; give more of it"
            )))
        }
    }
}

/// Gives back what was found.
pub fn release(sqs: &Sqs<'_>, found: &[Found]) {
    for found in found {
        give_back(sqs, &found.url, [&found.letter]);
    }
}

/// What to say of messages that SQS counts and nobody here has seen.
pub fn out_of_sight(more: usize) -> String {
    if more == 0 {
        return String::new();
    }
    format!(
        "; SQS counts about {more} more: hidden for a minute by somebody else's look or one that was \
         killed, or beyond the first {LOOKED_AT} of a queue"
    )
}
