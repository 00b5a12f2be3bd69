//! Sending dead letters back to where they failed, or away for good.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::letter::{
    BATCH, Found, Letter, Purpose, Reach, Round, Sqs, dead, depth, find, give_back, look,
    out_of_sight, poll, receive, release, url,
};
use super::orders::{Ask, Orders, Verdict};
use super::{QUEUES, Queue, Redrive};
use crate::error::{Context, Error, Result};
use crate::ui::{count, foreign};

/// How long a message that is moved is hidden: longer than a batch takes by far.
const MOVE_SECONDS: u32 = 60;

/// What SQS counts follows what happens by up to a minute. Before it is believed that there is more
/// than was received, so many polls wait so long for that.
const RECOUNTS: usize = 3;
const RECOUNT_SECONDS: u32 = 20;

/// What became of a dead-letter queue's messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Their ids before; sent again they have new ones.
    pub sent: Vec<String>,
    /// Not sent, because no function can read them and nobody asked for them.
    pub unreadable: usize,
    /// Not sent, because an operator abandoned what they ask for.
    pub abandoned: Vec<Left>,
    /// Not sent, because `orders-operate` does not say whether that is so, and why it does not.
    pub unasked: Vec<Left>,
    /// Sent here and failed again already; left.
    pub failing: usize,
    /// What else SQS counts in the queue.
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
    if let Some(id) = &redrive.id {
        return one(sqs, prefix, queues, id, redrive);
    }
    let mut told: Vec<(Queue, Moved)> = Vec::new();
    let mut orders = Orders::new(ask);
    for queue in queues {
        let sent: usize = told.iter().map(|(_, moved)| moved.sent.len()).sum();
        let max = redrive.max.map_or(usize::MAX, |max| max - sent);
        let mut moved = Moved::default();
        let outcome = send_back(sqs, &mut orders, prefix, *queue, redrive, max, &mut moved);
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
        self.failing > 0
            || !self.unasked.is_empty()
            || (self.more > 0 && redrive.max.is_none() && redrive.order.is_none())
    }
}

/// Sends back the message that is named. A part of an id is looked for in all of the queues, which
/// takes its time, so the message is taken anew for the rest.
fn one(
    sqs: &Sqs<'_>,
    prefix: &str,
    queues: &[Queue],
    id: &str,
    redrive: &Redrive,
) -> Result<String> {
    let first = find(sqs, prefix, queues, id, Purpose::Take)?;
    release(sqs, std::slice::from_ref(&first));
    if !redrive.dry_run {
        let to = url(sqs, &format!("{prefix}-{}", first.queue.name))?;
        let found = take_anew(sqs, prefix, &first, "sent back")?;
        if let Err(error) = forward(sqs, &found.url, &to, &found.letter) {
            release(sqs, std::slice::from_ref(&found));
            return Err(error);
        }
    }
    let moved = Moved {
        sent: vec![first.letter.id],
        ..Moved::default()
    };
    let mut text = moves(&[(first.queue, moved)], redrive);
    if !redrive.dry_run {
        text.push_str(
            "\nnobody waited for what becomes of it: cargo xtask dlq ls has it again if it fails, at \
             once what no function can read, within four minutes what its table or provider fails",
        );
    }
    Ok(text)
}

/// Takes a message that was found and released, by its whole id and in its queue: SQS may say yes
/// to deleting by an old receipt, and not do it.
fn take_anew(sqs: &Sqs<'_>, prefix: &str, first: &Found, undone: &str) -> Result<Found> {
    let id = &first.letter.id;
    find(sqs, prefix, &[first.queue], id, Purpose::Take).context(format!(
        "{id} was here a moment ago and is held by somebody else now, or gone; nothing is {undone}, \
         so do this again in a minute"
    ))
}

pub fn send_back(
    sqs: &Sqs<'_>,
    orders: &mut Orders<'_>,
    prefix: &str,
    queue: Queue,
    redrive: &Redrive,
    max: usize,
    moved: &mut Moved,
) -> Result<()> {
    let from = dead(sqs, prefix, queue)?;
    let to = url(sqs, &format!("{prefix}-{}", queue.name))?;
    let mut pass = Pass {
        sqs,
        orders,
        from: &from,
        to: &to,
        redrive,
        max,
        takes: 0,
        moved,
        known: BTreeMap::new(),
        kept: BTreeMap::new(),
    };
    let gone_through = pass.go().and_then(|()| pass.recount());
    let kept = std::mem::take(&mut pass.kept);
    give_back(sqs, &from, kept.values());
    gone_through
}

/// One pass through a dead-letter queue.
struct Pass<'a, 'o> {
    sqs: &'a Sqs<'a>,
    orders: &'a mut Orders<'o>,
    from: &'a str,
    to: &'a str,
    redrive: &'a Redrive,
    max: usize,
    /// So many more may be taken.
    takes: usize,
    moved: &'a mut Moved,
    /// Of every message taken here, by the id it had or was given.
    known: BTreeMap<String, Fate>,
    /// What is hidden and has not gone, with the latest receipt of each.
    kept: BTreeMap<String, Letter>,
}

/// What became of a message.
#[derive(Clone, Copy)]
enum Fate {
    Kept,
    /// Sent back and deleted.
    Gone,
    /// Sent from here, under this id.
    Sent,
}

impl Pass<'_, '_> {
    /// Takes at most as many as SQS counts at the beginning, or a batch where it counts fewer: where
    /// everything fails at once, messages that others send meanwhile would keep this going for ever.
    /// No clock is asked, as this machine's is not SQS's.
    fn go(&mut self) -> Result<()> {
        self.takes = depth(self.sqs, self.from)?.all().max(BATCH);
        let mut round = Round::default();
        while self.moved.sent.len() < self.max {
            let batch = receive(self.sqs, self.from, MOVE_SECONDS)?;
            self.handle(batch, &mut round)?;
            if round.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn handle(&mut self, batch: Vec<Letter>, round: &mut Round) -> Result<()> {
        let ids: Vec<String> = batch.iter().map(|letter| letter.id.clone()).collect();
        // All of them first: whatever fails, what is not moved is given back.
        self.kept
            .extend(batch.into_iter().map(|letter| (letter.id.clone(), letter)));
        for id in ids {
            match self.known.get(&id) {
                Some(Fate::Kept) => round.again(&id),
                Some(Fate::Sent) => {
                    round.again(&id);
                    self.moved.failing += 1;
                    self.known.insert(id, Fate::Kept);
                }
                // It was deleted with a receipt that was not valid any more.
                Some(Fate::Gone) => {
                    round.again(&id);
                    let letter = &self.kept[&id];
                    delete_sent(self.sqs, self.from, letter)?;
                    self.kept.remove(&id);
                }
                None if self.takes > 0 && self.moved.sent.len() < self.max => {
                    self.takes -= 1;
                    round.news();
                    self.take(&id)?;
                }
                // Counted with what else is there.
                None => {}
            }
        }
        Ok(())
    }

    /// One that has not been here yet.
    fn take(&mut self, id: &str) -> Result<()> {
        self.known.insert(id.to_owned(), Fate::Kept);
        let letter = &self.kept[id];
        let order = letter.order();
        if self.redrive.order.is_some() && order != self.redrive.order {
            return Ok(());
        }
        if !self.redrive.unparseable && order.is_none() {
            self.moved.unreadable += 1;
            return Ok(());
        }
        let left = |order, why| Left {
            id: id.to_owned(),
            order,
            why,
        };
        match (order, self.orders.verdict(letter)) {
            (Some(order), Verdict::Abandoned(step)) => {
                let why = format!("its {step} was abandoned by an operator");
                self.moved.abandoned.push(left(order, why));
            }
            (Some(order), Verdict::Unknown(why)) => self.moved.unasked.push(left(order, why)),
            _ => {
                if !self.redrive.dry_run {
                    let new_id = forward(self.sqs, self.from, self.to, letter)?;
                    self.kept.remove(id);
                    self.known.insert(id.to_owned(), Fate::Gone);
                    self.known.insert(new_id, Fate::Sent);
                }
                self.moved.sent.push(id.to_owned());
            }
        }
        Ok(())
    }

    /// What is there besides what was left on purpose.
    fn recount(&mut self) -> Result<()> {
        let has_end = self.redrive.max.is_none() && self.redrive.order.is_none();
        let patience = if has_end { RECOUNTS } else { 0 };
        let mut round = Round::default();
        for _ in 0..patience {
            self.moved.more = self.uncounted()?;
            // Some of it is here and was not taken, or it is all known.
            if self.moved.more == 0 || self.untaken() > 0 {
                return Ok(());
            }
            let batch = poll(self.sqs, self.from, MOVE_SECONDS, RECOUNT_SECONDS)?;
            self.handle(batch, &mut round)?;
        }
        self.moved.more = self.uncounted()?;
        Ok(())
    }

    fn uncounted(&self) -> Result<usize> {
        let left = self.kept.len() - self.untaken();
        Ok(depth(self.sqs, self.from)?.beyond(left))
    }

    fn untaken(&self) -> usize {
        let is_taken = |id: &&String| self.known.contains_key(*id);
        self.kept.keys().filter(|id| !is_taken(id)).count()
    }
}

/// Shows a message whole, then deletes it. What is to be shown takes its time (the log, the order),
/// so the message is taken anew for the rest.
pub fn drop_one(
    sqs: &Sqs<'_>,
    prefix: &str,
    id: &str,
    shown: &dyn Fn(&Found) -> String,
    print: &dyn Fn(&str) -> bool,
) -> Result<String> {
    let first = find(sqs, prefix, &QUEUES, id, Purpose::Take)?;
    release(sqs, std::slice::from_ref(&first));
    let text = shown(&first);
    let found = take_anew(sqs, prefix, &first, "dropped")?;
    drop_letter(sqs, &found, || print(&text))
}

/// Drops every message of an order, one after the other.
pub fn drop_order(
    sqs: &Sqs<'_>,
    prefix: &str,
    order: Uuid,
    shown: &dyn Fn(&Found) -> String,
    print: &dyn Fn(&str) -> bool,
) -> Result<String> {
    let mut ids = Vec::new();
    let mut more = 0;
    for queue in QUEUES {
        let seen = look(sqs, prefix, queue, Reach::Whole)?;
        more += seen.more;
        let letters = seen.letters.into_iter();
        let of_it = letters.filter(|letter| letter.order() == Some(order));
        ids.extend(of_it.map(|letter| letter.id));
    }
    let mut told = Vec::new();
    for id in &ids {
        match drop_one(sqs, prefix, id, shown, print) {
            Ok(dropped) => told.push(dropped),
            Err(error) => {
                told.push(error.to_string());
                return Err(Error::new(told.join("\n")));
            }
        }
    }
    if ids.is_empty() {
        told.push(format!("no message in sight is of order {order}"));
    }
    if ids.is_empty() || more > 0 {
        return Err(Error::new(format!(
            "{}{}",
            told.join("\n"),
            out_of_sight(more)
        )));
    }
    Ok(told.join("\n"))
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
    delete_sent(sqs, from, letter)?;
    Ok(sent["MessageId"].as_str().unwrap_or_default().to_owned())
}

fn delete_sent(sqs: &Sqs<'_>, from: &str, letter: &Letter) -> Result<()> {
    sqs(
        "DeleteMessage",
        json!({"QueueUrl": from, "ReceiptHandle": letter.receipt}),
    )
    .context(format!(
        "{} is sent back and is still in the dead-letter queue; do this again, a repeat does no harm",
        letter.id
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
            count(moved.sent.len(), "message")
        );
        if moved.unreadable > 0 {
            line.push_str(&format!(
                ", {} left that no function can read (--unparseable or --id sends those)",
                moved.unreadable
            ));
        }
        if !moved.abandoned.is_empty() {
            line.push_str(&format!(
                ", {} left whose step an operator abandoned (cargo xtask dlq drop ID takes one \
                 away; --id sends one all the same)",
                moved.abandoned.len()
            ));
        }
        if !moved.unasked.is_empty() {
            line.push_str(&format!(
                ", {} left because orders-operate does not say whether an operator abandoned their \
                 step (do this again when it does; --id sends one all the same)",
                moved.unasked.len()
            ));
        }
        if moved.failing > 0 {
            line.push_str(&format!(
                ", {} failed again while this went on: the cause is not gone (cargo xtask dlq ls)",
                moved.failing
            ));
        }
        if moved.more > 0 {
            line.push_str(&format!(
                ", about {} more are there by SQS's count: beyond --max, come since this began, or \
                 hidden for a minute by somebody else; do this again then",
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
