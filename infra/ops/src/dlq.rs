//! `waybill dlq`: lists, shows, sends back and drops dead letters.
//!
//! Reading deletes nothing: messages are received with a short visibility timeout and given back at
//! once. A redrive receives, sends, then deletes. If it dies in between, the message is in both
//! queues, and handlers recognise a repeat. (`StartMessageMoveTask` cannot select messages, and the
//! emulator lacks it.)
//!
//! A drop prints the message, then deletes it.
//!
//! A dead-letter queue does not store the error. The function logged it with the message's id.

mod dead_letter;
mod log;
mod orders;
mod redrive;

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::saga;
use crate::ui::{age, count, cut, foreign, say_whole};
use dead_letter::{DeadLetter, Found, Reach, Seen, Sqs, find, peek, unseen};
use log::Log;

/// A queue, whose dead letters are in `<name>-dlq`, and the function that consumes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub name: &'static str,
    pub consumer: &'static str,
}

/// From the templates, by `build.rs`.
pub const QUEUES: &[Queue] = include!(concat!(env!("OUT_DIR"), "/queues.rs"));

/// The commands of `waybill dlq`. The comments here are their `--help`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// List failed messages by queue, type and error
    #[command(name = "ls")]
    List(List),
    /// Show one message with its error, its order and the order's timeline
    Show {
        id: Uuid,
        /// Print the whole message as JSON, to a file or a pipe
        #[arg(long)]
        raw: bool,
    },
    /// Send messages back to the queue they failed in
    Redrive(Redrive),
    /// Print a message in full, then delete it
    Drop {
        #[arg(required_unless_present = "order", conflicts_with = "order")]
        id: Option<Uuid>,
        /// Drop every message of this order
        #[arg(long)]
        order: Option<Uuid>,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct List {
    /// Print every id, each with its order
    #[arg(long)]
    pub all: bool,
    /// List only the messages of this order
    #[arg(long)]
    pub order: Option<Uuid>,
    /// Print JSON: {letters: [{queue, id, type, error, order_id, sent_at}], queues: [{queue, more,
    /// unreadable}]}; `more` counts the messages that were not read, `unreadable` is the error of a
    /// queue that could not be read
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Redrive {
    /// Send back only the messages of this queue
    #[arg(long)]
    pub queue: Option<String>,
    /// Send back only the messages of this order
    #[arg(long)]
    pub order: Option<Uuid>,
    /// Send back this message, even one that is otherwise skipped
    #[arg(long, conflicts_with = "order")]
    pub id: Option<Uuid>,
    /// Include messages that no function can parse
    #[arg(long)]
    pub unparseable: bool,
    /// Print the result without sending anything
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Show,
    Drop,
}

/// How many messages of a group are listed without `--all`.
const NAMED: usize = 3;

/// Runs a command and returns its whole output.
pub fn run(aws: &Aws, prefix: &str, action: &Action) -> Result<String> {
    let mut output = Vec::new();
    let outcome = run_with(aws, prefix, action, &mut |part| output.push(part));
    let is_done = outcome.is_ok();
    output.push(outcome.unwrap_or_else(|error| error.to_string()));
    match is_done {
        true => Ok(output.join("\n")),
        false => Err(Error::new(output.join("\n"))),
    }
}

/// Runs a command and prints each part as soon as it is known; returns the last part.
pub fn run_with(
    aws: &Aws,
    prefix: &str,
    action: &Action,
    print_part: &mut dyn FnMut(String),
) -> Result<String> {
    let sqs = |operation: &str, params: Value| aws.call("sqs", operation, params);
    let shown = |found: &Found, purpose| shown(aws, prefix, found, purpose);
    let print = |text: &str| say_whole(text);
    let shown_whole = |found: &Found| {
        let record = found.letter.record();
        let shown = shown(found, Purpose::Drop);
        format!("{shown}\n\nthe whole message: {record}")
    };
    match action {
        Action::List(list) => {
            let log = |queue, letters: &[DeadLetter]| log_of(aws, prefix, queue, letters);
            list_all(&sqs, &log, prefix, list, Timestamp::now(), print_part)
        }
        Action::Show { id, raw } => {
            let found = find(&sqs, prefix, QUEUES, *id)?;
            found.give_back(&sqs);
            Ok(match raw {
                true => found.letter.record().to_string(),
                false => shown(&found, Purpose::Show),
            })
        }
        Action::Redrive(redrive) => {
            let ask = |order| saga::show(aws, prefix, order);
            let queues = chosen(prefix, redrive.queue.as_deref())?;
            redrive::run(&sqs, &ask, prefix, &queues, redrive)
        }
        Action::Drop { id: Some(id), .. } => {
            redrive::drop_one(&sqs, prefix, *id, &shown_whole, &print)
        }
        Action::Drop { order, .. } => {
            let order = order.context("name a message or, with --order, an order")?;
            redrive::drop_order(&sqs, prefix, order, &shown_whole, &print)
        }
    }
}

/// The readable messages of every queue. The names of the fields are those of `--json`.
#[derive(Debug, Serialize)]
pub struct Records {
    letters: Vec<Record>,
    queues: Vec<Extent>,
}

#[derive(Debug, Serialize)]
struct Record {
    queue: &'static str,
    id: String,
    r#type: String,
    error: String,
    order_id: Option<Uuid>,
    sent_at: Option<Timestamp>,
}

/// How much of a queue is listed.
#[derive(Debug, Serialize)]
struct Extent {
    queue: &'static str,
    /// About how many messages of any order SQS counts beyond the listed ones.
    more: Option<usize>,
    unreadable: Option<String>,
}

impl Records {
    /// Fails if a queue could not be read.
    pub fn verdict(&self) -> Result<()> {
        let unread = self.queues.iter().filter(|one| one.unreadable.is_some());
        all_read(&unread.map(|one| one.queue).collect::<Vec<_>>())
    }
}

/// Reads every queue; with an order, all of its messages.
pub fn records(aws: &Aws, prefix: &str, order: Option<Uuid>) -> Records {
    let sqs = |operation: &str, params: Value| aws.call("sqs", operation, params);
    let log = |queue, letters: &[DeadLetter]| log_of(aws, prefix, queue, letters);
    recorded(&sqs, &log, prefix, order)
}

fn recorded(sqs: &Sqs<'_>, log: &ReadLog<'_>, prefix: &str, order: Option<Uuid>) -> Records {
    let reach = order.map_or(Reach::Sample, |_| Reach::Whole);
    let (mut letters, mut queues) = (Vec::new(), Vec::new());
    for &queue in QUEUES {
        let seen = peek(sqs, prefix, queue, reach);
        queues.push(Extent {
            queue: queue.name,
            more: seen.as_ref().ok().map(|seen| seen.more),
            unreadable: seen.as_ref().err().map(ToString::to_string),
        });
        let Ok(seen) = seen else { continue };
        let log = log(queue, &seen.letters);
        let wanted = |letter: &&DeadLetter| order.is_none() || letter.order() == order;
        letters.extend(seen.letters.iter().filter(wanted).map(|letter| Record {
            queue: queue.name,
            id: letter.id.clone(),
            r#type: letter.kind().to_owned(),
            error: log.error_of(letter),
            order_id: letter.order(),
            sent_at: letter.sent_at(),
        }));
    }
    Records { letters, queues }
}

fn all_read(unread: &[&str]) -> Result<()> {
    match unread {
        [] => Ok(()),
        names => Err(Error::new(format!(
            "not every dead-letter queue could be read: {}",
            names.join(", ")
        ))),
    }
}

fn chosen(prefix: &str, name: Option<&str>) -> Result<Vec<Queue>> {
    let Some(name) = name else {
        return Ok(QUEUES.to_vec());
    };
    let short = name.strip_suffix("-dlq").unwrap_or(name);
    let short = short.strip_prefix(&format!("{prefix}-")).unwrap_or(short);
    let found = QUEUES.iter().find(|queue| queue.name == short);
    let names: Vec<&str> = QUEUES.iter().map(|queue| queue.name).collect();
    found.map(|queue| vec![*queue]).context(format!(
        "there is no queue `{name}`; there are {}",
        names.join(", ")
    ))
}

struct Group<'l> {
    oldest: Option<Timestamp>,
    letters: Vec<&'l DeadLetter>,
}

fn grouped<'l>(letters: &'l [DeadLetter], log: &Log) -> BTreeMap<(String, String), Group<'l>> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for letter in letters {
        let group = groups
            .entry((kind_of(letter), foreign(&log.error_of(letter))))
            .or_insert(Group {
                oldest: None,
                letters: Vec::new(),
            });
        group.oldest = [group.oldest, letter.sent_at()].into_iter().flatten().min();
        group.letters.push(letter);
    }
    groups
}

type ReadLog<'a> = dyn Fn(Queue, &[DeadLetter]) -> Log + 'a;

/// Lists one queue after the other. A queue that cannot be read does not stop the others.
fn list_all(
    sqs: &Sqs<'_>,
    log: &ReadLog<'_>,
    prefix: &str,
    list: &List,
    now: Timestamp,
    print_part: &mut dyn FnMut(String),
) -> Result<String> {
    let reach = match list.order {
        None => Reach::Sample,
        Some(_) => Reach::Whole,
    };
    let mut is_empty = true;
    let mut unread = Vec::new();
    for queue in QUEUES.iter().copied() {
        let mut seen = match peek(sqs, prefix, queue, reach) {
            Ok(seen) => seen,
            Err(error) => {
                print_part(format!("{}-dlq  cannot be read: {error}\n", queue.name));
                unread.push(queue.name);
                continue;
            }
        };
        if list.order.is_some() {
            seen.letters.retain(|letter| letter.order() == list.order);
        }
        if seen.letters.is_empty() && seen.more == 0 {
            continue;
        }
        is_empty = false;
        let log = log(queue, &seen.letters);
        let mut text = String::new();
        describe(&mut text, queue, &seen, &log, list, now).expect("text can always be added to");
        print_part(format!("{text}\n"));
    }
    all_read(&unread)?;
    Ok(match (is_empty, list.order) {
        (true, None) => "nothing has failed for good".to_owned(),
        (true, Some(order)) => format!("nothing of order {order} has failed for good"),
        (false, _) => {
            "next: waybill dlq show ID; once the cause is fixed, waybill dlq redrive; for a \
             message whose step an operator abandoned, waybill dlq drop ID"
                .to_owned()
        }
    })
}

fn log_of(aws: &Aws, prefix: &str, queue: Queue, letters: &[DeadLetter]) -> Log {
    let call = |operation: &str, params: Value| aws.call("logs", operation, params);
    let group = format!("/aws/lambda/{prefix}-{}", queue.consumer);
    Log::read(&call, &group, letters)
}

fn describe(
    text: &mut String,
    queue: Queue,
    seen: &Seen,
    log: &Log,
    list: &List,
    now: Timestamp,
) -> std::fmt::Result {
    let Seen { letters, more } = seen;
    write!(
        text,
        "{}-dlq  {}{}",
        queue.name,
        count(letters.len(), "message"),
        unseen(*more)
    )?;
    if let Some(why) = log.read_in_part() {
        write!(text, "\n  (log read in part: {})", foreign(why))?;
    }
    let named = if list.all || list.order.is_some() {
        usize::MAX
    } else {
        NAMED
    };
    for ((kind, error), group) in grouped(letters, log) {
        let oldest = group
            .oldest
            .map_or("?".to_owned(), |oldest| age(oldest, now));
        write!(
            text,
            "\n  {:>5} x {kind}, the oldest {oldest} old: {error}",
            group.letters.len(),
        )?;
        for letter in group.letters.iter().take(named) {
            write!(text, "\n          {}", foreign(&letter.id))?;
            if let Some(order) = letter.order() {
                write!(text, "  order {order}")?;
            }
        }
        if let beyond @ 1.. = group.letters.len().saturating_sub(named) {
            write!(text, "\n          and {beyond} more: waybill dlq ls --all")?;
        }
    }
    Ok(())
}

/// Shows the message even if its log or its order cannot be read.
fn shown(aws: &Aws, prefix: &str, found: &Found, purpose: Purpose) -> String {
    let (queue, letter) = (found.queue, &found.letter);
    let log = log_of(aws, prefix, queue, std::slice::from_ref(letter));
    let order = letter.envelope.as_ref().map(|envelope| {
        saga::show(aws, prefix, envelope.order)
            .unwrap_or_else(|error| json!({"outcome": error.to_string()}))
    });
    let mut text = String::new();
    whole(&mut text, queue, letter, &log, order.as_ref(), purpose)
        .expect("text can always be added to");
    text
}

/// The text after a drop names no command for the message, which is gone.
fn whole(
    text: &mut String,
    queue: Queue,
    letter: &DeadLetter,
    log: &Log,
    order: Option<&Value>,
    purpose: Purpose,
) -> std::fmt::Result {
    let sent = letter.sent_at().map_or("?".to_owned(), |at| at.to_string());
    writeln!(text, "message     {}", letter.id)?;
    writeln!(text, "queue       {}-dlq, of {}", queue.name, queue.name)?;
    writeln!(text, "type        {}", kind_of(letter))?;
    writeln!(text, "sent        {sent}")?;
    writeln!(
        text,
        "received    {} times, including reads of the dead-letter queue",
        letter.number("ApproximateReceiveCount").unwrap_or(0)
    )?;
    match log.failure_of(letter) {
        Some(failure) => {
            let at = Timestamp::from_millisecond(failure.at).unwrap_or(Timestamp::UNIX_EPOCH);
            let tries = failure.receive_count.unwrap_or(0);
            writeln!(text, "error       {}", foreign(&failure.error))?;
            writeln!(text, "            at {at}, attempt {tries}")?;
            if let Some(trace) = &failure.trace {
                writeln!(text, "trace       {}", foreign(trace))?;
            }
        }
        None => writeln!(text, "error       {}", foreign(&log.error_of(letter)))?,
    }
    for (name, value) in &letter.message_attributes {
        let value = value.to_string();
        writeln!(text, "attribute   {}: {}", foreign(name), foreign(&value))?;
    }
    writeln!(text, "\n{}\n", body(letter, purpose))?;
    let Some(answer) = order else {
        write!(text, "it has no order id")?;
        return match purpose {
            Purpose::Show => write!(
                text,
                "; to send it back: waybill dlq redrive --id {}",
                letter.id
            ),
            Purpose::Drop => Ok(()),
        };
    };
    write!(text, "{}", saga::shown(answer))
}

/// At most this many characters of a message's type are shown.
const KIND: usize = 64;

fn kind_of(letter: &DeadLetter) -> String {
    cut(letter.kind(), KIND)
}

/// At most this many lines of a body are shown.
const LINES: usize = 200;

/// Indented, so that no line of the body looks like one of this tool's.
fn body(letter: &DeadLetter, purpose: Purpose) -> String {
    let pretty = serde_json::from_str::<Value>(&letter.body)
        .and_then(|body| serde_json::to_string_pretty(&body))
        .unwrap_or_else(|_| letter.body.clone());
    let mut lines: Vec<String> = pretty
        .split('\n')
        .take(LINES)
        .map(|line| format!("    {}", foreign(line)))
        .collect();
    let all = pretty.split('\n').count();
    if all > LINES {
        lines.push(format!("    ... ({} more lines)", all - LINES));
    }
    if all > LINES || pretty.split('\n').any(|line| foreign(line) != line) {
        let id = foreign(&letter.id);
        lines.push(match purpose {
            Purpose::Show => {
                format!("(escaped or cut; in full: waybill dlq show {id} --raw > FILE)")
            }
            Purpose::Drop => "(escaped or cut; in full below)".to_owned(),
        });
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
