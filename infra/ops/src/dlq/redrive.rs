//! Sending dead letters back to where they failed, or away for good.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::dead_letter::{DeadLetter, Found, Pass, Reach, Sqs, find, look, out_of_sight, url};
use super::orders::{Ask, Orders, Verdict};
use super::{QUEUES, Queue, Redrive};
use crate::error::{Context, Error, Result};
use crate::ui::{count, foreign};

/// What became of a dead-letter queue's messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub sent: usize,
    /// Not sent, because no function can read them and nobody asked for them.
    pub unreadable: usize,
    /// Not sent, because an operator abandoned what they ask for.
    pub abandoned: Vec<Left>,
    /// Not sent, because `orders-admin` does not say whether that is so, and why it does not.
    pub unasked: Vec<Left>,
    /// Sent here and failed again already; left.
    pub failing: usize,
    /// What else SQS counted in the queue.
    pub more: usize,
}

/// A command that was not sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub id: String,
    pub order: Uuid,
    pub why: String,
}

/// Sends back what is chosen and says what came of it, up to an error too. What was chosen and is
/// still there is an error, unless it is left for good reason.
pub fn run(
    sqs: &Sqs<'_>,
    ask: &Ask<'_>,
    prefix: &str,
    queues: &[Queue],
    redrive: &Redrive,
) -> Result<String> {
    if let Some(id) = redrive.id {
        return one(sqs, prefix, queues, id, redrive);
    }
    let mut told: Vec<(Queue, Moved)> = Vec::new();
    let mut orders = Orders::new(ask);
    for queue in queues {
        let mut moved = Moved::default();
        let outcome = send_back(sqs, &mut orders, prefix, *queue, redrive, &mut moved);
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
    let text = moves(&told, redrive);
    if told.iter().any(|(_, moved)| moved.is_unfinished(redrive)) {
        let short = match redrive.dry_run {
            true => "not everything would go back",
            false => "not everything went back",
        };
        return Err(Error::new(format!("{short}\n{text}")));
    }
    Ok(text)
}

impl Moved {
    fn is_unfinished(&self, redrive: &Redrive) -> bool {
        self.failing > 0 || !self.unasked.is_empty() || (self.more > 0 && redrive.order.is_none())
    }
}

/// Sends back the message that is named.
fn one(
    sqs: &Sqs<'_>,
    prefix: &str,
    queues: &[Queue],
    id: Uuid,
    redrive: &Redrive,
) -> Result<String> {
    let found = find(sqs, prefix, queues, id)?;
    let moved = Moved {
        sent: 1,
        ..Moved::default()
    };
    let mut text = moves(&[(found.queue, moved)], redrive);
    if redrive.dry_run {
        found.give_back(sqs);
        return Ok(text);
    }
    let to = url(sqs, &format!("{prefix}-{}", found.queue.name));
    if let Err(error) = to.and_then(|to| forward(sqs, &found.url, &to, &found.letter)) {
        found.give_back(sqs);
        return Err(error);
    }
    text.push_str(
        "\nnobody waited for what becomes of it: waybill dlq ls has it again if it fails, at once \
         what no function can read, within four minutes what its table or provider fails",
    );
    Ok(text)
}

pub fn send_back(
    sqs: &Sqs<'_>,
    orders: &mut Orders<'_>,
    prefix: &str,
    queue: Queue,
    redrive: &Redrive,
    moved: &mut Moved,
) -> Result<()> {
    let to = url(sqs, &format!("{prefix}-{}", queue.name))?;
    let mut pass = Pass::begin(sqs, prefix, queue, Reach::Counted)?;
    let mut new_ids = BTreeSet::new();
    loop {
        let batch = pass.next()?;
        if batch.is_empty() {
            break;
        }
        for letter in batch {
            if !goes(orders, redrive, queue, &letter, moved) {
                continue;
            }
            if !redrive.dry_run {
                let new_id = forward(sqs, &pass.url, &to, &letter)?;
                pass.receipts.remove(&letter.id);
                pass.moved.extend([letter.id, new_id.clone()]);
                new_ids.insert(new_id);
            }
            moved.sent += 1;
        }
    }
    moved.more = pass.more();
    for (id, receipt) in &pass.receipts {
        if new_ids.contains(id) {
            moved.failing += 1;
        } else if pass.moved.contains(id) {
            // It came again, because its receipt was not valid any more when it was deleted.
            delete_sent(sqs, &pass.url, id, receipt)?;
        }
    }
    Ok(())
}

/// Whether a message is to go back; why not is noted.
fn goes(
    orders: &mut Orders<'_>,
    redrive: &Redrive,
    queue: Queue,
    letter: &DeadLetter,
    moved: &mut Moved,
) -> bool {
    let order = letter.order();
    if redrive.order.is_some() && order != redrive.order {
        return false;
    }
    let Some(order) = order else {
        moved.unreadable += usize::from(!redrive.unparseable);
        return redrive.unparseable;
    };
    let left = |why| Left {
        id: letter.id.clone(),
        order,
        why,
    };
    match orders.verdict(queue, letter) {
        Verdict::Send => return true,
        Verdict::Abandoned(step) => {
            let why = format!("its {step} was abandoned by an operator");
            moved.abandoned.push(left(why));
        }
        Verdict::Unknown(why) => moved.unasked.push(left(why)),
    }
    false
}

/// Prints a message whole, then deletes it: the other way round it could be lost unseen. What is printed
/// takes its time (the log, the order), so the message is received anew: SQS may say yes to deleting by an
/// old receipt, and not do it.
pub fn drop_one(
    sqs: &Sqs<'_>,
    prefix: &str,
    id: Uuid,
    shown: &dyn Fn(&Found) -> String,
    print: &dyn Fn(&str) -> bool,
) -> Result<String> {
    let first = find(sqs, prefix, QUEUES, id)?;
    first.give_back(sqs);
    let text = shown(&first);
    let found = find(sqs, prefix, &[first.queue], id).context(format!(
        "{id} was here a moment ago and is held by somebody else now, or gone; nothing is dropped, so do \
         this again in a minute"
    ))?;
    if !print(&text) {
        found.give_back(sqs);
        return Err(Error::new(format!(
            "{id} could not be printed, so it stays where it is"
        )));
    }
    let request = json!({"QueueUrl": found.url, "ReceiptHandle": found.letter.receipt});
    sqs("DeleteMessage", request).context(format!("deleting {id}; do this again"))?;
    Ok(format!(
        "\n{id} is dropped: what is printed above is all that is left of it. An order it belongs to goes \
         on as if it had never come: waybill saga ls"
    ))
}

/// Drops every message of an order, one after the other.
pub fn drop_order(
    sqs: &Sqs<'_>,
    prefix: &str,
    order: Uuid,
    shown: &dyn Fn(&Found) -> String,
    print: &dyn Fn(&str) -> bool,
) -> Result<String> {
    let mut letters = Vec::new();
    let mut more = 0;
    for queue in QUEUES {
        let seen = look(sqs, prefix, *queue, Reach::Whole)?;
        more += seen.more;
        letters.extend(seen.letters);
    }
    letters.retain(|letter| letter.order() == Some(order));
    let mut told = Vec::new();
    for DeadLetter { id, .. } in &letters {
        let id = Uuid::try_parse(id).context(format!("{id} is no message's id"))?;
        match drop_one(sqs, prefix, id, shown, print) {
            Ok(dropped) => told.push(dropped),
            Err(error) => {
                told.push(error.to_string());
                return Err(Error::new(told.join("\n")));
            }
        }
    }
    if letters.is_empty() {
        told.push(format!("no message in sight is of order {order}"));
    }
    let told = told.join("\n");
    match letters.is_empty() || more > 0 {
        true => Err(Error::new(told + &out_of_sight(more))),
        false => Ok(told),
    }
}

/// Sends a message where it came from, then deletes it: the other way round it could be lost.
fn forward(sqs: &Sqs<'_>, from: &str, to: &str, letter: &DeadLetter) -> Result<String> {
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
    delete_sent(sqs, from, &letter.id, &letter.receipt)?;
    Ok(sent["MessageId"].as_str().unwrap_or_default().to_owned())
}

fn delete_sent(sqs: &Sqs<'_>, from: &str, id: &str, receipt: &str) -> Result<()> {
    let request = json!({"QueueUrl": from, "ReceiptHandle": receipt});
    sqs("DeleteMessage", request).context(format!(
        "{id} is sent back and is still in the dead-letter queue; do this again, a repeat does no harm"
    ))?;
    Ok(())
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
            count(moved.sent, "message")
        );
        if moved.unreadable > 0 {
            line.push_str(&format!(
                ", {} left that no function can read (--unparseable or --id sends those)",
                moved.unreadable
            ));
        }
        if !moved.abandoned.is_empty() {
            line.push_str(&format!(
                ", {} left whose step an operator abandoned (waybill dlq drop ID takes one \
                 away; --id sends one all the same)",
                moved.abandoned.len()
            ));
        }
        if !moved.unasked.is_empty() {
            line.push_str(&format!(
                ", {} left because orders-admin does not say whether an operator abandoned their \
                 step (do this again when it does; --id sends one all the same)",
                moved.unasked.len()
            ));
        }
        if moved.failing > 0 {
            line.push_str(&format!(
                ", {} failed again while this went on: the cause is not gone (waybill dlq ls)",
                moved.failing
            ));
        }
        if moved.more > 0 {
            line.push_str(&format!(
                ", about {} more are there by SQS's count: come since this began, or hidden for a \
                 minute by somebody else; do this again then",
                moved.more
            ));
        }
        for left in moved.abandoned.iter().chain(&moved.unasked) {
            line.push_str(&format!(
                "\n  {} of order {} left: {}",
                foreign(&left.id),
                left.order,
                foreign(&left.why)
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
