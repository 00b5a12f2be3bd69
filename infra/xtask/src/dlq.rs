//! `cargo xtask dlq`: what failed for good, why, and sending it back.
//!
//! Looking takes nothing away: messages are received with a short visibility timeout and given back
//! at once. Sending back is receive, send, delete, in this order: whoever dies in between leaves a
//! message in both queues, and every handler knows a message it has seen. (`StartMessageMoveTask`
//! would do the same out of sight, cannot choose messages, and is missing in the emulator.)
//!
//! Dropping is print, then delete: what is printed is all that is left.
//!
//! A dead-letter queue does not say what went wrong. The function logged it, with the message's id.

mod letter;
mod log;
mod redrive;

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::error::{Context, Result};
use crate::saga;
use crate::ui::{age, count, say};
use letter::{Letter, Seen, find, look, out_of_sight, release};
use log::Log;
use redrive::drop_letter;

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

/// What an operator wants of the dead-letter queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    List,
    Show {
        id: String,
    },
    Redrive(Redrive),
    /// Shows a message whole and deletes it.
    Drop {
        id: String,
    },
}

/// Which messages go back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redrive {
    pub queue: Option<String>,
    /// In all, over all queues.
    pub max: Option<usize>,
    pub dry_run: bool,
    /// Only the message whose id this is, or begins with this.
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
            let queues = chosen(prefix, redrive.queue.as_deref())?;
            redrive::run(&call, prefix, &queues, redrive, Timestamp::now())
        }
        Action::Drop { id } => discard(aws, prefix, id),
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

#[derive(Debug)]
struct Group {
    messages: usize,
    oldest: Option<Timestamp>,
    ids: Vec<String>,
}

fn grouped(letters: &[Letter], log: &Log) -> BTreeMap<(String, String), Group> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for letter in letters {
        let group = groups
            .entry((letter.kind().to_owned(), log.error_of(letter)))
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
        let seen = look(&call, prefix, queue)?;
        let log = log_of(aws, prefix, queue, &seen.letters);
        describe(&mut text, queue, &seen, &log, Timestamp::now())
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

fn log_of(aws: &Aws, prefix: &str, queue: Queue, letters: &[Letter]) -> Log {
    let call = |operation: &str, params: Value| aws.call("logs", operation, params);
    let group = format!("/aws/lambda/{prefix}-{}", queue.consumer);
    Log::read(&call, &group, letters)
}

fn describe(
    text: &mut String,
    queue: Queue,
    seen: &Seen,
    log: &Log,
    now: Timestamp,
) -> std::fmt::Result {
    let Seen { letters, more } = seen;
    if letters.is_empty() && *more == 0 {
        return Ok(());
    }
    write!(
        text,
        "\n\n{}-dlq  {}{}",
        queue.name,
        count(letters.len(), "message"),
        out_of_sight(*more)
    )?;
    if let Some(why) = log.read_in_part() {
        write!(text, "\n  (log read in part: {why})")?;
    }
    for ((kind, error), group) in grouped(letters, log) {
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
    let found = find(&call, prefix, &QUEUES, id)?;
    release(&call, std::slice::from_ref(&found));
    Ok(shown(aws, prefix, found.queue, &found.letter))
}

/// The message is the thing; what else there is to say must not keep it from being shown.
fn shown(aws: &Aws, prefix: &str, queue: Queue, letter: &Letter) -> String {
    let log = log_of(aws, prefix, queue, std::slice::from_ref(letter));
    let order = letter.envelope.as_ref().map(|envelope| {
        saga::show(aws, prefix, envelope.order)
            .unwrap_or_else(|error| json!({"outcome": error.to_string()}))
    });
    let mut text = String::new();
    whole(&mut text, queue, letter, &log, order.as_ref()).expect("text can always be added to");
    text
}

fn discard(aws: &Aws, prefix: &str, id: &str) -> Result<String> {
    let call = |operation: &str, params: Value| aws.call("sqs", operation, params);
    let found = find(&call, prefix, &QUEUES, id)?;
    // What is printed is all that is left of it.
    drop_letter(&call, &found, || {
        say(shown(aws, prefix, found.queue, &found.letter))
    })
}

fn whole(
    text: &mut String,
    queue: Queue,
    letter: &Letter,
    log: &Log,
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
    match log.failure_of(letter) {
        Some(failure) => {
            let at = Timestamp::from_millisecond(failure.at).unwrap_or(Timestamp::UNIX_EPOCH);
            let tries = failure.receive_count.unwrap_or(0);
            writeln!(text, "error       {}", failure.error)?;
            writeln!(text, "            at {at}, on try {tries}")?;
            if let Some(trace) = &failure.trace {
                writeln!(text, "trace       {trace}")?;
            }
        }
        None => writeln!(text, "error       {}", log.error_of(letter))?,
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

#[cfg(test)]
mod tests;
