//! The messages of a dead-letter queue: received, read, found by id, and given back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{QUEUES, Queue};
use crate::aws::AwsError;
use crate::error::{Context, Error, Result};
use crate::ui::count;

/// How long a message that is looked at is hidden from others, should the looking be killed.
pub const LOOK_SECONDS: u32 = 30;

/// `ReceiveMessage` and the batches take at most this many.
pub const BATCH: usize = 10;

/// A queue is looked into so far, unless all of it is wanted; what is beyond is counted by SQS alone.
pub const LOOKED_AT: usize = 1_000;

/// Looking through all of a queue takes a second for at least so many messages.
const LOOKED_AT_A_SECOND: usize = 20;

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

    pub fn order(&self) -> Option<Uuid> {
        self.envelope.as_ref().map(|envelope| envelope.order)
    }

    /// All that SQS gave, but the receipt.
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
    pub fn all(self) -> usize {
        self.visible + self.hidden
    }

    /// Of these, how many are not among the `held`.
    pub fn beyond(self, held: usize) -> usize {
        self.all().saturating_sub(held)
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
        let letters = poll(sqs, url, hidden, 1)?;
        if !letters.is_empty() || depth(sqs, url)?.visible == 0 {
            return Ok(letters);
        }
    }
    Ok(Vec::new())
}

/// What comes within so many seconds, which SQS waits only where there is nothing.
pub fn poll(sqs: &Sqs<'_>, url: &str, hidden: u32, seconds: u32) -> Result<Vec<Letter>> {
    let answer = sqs(
        "ReceiveMessage",
        json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": BATCH,
            "VisibilityTimeout": hidden,
            "WaitTimeSeconds": seconds,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }),
    )
    .context(format!("reading {url}"))?;
    let messages = answer["Messages"].as_array().into_iter().flatten();
    Ok(messages.filter_map(Letter::read).collect())
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

/// How far into a queue somebody looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Up to [`LOOKED_AT`] messages.
    Sample,
    /// As many as SQS counts. What was seen is hidden for as long as that takes.
    Whole,
}

/// What was seen of a dead-letter queue.
#[derive(Debug)]
pub struct Seen {
    pub letters: Vec<Letter>,
    /// How many more SQS counts: hidden by somebody else's look or by a killed one, or beyond
    /// what was looked at.
    pub more: usize,
}

/// The messages of a dead-letter queue, which are all given back.
pub fn look(sqs: &Sqs<'_>, prefix: &str, queue: Queue, reach: Reach) -> Result<Seen> {
    let url = dead(sqs, prefix, queue)?;
    let seen = hold(sqs, &url, reach, &|_| false)?;
    give_back(sqs, &url, &seen.letters);
    Ok(seen)
}

/// Receives messages, and keeps them hidden, until there are no more, as many as are looked at are
/// there, or the one that is wanted is.
fn hold(
    sqs: &Sqs<'_>,
    url: &str,
    reach: Reach,
    is_wanted: &dyn Fn(&Letter) -> bool,
) -> Result<Seen> {
    let mut letters = Vec::new();
    let gathered = gather(sqs, url, reach, is_wanted, &mut letters);
    match gathered.and_then(|()| depth(sqs, url)) {
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
    reach: Reach,
    is_wanted: &dyn Fn(&Letter) -> bool,
    letters: &mut Vec<Letter>,
) -> Result<()> {
    let most = match reach {
        Reach::Sample => LOOKED_AT,
        Reach::Whole => depth(sqs, url)?.all().max(LOOKED_AT),
    };
    let hidden = match reach {
        Reach::Sample => LOOK_SECONDS,
        Reach::Whole => look_seconds(most),
    };
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut round = Round::default();
    let mut is_there = false;
    while letters.len() < most && !is_there {
        for letter in receive(sqs, url, hidden)? {
            // Received again: the first ones are visible again.
            if let Some(place) = places.get(&letter.id) {
                round.again(&letter.id);
                letters[*place].receipt = letter.receipt;
                continue;
            }
            round.news();
            is_there |= is_wanted(&letter);
            places.insert(letter.id.clone(), letters.len());
            letters.push(letter);
        }
        if round.is_over() {
            break;
        }
    }
    Ok(())
}

/// How long what is seen is hidden while so many messages are looked at. SQS allows 12 hours.
fn look_seconds(messages: usize) -> u32 {
    let seconds = u32::try_from(messages / LOOKED_AT_A_SECOND).unwrap_or(u32::MAX);
    LOOK_SECONDS.saturating_add(seconds).min(12 * 60 * 60)
}

/// Whether a queue may still hold something unseen. Whoever takes longer than messages stay hidden
/// receives some again, perhaps batches of nothing else. The queue has gone round when a receive
/// brings nothing but messages that have come again already since the last new one.
#[derive(Debug, Default)]
pub struct Round {
    again: BTreeSet<String>,
    moved_on: bool,
}

impl Round {
    pub fn news(&mut self) {
        self.again.clear();
        self.moved_on = true;
    }

    pub fn again(&mut self, id: &str) {
        self.moved_on |= self.again.insert(id.to_owned());
    }

    /// Asked once after each receive.
    pub fn is_over(&mut self) -> bool {
        !std::mem::take(&mut self.moved_on)
    }
}

/// One message, hidden from others until it is given back or its time is over.
#[derive(Debug)]
pub struct Found {
    pub queue: Queue,
    pub url: String,
    pub letter: Letter,
}

/// What a message is looked for, and so how sure it must be that it is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Show,
    /// Sending it back or dropping it: a part of an id names it only if nothing is out of sight.
    Take,
}

/// The one message whose id this is, or begins with this. A whole id is looked for in all of the
/// queues, a part of one in what is seen of them.
pub fn find(
    sqs: &Sqs<'_>,
    prefix: &str,
    queues: &[Queue],
    id: &str,
    purpose: Purpose,
) -> Result<Found> {
    if id.is_empty() {
        return Err(Error::new(
            "say which message; cargo xtask dlq ls names them",
        ));
    }
    let is_whole = id.len() == 36 && Uuid::try_parse(id).is_ok();
    let reach = if is_whole {
        Reach::Whole
    } else {
        Reach::Sample
    };
    let mut found: Vec<Found> = Vec::new();
    let (mut looked_at, mut more) = (0, 0);
    for queue in queues {
        let held = dead(sqs, prefix, *queue)
            .and_then(|url| Ok((hold(sqs, &url, reach, &|letter| letter.id == id)?, url)));
        let (seen, url) = match held {
            Ok(held) => held,
            Err(error) => {
                release(sqs, &found);
                return Err(error);
            }
        };
        looked_at += seen.letters.len();
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
    if found.len() == 1 && (more == 0 || purpose == Purpose::Show) {
        return Ok(found.swap_remove(0));
    }
    release(sqs, &found);
    let names: Vec<String> = queues
        .iter()
        .map(|queue| format!("{}-dlq", queue.name))
        .collect();
    let names = names.join(", ");
    Err(Error::new(match found.as_slice() {
        [] if is_whole && more == 0 => format!(
            "no message in sight is {id}: {} looked at in {names}, and there are no more; {}it is \
             not dead yet, or it was sent back or dropped",
            count(looked_at, "message"),
            if queues.len() == QUEUES.len() {
                ""
            } else {
                "if it is in no other queue, "
            }
        ),
        [] if is_whole => format!(
            "no message in sight is {id}: {} looked at in {names}{}",
            count(looked_at, "message"),
            out_of_sight(more)
        ),
        [] => format!(
            "no message in sight begins with {id}; cargo xtask dlq ls names those there are{}",
            out_of_sight(more)
        ),
        [one] => format!(
            "{} begins with {id}, and another one out of sight may, too: give the whole id{}",
            one.letter.id,
            out_of_sight(more)
        ),
        several => format!(
            "{} messages begin with {id}; give more of it",
            several.len()
        ),
    }))
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
        "; SQS counts about {more} more: hidden for a minute (for some, where a queue is large) by \
         somebody else's look or one that was killed, or beyond the first {LOOKED_AT} of a queue"
    )
}
