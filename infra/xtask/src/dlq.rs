//! `cargo xtask dlq`: what failed for good, why, and sending it back.
//!
//! Looking takes nothing away: messages are received with a short visibility timeout and given back
//! at once. Sending back is receive, send, delete, in this order: whoever dies in between leaves a
//! message in both queues, and every handler knows a message it has seen. (`StartMessageMoveTask`
//! would do the same out of sight, cannot choose messages, and is missing in the emulator.)
//!
//! A dead-letter queue does not say what went wrong. The function logged it, with the message's id.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::aws::{Aws, AwsError};
use crate::error::{Context, Error, Result};
use crate::saga;
use crate::ui::{age, count};

/// A queue whose failed messages are kept in `<name>-dlq`, and the function that takes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub name: &'static str,
    pub consumer: &'static str,
}

pub const QUEUES: [Queue; 4] = [
    Queue {
        name: "users-commands",
        consumer: "users-verify",
    },
    Queue {
        name: "inventory-commands",
        consumer: "inventory-commands",
    },
    Queue {
        name: "payments-commands",
        consumer: "payments-commands",
    },
    Queue {
        name: "orders-replies",
        consumer: "orders-replies",
    },
];

/// How long a message that is looked at is hidden from others, should the looking be killed.
const LOOK_SECONDS: u32 = 30;

/// How long a message that is moved is hidden: longer than a batch takes by far.
const MOVE_SECONDS: u32 = 60;

/// `ReceiveMessage` and the batches take at most this many.
const BATCH: usize = 10;

/// A queue is looked into so far; what is beyond is counted by SQS alone.
const LOOKED_AT: usize = 1_000;

/// A short poll may find nothing in a queue that holds something. So often in a row it does not.
const EMPTY_POLLS: usize = 3;

/// What an operator wants of the dead-letter queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    List,
    Show { id: String },
    Redrive(Redrive),
}

/// Which messages go back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redrive {
    pub queue: Option<String>,
    pub max: Option<usize>,
    pub dry_run: bool,
    pub id: Option<String>,
    /// Also those that no function can read. Without it they stay, unless named by `id`.
    pub unparseable: bool,
}

/// Does it and says what came of it.
pub fn run(aws: &Aws, prefix: &str, action: &Action) -> Result<String> {
    match action {
        Action::List => list(aws, prefix),
        Action::Show { id } => show(aws, prefix, id),
        Action::Redrive(redrive) => {
            let call = |operation: &str, params: Value| aws.call("sqs", operation, params);
            let mut told = Vec::new();
            for queue in chosen(prefix, redrive.queue.as_deref())? {
                let moved = send_back(&call, prefix, queue, redrive)?;
                told.push((queue, moved));
            }
            Ok(moves(&told, redrive))
        }
    }
}

fn chosen(prefix: &str, name: Option<&str>) -> Result<Vec<Queue>> {
    let Some(name) = name else {
        return Ok(QUEUES.to_vec());
    };
    let short = name.strip_suffix("-dlq").unwrap_or(name);
    let short = short.strip_prefix(&format!("{prefix}-")).unwrap_or(short);
    let found = QUEUES.iter().find(|queue| queue.name == short);
    found.map(|queue| vec![*queue]).context(format!(
        "there is no queue `{name}`; there are {}",
        QUEUES.map(|queue| queue.name).join(", ")
    ))
}

/// One call of SQS: the account's, the emulator's, or a test's.
type Sqs<'a> = dyn Fn(&str, Value) -> std::result::Result<Value, AwsError> + 'a;

/// A message that failed for good.
#[derive(Debug, Clone)]
struct Letter {
    id: String,
    receipt: String,
    body: String,
    attributes: Map<String, Value>,
    message_attributes: Map<String, Value>,
    /// What it says it is, where it can be read.
    envelope: Option<Envelope>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Envelope {
    kind: String,
    order: Uuid,
}

impl Letter {
    fn read(message: &Value) -> Option<Self> {
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

    fn number(&self, name: &str) -> Option<i64> {
        self.attributes.get(name)?.as_str()?.parse().ok()
    }

    /// When it was first sent; a move to the dead-letter queue does not change that.
    fn sent_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.number("SentTimestamp")?).ok()
    }

    fn kind(&self) -> &str {
        self.envelope
            .as_ref()
            .map_or(UNREADABLE, |envelope| &envelope.kind)
    }
}

const UNREADABLE: &str = "(not a message)";

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

fn url(sqs: &Sqs<'_>, name: &str) -> Result<String> {
    let answer =
        sqs("GetQueueUrl", json!({"QueueName": name})).context(format!("finding {name}"))?;
    let url = answer["QueueUrl"].as_str();
    Ok(url.context(format!("{name} has no address"))?.to_owned())
}

fn waiting(sqs: &Sqs<'_>, url: &str) -> Result<usize> {
    let answer = sqs(
        "GetQueueAttributes",
        json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]}),
    )
    .context(format!("counting {url}"))?;
    let number = answer["Attributes"]["ApproximateNumberOfMessages"].as_str();
    Ok(number.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn receive(sqs: &Sqs<'_>, url: &str, hidden: u32, wait: u32) -> Result<Vec<Letter>> {
    let answer = sqs(
        "ReceiveMessage",
        json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": BATCH,
            "VisibilityTimeout": hidden,
            "WaitTimeSeconds": wait,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }),
    )
    .context(format!("reading {url}"))?;
    let messages = answer["Messages"].as_array().into_iter().flatten();
    Ok(messages.filter_map(Letter::read).collect())
}

/// Makes messages visible again. One that this fails for is visible soon anyway.
fn give_back(sqs: &Sqs<'_>, url: &str, letters: &[Letter]) {
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

/// Receives until nothing more comes, or `enough` of them are there.
fn gather(sqs: &Sqs<'_>, url: &str, enough: usize, letters: &mut Vec<Letter>) -> Result<()> {
    let expected = waiting(sqs, url)?.min(enough);
    let mut seen = BTreeSet::new();
    let mut empty = 0;
    while letters.len() < enough && empty < EMPTY_POLLS {
        // A long poll asks every server; worth its second only where something should be there.
        let complete = letters.len() >= expected;
        let batch = receive(sqs, url, LOOK_SECONDS, u32::from(!complete))?;
        if batch.is_empty() {
            if complete {
                break;
            }
            empty += 1;
            continue;
        }
        empty = 0;
        let before = letters.len();
        for letter in batch {
            // Received again: the first ones are visible again.
            if seen.insert(letter.id.clone()) {
                letters.push(letter);
            } else if let Some(known) = letters.iter_mut().find(|known| known.id == letter.id) {
                known.receipt = letter.receipt;
            }
        }
        if letters.len() == before {
            break;
        }
    }
    Ok(())
}

/// The messages of a dead-letter queue, which are all given back.
fn look(sqs: &Sqs<'_>, prefix: &str, queue: Queue) -> Result<Vec<Letter>> {
    let url = url(sqs, &format!("{prefix}-{}-dlq", queue.name))?;
    let mut letters = Vec::new();
    let gathered = gather(sqs, &url, LOOKED_AT, &mut letters);
    give_back(sqs, &url, &letters);
    gathered.map(|()| letters)
}

/// How a message failed the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    at: i64,
    error: String,
    receive_count: Option<i64>,
    trace: Option<String>,
}

/// The last failure of each message that the function logged, by the message's id.
fn failures(
    aws: &Aws,
    prefix: &str,
    queue: Queue,
    letters: &[Letter],
) -> Result<BTreeMap<String, Failure>> {
    let mut found: BTreeMap<String, Failure> = BTreeMap::new();
    let sent = letters
        .iter()
        .filter_map(|letter| letter.number("SentTimestamp"));
    let Some(since) = sent.min() else {
        return Ok(found);
    };
    let group = format!("/aws/lambda/{prefix}-{}", queue.consumer);
    let mut request = json!({"logGroupName": group, "startTime": since,
                             "filterPattern": "\"message failed\""});
    loop {
        let page = aws
            .find(
                "logs",
                "FilterLogEvents",
                request.clone(),
                "ResourceNotFoundException",
            )
            .context(format!("reading {group}"))?;
        let Some(page) = page else { break };
        for event in page["events"].as_array().into_iter().flatten() {
            if let Some((id, failure)) = failure(event)
                && found.get(&id).is_none_or(|known| known.at <= failure.at)
            {
                found.insert(id, failure);
            }
        }
        match &page["nextToken"] {
            Value::String(token) => request["nextToken"] = json!(token),
            _ => break,
        }
    }
    Ok(found)
}

/// The runner's line about a message that failed: its message's id and what it says.
fn failure(event: &Value) -> Option<(String, Failure)> {
    let line: Value = serde_json::from_str(event["message"].as_str()?).ok()?;
    let detail = line["message"].as_str()?.strip_prefix("message failed: ")?;
    let error = match line["cause"].as_str() {
        Some(cause) => format!("{detail}: {cause}"),
        None => detail.to_owned(),
    };
    let failure = Failure {
        at: event["timestamp"].as_i64()?,
        error,
        receive_count: line["receive_count"].as_i64(),
        trace: line["traceparent"].as_str().map(str::to_owned),
    };
    Some((line["message_id"].as_str()?.to_owned(), failure))
}

/// An error without what differs from one message to the next: ids.
fn normalised(error: &str) -> String {
    let is_id = |word: &str| Uuid::try_parse(word).is_ok();
    let mut text = String::new();
    let mut word = String::new();
    for character in error.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() || character == '-' {
            word.push(character);
            continue;
        }
        text.push_str(if is_id(&word) { "<id>" } else { &word });
        word.clear();
        text.push(character);
    }
    text.trim_end().to_owned()
}

const NOT_LOGGED: &str = "(not in the function's log: it died, timed out, or the log is gone)";

#[derive(Debug)]
struct Group {
    messages: usize,
    oldest: Option<Timestamp>,
    ids: Vec<String>,
}

fn grouped(
    letters: &[Letter],
    failures: &BTreeMap<String, Failure>,
) -> BTreeMap<(String, String), Group> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for letter in letters {
        let error = failures.get(&letter.id).map_or_else(
            || NOT_LOGGED.to_owned(),
            |failure| normalised(&failure.error),
        );
        let group = groups
            .entry((letter.kind().to_owned(), error))
            .or_insert(Group {
                messages: 0,
                oldest: None,
                ids: Vec::new(),
            });
        group.messages += 1;
        group.oldest = [group.oldest, letter.sent_at()].into_iter().flatten().min();
        group.ids.push(letter.id.clone());
    }
    groups
}

fn list(aws: &Aws, prefix: &str) -> Result<String> {
    let call = |operation: &str, params: Value| aws.call("sqs", operation, params);
    let mut text = String::new();
    for queue in QUEUES {
        let letters = look(&call, prefix, queue)?;
        let failures = failures(aws, prefix, queue, &letters)?;
        let groups = grouped(&letters, &failures);
        describe(&mut text, queue, letters.len(), &groups, Timestamp::now())
            .expect("text can always be added to");
    }
    Ok(if text.is_empty() {
        "nothing has failed for good".to_owned()
    } else {
        format!(
            "{}\n\nnext: cargo xtask dlq show ID; when the cause is gone, cargo xtask dlq redrive",
            text.trim_start()
        )
    })
}

fn describe(
    text: &mut String,
    queue: Queue,
    messages: usize,
    groups: &BTreeMap<(String, String), Group>,
    now: Timestamp,
) -> std::fmt::Result {
    if messages == 0 {
        return Ok(());
    }
    let more = if messages >= LOOKED_AT {
        " or more"
    } else {
        ""
    };
    write!(
        text,
        "\n\n{}-dlq  {}{more}",
        queue.name,
        count(messages, "message")
    )?;
    for ((kind, error), group) in groups {
        let oldest = group
            .oldest
            .map_or("?".to_owned(), |oldest| age(oldest, now));
        write!(
            text,
            "\n  {:>5} x {kind}, the oldest {oldest} old: {error}\n          {}{}",
            group.messages,
            group.ids[..group.ids.len().min(3)].join(" "),
            if group.ids.len() > 3 { " ..." } else { "" }
        )?;
    }
    Ok(())
}

fn show(aws: &Aws, prefix: &str, id: &str) -> Result<String> {
    let call = |operation: &str, params: Value| aws.call("sqs", operation, params);
    let mut found = Vec::new();
    for queue in QUEUES {
        let letters = look(&call, prefix, queue)?;
        found.extend(
            letters
                .into_iter()
                .filter(|letter| letter.id.starts_with(id))
                .map(|letter| (queue, letter)),
        );
    }
    let [(queue, letter)] = found.as_slice() else {
        return Err(Error::new(if found.is_empty() {
            format!("no dead-letter queue holds a message {id}; see cargo xtask dlq ls")
        } else {
            format!("{} messages begin with {id}; give more of it", found.len())
        }));
    };
    let failures = failures(aws, prefix, *queue, std::slice::from_ref(letter))?;
    // The message is the thing; what else there is to say must not keep it from being shown.
    let order = letter.envelope.as_ref().map(|envelope| {
        saga::show(aws, prefix, envelope.order)
            .unwrap_or_else(|error| json!({"outcome": error.to_string()}))
    });
    let mut text = String::new();
    whole(
        &mut text,
        *queue,
        letter,
        failures.get(&letter.id),
        order.as_ref(),
    )
    .expect("text can always be added to");
    Ok(text)
}

fn whole(
    text: &mut String,
    queue: Queue,
    letter: &Letter,
    failure: Option<&Failure>,
    order: Option<&Value>,
) -> std::fmt::Result {
    let sent = letter.sent_at().map_or("?".to_owned(), |at| at.to_string());
    writeln!(text, "message     {}", letter.id)?;
    writeln!(text, "queue       {}-dlq, of {}", queue.name, queue.name)?;
    writeln!(text, "type        {}", letter.kind())?;
    writeln!(text, "sent        {sent}")?;
    writeln!(
        text,
        "received    {} times, looks into the dead-letter queue included",
        letter.number("ApproximateReceiveCount").unwrap_or(0)
    )?;
    match failure {
        Some(failure) => {
            let at = Timestamp::from_millisecond(failure.at).unwrap_or(Timestamp::UNIX_EPOCH);
            let tries = failure.receive_count.unwrap_or(0);
            writeln!(text, "error       {}", failure.error)?;
            writeln!(text, "            at {at}, on try {tries}")?;
            if let Some(trace) = &failure.trace {
                writeln!(text, "trace       {trace}")?;
            }
        }
        None => writeln!(text, "error       {NOT_LOGGED}")?,
    }
    for (name, value) in &letter.message_attributes {
        writeln!(text, "attribute   {name}: {value}")?;
    }
    let body = serde_json::from_str::<Value>(&letter.body)
        .and_then(|body| serde_json::to_string_pretty(&body))
        .unwrap_or_else(|_| letter.body.clone());
    writeln!(text, "\n{body}\n")?;
    let Some(answer) = order else {
        return write!(
            text,
            "it names no order; it goes back only with cargo xtask dlq redrive --id {}",
            letter.id
        );
    };
    let order = &answer["order"];
    let Some(id) = order["order_id"].as_str() else {
        let outcome = answer["outcome"].as_str().unwrap_or("?");
        return write!(text, "order       {outcome}");
    };
    let shown = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    write!(
        text,
        "order       {id}: {} ({}), waits for {} (as orders-operate shows it)",
        shown(&order["status"]),
        shown(&order["state"]),
        shown(&order["waits_for"])
    )?;
    for entry in order["timeline"].as_array().into_iter().flatten() {
        write!(
            text,
            "\n  {}  {}",
            shown(&entry["at"]),
            shown(&entry["event"])
        )?;
        if let Some(attempt) = entry["attempt"].as_u64() {
            write!(text, " ({attempt})")?;
        }
        if let Some(detail) = entry["detail"].as_str() {
            write!(text, ": {detail}")?;
        }
    }
    Ok(())
}

/// What became of a dead-letter queue's messages.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moved {
    /// Their ids before; sent again they have new ones.
    sent: Vec<String>,
    /// Not chosen; among them `unreadable` that nobody asked for.
    left: usize,
    unreadable: usize,
    /// Failed once more while this was going on, and were left.
    back_again: usize,
}

fn send_back(sqs: &Sqs<'_>, prefix: &str, queue: Queue, redrive: &Redrive) -> Result<Moved> {
    let from = url(sqs, &format!("{prefix}-{}-dlq", queue.name))?;
    let to = url(sqs, &format!("{prefix}-{}", queue.name))?;
    let mut kept = Vec::new();
    let moved = send_all(sqs, &from, &to, redrive, &mut kept);
    give_back(sqs, &from, &kept);
    moved
}

fn send_all(
    sqs: &Sqs<'_>,
    from: &str,
    to: &str,
    redrive: &Redrive,
    kept: &mut Vec<Letter>,
) -> Result<Moved> {
    let expected = waiting(sqs, from)?;
    let max = redrive.max.unwrap_or(usize::MAX);
    let mut moved = Moved::default();
    // Of every message taken here, by the id it had or was given.
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut empty = 0;
    'all: while empty < EMPTY_POLLS {
        let complete = known.len() >= expected;
        let batch = receive(sqs, from, MOVE_SECONDS, u32::from(!complete))?;
        if batch.is_empty() {
            if complete {
                break;
            }
            empty += 1;
            continue;
        }
        empty = 0;
        let mut fresh = false;
        let mut batch = batch.into_iter();
        while let Some(letter) = batch.next() {
            if known.contains(&letter.id) {
                moved.back_again += usize::from(!kept.iter().any(|k| k.id == letter.id));
                kept.push(letter);
                continue;
            }
            if moved.sent.len() >= max {
                kept.push(letter);
                kept.extend(batch);
                break 'all;
            }
            fresh = true;
            known.insert(letter.id.clone());
            if !is_chosen(redrive, &letter) {
                moved.left += 1;
                moved.unreadable += usize::from(letter.envelope.is_none());
                kept.push(letter);
                continue;
            }
            if redrive.dry_run {
                moved.sent.push(letter.id.clone());
                kept.push(letter);
                continue;
            }
            match forward(sqs, from, to, &letter) {
                Ok(new_id) => {
                    known.insert(new_id);
                    moved.sent.push(letter.id);
                }
                Err(error) => {
                    kept.push(letter);
                    kept.extend(batch);
                    return Err(error);
                }
            }
        }
        if !fresh {
            break;
        }
    }
    Ok(moved)
}

fn is_chosen(redrive: &Redrive, letter: &Letter) -> bool {
    match &redrive.id {
        Some(id) => letter.id == *id,
        None => redrive.unparseable || letter.envelope.is_some(),
    }
}

/// Sends a message where it came from, then deletes it: the other way round it could be lost.
fn forward(sqs: &Sqs<'_>, from: &str, to: &str, letter: &Letter) -> Result<String> {
    let mut message = json!({"QueueUrl": to, "MessageBody": letter.body});
    let attributes: Map<String, Value> = letter
        .message_attributes
        .iter()
        .map(|(name, attribute)| (name.clone(), to_send(attribute)))
        .collect();
    if !attributes.is_empty() {
        message["MessageAttributes"] = Value::Object(attributes);
    }
    // The one system attribute a sender may set.
    if let Some(trace) = letter.attributes.get("AWSTraceHeader") {
        message["MessageSystemAttributes"] =
            json!({"AWSTraceHeader": {"DataType": "String", "StringValue": trace}});
    }
    let sent = sqs("SendMessage", message).context(format!(
        "sending {} back; it stays where it is, so do this again",
        letter.id
    ))?;
    sqs(
        "DeleteMessage",
        json!({"QueueUrl": from, "ReceiptHandle": letter.receipt}),
    )
    .context(format!(
        "{} is sent back and is still in the dead-letter queue; do this again, a repeat does no harm",
        letter.id
    ))?;
    Ok(sent["MessageId"].as_str().unwrap_or_default().to_owned())
}

/// An attribute as it is sent: without what SQS reserves for lists.
fn to_send(attribute: &Value) -> Value {
    let mut sent = attribute.clone();
    if let Some(members) = sent.as_object_mut() {
        members
            .retain(|name, _| ["DataType", "StringValue", "BinaryValue"].contains(&name.as_str()));
    }
    sent
}

fn moves(told: &[(Queue, Moved)], redrive: &Redrive) -> String {
    let mut lines = Vec::new();
    for (queue, moved) in told {
        let Moved {
            sent,
            left,
            unreadable,
            back_again,
        } = moved;
        if sent.is_empty() && *left == 0 && *back_again == 0 {
            continue;
        }
        let verb = if redrive.dry_run { "would go" } else { "went" };
        let mut line = format!(
            "{}: {} {verb} back",
            queue.name,
            count(sent.len(), "message")
        );
        if *left > 0 {
            line.push_str(&format!(", {left} left"));
        }
        if *unreadable > 0 && redrive.id.is_none() {
            line.push_str(&format!(
                " ({unreadable} of them no function can read: --unparseable or --id sends those)"
            ));
        }
        if *back_again > 0 {
            line.push_str(&format!(
                ", {back_again} failed once more at once: the cause is not gone (cargo xtask dlq ls)"
            ));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        "there is nothing to send back".to_owned()
    } else {
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
