//! Sending dead letters back to where they failed, or away for good.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::letter::{Found, Letter, Sqs, dead, depth, find, give_back, receive, release, url};
use super::{Queue, Redrive};
use crate::error::{Context, Error, Result};
use crate::ui::count;

/// How long a message that is moved is hidden: longer than a batch takes by far.
const MOVE_SECONDS: u32 = 60;

/// What became of a dead-letter queue's messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Their ids before; sent again they have new ones.
    pub sent: Vec<String>,
    /// Not sent, because no function can read them and nobody asked for them.
    pub unreadable: usize,
    /// Sent after this had begun, here or by others, and failed already; left.
    pub failing: usize,
    /// What else SQS counts in the queue.
    pub more: usize,
}

/// Sends back what is chosen and says what came of it, up to an error too.
pub fn run(
    sqs: &Sqs<'_>,
    prefix: &str,
    queues: &[Queue],
    redrive: &Redrive,
    begun: Timestamp,
) -> Result<String> {
    if let Some(id) = &redrive.id {
        let found = find(sqs, prefix, queues, id)?;
        return one(sqs, prefix, &found, redrive);
    }
    let mut told: Vec<(Queue, Moved)> = Vec::new();
    for queue in queues {
        let sent: usize = told.iter().map(|(_, moved)| moved.sent.len()).sum();
        let max = redrive.max.map_or(usize::MAX, |max| max - sent);
        let mut moved = Moved::default();
        let outcome = send_back(sqs, prefix, *queue, redrive, max, begun, &mut moved);
        told.push((*queue, moved));
        if let Err(error) = outcome {
            let failed = format!("{}: {error}", queue.name);
            return Err(Error::new(
                if told.iter().all(|(_, moved)| *moved == Moved::default()) {
                    failed
                } else {
                    format!("{}\n{failed}", moves(&told, redrive))
                },
            ));
        }
    }
    Ok(moves(&told, redrive))
}

fn one(sqs: &Sqs<'_>, prefix: &str, found: &Found, redrive: &Redrive) -> Result<String> {
    if redrive.dry_run {
        release(sqs, std::slice::from_ref(found));
    } else {
        let to = url(sqs, &format!("{prefix}-{}", found.queue.name))?;
        if let Err(error) = forward(sqs, &found.url, &to, &found.letter) {
            release(sqs, std::slice::from_ref(found));
            return Err(error);
        }
    }
    let moved = Moved {
        sent: vec![found.letter.id.clone()],
        ..Moved::default()
    };
    Ok(moves(&[(found.queue, moved)], redrive))
}

pub fn send_back(
    sqs: &Sqs<'_>,
    prefix: &str,
    queue: Queue,
    redrive: &Redrive,
    max: usize,
    begun: Timestamp,
    moved: &mut Moved,
) -> Result<()> {
    let from = dead(sqs, prefix, queue)?;
    let to = url(sqs, &format!("{prefix}-{}", queue.name))?;
    let mut kept = Vec::new();
    let sent = send_all(sqs, (&from, &to), redrive, max, begun, moved, &mut kept);
    let counted = depth(sqs, &from);
    give_back(sqs, &from, &kept);
    sent?;
    let still_there = if redrive.dry_run { moved.sent.len() } else { 0 };
    moved.more = counted?.beyond(still_there + moved.unreadable + moved.failing);
    Ok(())
}

fn send_all(
    sqs: &Sqs<'_>,
    (from, to): (&str, &str),
    redrive: &Redrive,
    max: usize,
    begun: Timestamp,
    moved: &mut Moved,
    kept: &mut Vec<Letter>,
) -> Result<()> {
    // Of every message taken here, by the id it had or was given.
    let mut known: BTreeSet<String> = BTreeSet::new();
    while moved.sent.len() < max {
        let mut fresh = false;
        let mut batch = receive(sqs, from, MOVE_SECONDS)?.into_iter();
        while let Some(letter) = batch.next() {
            // SQS's clock and this one are less than five minutes apart, or no call is accepted.
            let since = letter.sent_at().is_some_and(|sent| sent > begun);
            if since || known.contains(&letter.id) {
                // Perhaps only in sight again after its time: then it has been counted.
                moved.failing += usize::from(!kept.iter().any(|kept| kept.id == letter.id));
                kept.push(letter);
                continue;
            }
            if moved.sent.len() >= max {
                kept.push(letter);
                kept.extend(batch);
                return Ok(());
            }
            fresh = true;
            known.insert(letter.id.clone());
            if !redrive.unparseable && letter.envelope.is_none() {
                moved.unreadable += 1;
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
    Ok(())
}

/// Prints a message, then deletes it: the other way round it could be lost unseen.
pub fn drop_letter(sqs: &Sqs<'_>, found: &Found, print: impl FnOnce() -> bool) -> Result<String> {
    let id = &found.letter.id;
    if !print() {
        release(sqs, std::slice::from_ref(found));
        return Err(Error::new(format!(
            "{id} could not be printed, so it stays where it is"
        )));
    }
    sqs(
        "DeleteMessage",
        json!({"QueueUrl": found.url, "ReceiptHandle": found.letter.receipt}),
    )
    .context(format!("deleting {id}; do this again"))?;
    Ok(format!(
        "\n{id} is dropped: what is printed above is all that is left of it. An order it belongs to goes \
         on as if it had never come: cargo xtask saga ls"
    ))
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

pub fn moves(told: &[(Queue, Moved)], redrive: &Redrive) -> String {
    let mut lines = Vec::new();
    for (queue, moved) in told {
        if *moved == Moved::default() {
            continue;
        }
        let verb = if redrive.dry_run { "would go" } else { "went" };
        let mut line = format!(
            "{}: {} {verb} back",
            queue.name,
            count(moved.sent.len(), "message")
        );
        if moved.unreadable > 0 {
            line.push_str(&format!(
                ", {} left that no function can read (--unparseable or --id sends those)",
                moved.unreadable
            ));
        }
        if moved.failing > 0 {
            line.push_str(&format!(
                ", {} failed while this went on: the cause is not gone (cargo xtask dlq ls)",
                moved.failing
            ));
        }
        if moved.more > 0 {
            line.push_str(&format!(
                ", about {} more are there by SQS's count: beyond --max, or hidden for a minute by \
                 somebody else; do this again then",
                moved.more
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
