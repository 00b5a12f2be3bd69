//! Sends dead letters back to their queue, or drops them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::dead_letter::{DeadLetter, Found, Pass, Reach, Sqs, find, peek, unseen, url};
use super::orders::{Ask, Orders, Verdict};
use super::{QUEUES, Queue, Redrive};
use crate::error::{Context, Error, Result};
use crate::ui::{count, foreign};

/// The result for one dead-letter queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub sent: usize,
    /// Skipped, because no function can parse them.
    pub unreadable: usize,
    /// Skipped, because an operator abandoned their step.
    pub abandoned: Vec<Skipped>,
    /// Skipped, because `orders-admin` did not answer.
    pub unasked: Vec<Skipped>,
    /// Sent back and failed again already.
    pub failing: usize,
    /// Further messages that SQS counted.
    pub more: usize,
}

/// A skipped command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub id: String,
    pub order: Uuid,
    pub why: String,
}

/// Sends the selected messages back and reports the result, also after an error. A selected message
/// that remains is an error unless it was skipped for a reason.
pub fn run(
    sqs: &Sqs<'_>,
    ask: &Ask<'_>,
    prefix: &str,
    queues: &[Queue],
    redrive: &Redrive,
) -> Result<String> {
    if let Some(id) = redrive.id {
        return send_one(sqs, prefix, queues, id, redrive);
    }
    let mut output: Vec<(Queue, Moved)> = Vec::new();
    let mut orders = Orders::new(ask);
    for queue in queues {
        let mut moved = Moved::default();
        let outcome = send_back(sqs, &mut orders, prefix, *queue, redrive, &mut moved);
        output.push((*queue, moved));
        if let Err(error) = outcome {
            let failed = format!("{}: {error}", queue.name);
            return Err(Error::new(
                if output.iter().all(|(_, moved)| *moved == Moved::default()) {
                    failed
                } else {
                    format!("{}\n{failed}", moves(&output, redrive))
                },
            ));
        }
    }
    let text = moves(&output, redrive);
    if output.iter().any(|(_, moved)| moved.is_unfinished(redrive)) {
        let short = match redrive.dry_run {
            true => "some messages would stay",
            false => "some messages stayed",
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

/// Sends back one message.
fn send_one(
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
        "\nits result is not known yet: if it fails again, waybill dlq ls lists it, at once or \
         within four minutes",
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
            if !may_go_back(orders, redrive, queue, &letter, moved) {
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
            // Received again, because its receipt had expired when it was deleted.
            delete_sent(sqs, &pass.url, id, receipt)?;
        }
    }
    Ok(())
}

/// Decides whether a message goes back, and notes the reason if not.
fn may_go_back(
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
    let left = |why| Skipped {
        id: letter.id.clone(),
        order,
        why,
    };
    match orders.verdict(queue, letter) {
        Verdict::Send => return true,
        Verdict::Abandoned(step) => {
            let why = format!("an operator abandoned its {step}");
            moved.abandoned.push(left(why));
        }
        Verdict::Unknown(why) => moved.unasked.push(left(why)),
    }
    false
}

/// Prints a message, then deletes it, so that it is never lost unseen. Printing reads the log and
/// the order, which takes time, so the message is received again for a fresh receipt: SQS may
/// accept an expired one and delete nothing.
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
        "{id} was here a moment ago and is held by another reader or gone; nothing was dropped, so \
         run this again in a minute"
    ))?;
    if !print(&text) {
        found.give_back(sqs);
        return Err(Error::new(format!(
            "{id} could not be printed, so it was not dropped"
        )));
    }
    let request = json!({"QueueUrl": found.url, "ReceiptHandle": found.letter.receipt});
    sqs("DeleteMessage", request).context(format!("deleting {id}; run this again"))?;
    Ok(format!(
        "\n{id} is dropped; only the text above is left of it. If its order has not ended, the \
         order continues as if the message had never arrived: waybill saga ls"
    ))
}

/// Drops every message of an order.
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
        let seen = peek(sqs, prefix, *queue, Reach::Whole)?;
        more += seen.more;
        letters.extend(seen.letters);
    }
    letters.retain(|letter| letter.order() == Some(order));
    let mut output = Vec::new();
    for DeadLetter { id, .. } in &letters {
        let id = Uuid::try_parse(id).context(format!("{id} is no message's id"))?;
        match drop_one(sqs, prefix, id, shown, print) {
            Ok(dropped) => output.push(dropped),
            Err(error) => {
                output.push(error.to_string());
                return Err(Error::new(output.join("\n")));
            }
        }
    }
    if letters.is_empty() {
        output.push(format!("no message was found for order {order}"));
    }
    let output = output.join("\n");
    match letters.is_empty() || more > 0 {
        true => Err(Error::new(output + &unseen(more))),
        false => Ok(output),
    }
}

/// Sends a message, then deletes it from the dead-letter queue, so that it is never lost.
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
    // The only system attribute a sender may set.
    if let Some(trace) = letter.attributes.get("AWSTraceHeader") {
        message["MessageSystemAttributes"] =
            json!({"AWSTraceHeader": {"DataType": "String", "StringValue": trace}});
    }
    let sent = sqs("SendMessage", message).context(format!(
        "sending {} back; it was not moved, so run this again",
        letter.id
    ))?;
    delete_sent(sqs, from, &letter.id, &letter.receipt)?;
    Ok(sent["MessageId"].as_str().unwrap_or_default().to_owned())
}

fn delete_sent(sqs: &Sqs<'_>, from: &str, id: &str, receipt: &str) -> Result<()> {
    let request = json!({"QueueUrl": from, "ReceiptHandle": receipt});
    sqs("DeleteMessage", request).context(format!(
        "{id} was sent back but is still in the dead-letter queue; run this again, a repeat is safe"
    ))?;
    Ok(())
}

/// An attribute without the members that SQS reserves for lists.
fn to_send(attribute: &Value) -> Value {
    let mut sent = attribute.clone();
    if let Some(members) = sent.as_object_mut() {
        members
            .retain(|name, _| ["DataType", "StringValue", "BinaryValue"].contains(&name.as_str()));
    }
    sent
}

pub fn moves(output: &[(Queue, Moved)], redrive: &Redrive) -> String {
    let mut lines = Vec::new();
    for (queue, moved) in output {
        if *moved == Moved::default() {
            continue;
        }
        let verb = if redrive.dry_run { "would go" } else { "went" };
        let mut line = format!(
            "{}: {} {verb} back",
            queue.name,
            count(moved.sent, "message")
        );
        for (number, what) in [
            (
                moved.unreadable,
                "skipped that no function can parse (--unparseable or --id sends them)",
            ),
            (
                moved.abandoned.len(),
                "skipped whose step an operator abandoned (waybill dlq drop ID drops one; --id sends one \
                 anyway)",
            ),
            (
                moved.unasked.len(),
                "skipped because orders-admin did not answer whether their step was abandoned (run this \
                 again later; --id sends one anyway)",
            ),
            (
                moved.failing,
                "failed again already: the cause remains (waybill dlq ls)",
            ),
        ] {
            if number > 0 {
                line += &format!(", {number} {what}");
            }
        }
        if moved.more > 0 {
            line += &format!(
                ", about {} more by SQS's count: new, or hidden by another reader for a minute; run this \
                 again then",
                moved.more
            );
        }
        for left in moved.abandoned.iter().chain(&moved.unasked) {
            let (id, why) = (foreign(&left.id), foreign(&left.why));
            line += &format!("\n  {id} of order {} skipped: {why}", left.order);
        }
        lines.push(line);
    }
    match lines.is_empty() {
        true => "there is nothing to send back".to_owned(),
        false => lines.join("\n"),
    }
}
