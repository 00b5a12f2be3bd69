//! Lists, groups and redrives against in-memory queues that can fail at any call.

use std::cell::RefCell;

use super::dead_letter::{BATCH, SAMPLE_SIZE, hidden_seconds};
use super::log::{LAST_TRY, NOT_LOGGED, failure};
use super::orders::{Orders, Verdict};
use super::redrive::{Moved, Skipped, drop_one, drop_order, moves, send_back};
use super::*;
use crate::assert_contains;
use crate::aws::AwsError;
use uuid::Uuid;

const ORDER: &str = "00000000-0000-0000-0000-000000000007";
const QUEUE: Queue = Queue {
    name: "payments-commands",
    consumer: "payments-commands",
};

fn broken(code: &str, message: &str) -> AwsError {
    AwsError {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

fn body(kind: &str) -> String {
    body_of(kind, order(7))
}

fn body_of(kind: &str, order: Uuid) -> String {
    json!({"id": Uuid::from_u128(1), "type": kind, "version": 1, "order_id": order,
           "time": "2026-01-02T03:04:05.678Z", "data": {}})
    .to_string()
}

fn by_id(id: Uuid) -> Redrive {
    Redrive {
        id: Some(id),
        ..Redrive::default()
    }
}

fn message(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn order(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Two queues and the orders; the other queues are empty. A received message stays hidden until it
/// is given back or for a number of polls. With an expired receipt SQS accepts a call and does
/// nothing.
#[derive(Default)]
struct Fake {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    dead: Vec<Message>,
    source: Vec<Message>,
    next: usize,
    writes: usize,
    /// The write that fails, and whether it takes effect first.
    fails: Option<(usize, bool)>,
    /// Every message that is sent back fails again at once.
    broken: bool,
    /// With each message that is sent back another one fails.
    arrivals: bool,
    /// Every other poll returns nothing.
    flaky: bool,
    polls: usize,
    /// For how many polls a message is hidden; `None` for ever.
    hidden_for: Option<usize>,
    /// So many deletions are accepted and not done.
    ignored_deletes: usize,
    /// The last event of known orders.
    orders: BTreeMap<Uuid, &'static str>,
    /// `orders-admin` does not answer.
    unreachable: bool,
    asked: usize,
}

#[derive(Clone)]
struct Message {
    id: String,
    body: String,
    attributes: Value,
    system: Value,
    hidden: bool,
    /// The poll that received it last.
    receipt: usize,
}

impl Message {
    fn handle(&self) -> String {
        format!("{} of poll {}", self.id, self.receipt)
    }

    fn is_held_by(&self, receipt: &Value) -> bool {
        // The cheap check first: there may be many messages.
        let receipt = receipt.as_str().expect("a receipt");
        receipt.starts_with(&self.id) && receipt == self.handle()
    }
}

impl Fake {
    fn with(bodies: &[&str]) -> Self {
        let fake = Self::default();
        for body in bodies {
            fake.put(body, json!({}), json!({}));
        }
        fake
    }

    fn put(&self, body: &str, attributes: Value, system: Value) {
        let id = self.state.borrow_mut().fresh();
        self.put_as(&id, body, attributes, system);
    }

    fn put_as(&self, id: &str, body: &str, attributes: Value, system: Value) {
        self.state.borrow_mut().dead.push(Message {
            id: id.to_owned(),
            body: body.to_owned(),
            attributes,
            system,
            hidden: false,
            receipt: 0,
        });
    }

    fn ask(&self, order: Uuid) -> Result<Value> {
        let mut state = self.state.borrow_mut();
        state.asked += 1;
        if state.unreachable {
            return Err(Error::new("calling w-orders-admin: it is throttled"));
        }
        Ok(match state.orders.get(&order) {
            None => json!({"outcome": "no_such_order"}),
            Some(&"unreadable") => json!({"outcome": "unreadable"}),
            Some(event) => {
                let abandoned = match *event {
                    "refund_abandoned" => json!([{"step": "refund",
                        "commands": ["ChargePayment", "RefundPayment"]}]),
                    "release_abandoned" => json!([{"step": "release",
                        "commands": ["ReserveStock", "ReleaseStock"]}]),
                    _ => Value::Null,
                };
                json!({"outcome": "found", "order": {"next": "wait", "abandoned": abandoned}})
            }
        })
    }

    fn call(&self, operation: &str, params: &Value) -> std::result::Result<Value, AwsError> {
        let mut state = self.state.borrow_mut();
        let is_write = ["SendMessage", "DeleteMessage"].contains(&operation);
        let breaks = broken("Broken", "the connection broke");
        let fault = state
            .fails
            .filter(|(nth, _)| is_write && *nth == state.writes);
        state.writes += usize::from(is_write);
        if let Some((_, false)) = fault {
            return Err(breaks);
        }
        let answer = state.answer(operation, params);
        if fault.is_some() {
            Err(breaks)
        } else {
            Ok(answer)
        }
    }

    fn calls(&self) -> impl Fn(&str, Value) -> std::result::Result<Value, AwsError> {
        |operation, params| self.call(operation, &params)
    }

    fn redrive(&self, redrive: &Redrive) -> Result<Moved> {
        let mut moved = Moved::default();
        send_back(
            &self.calls(),
            &mut Orders::new(&|order| self.ask(order)),
            "w",
            QUEUE,
            redrive,
            &mut moved,
        )?;
        Ok(moved)
    }

    fn run(&self, queues: &[Queue], redrive: &Redrive) -> Result<String> {
        let call = self.calls();
        redrive::run(&call, &|order| self.ask(order), "w", queues, redrive)
    }

    fn find(&self, id: Uuid) -> Result<dead_letter::Found> {
        let call = self.calls();
        find(&call, "w", &[QUEUE], id)
    }

    fn peek(&self) -> Seen {
        let call = self.calls();
        peek(&call, "w", QUEUE, Reach::Sample).expect("it answers")
    }

    /// Drops a message while `meanwhile` happens.
    fn drop(&self, id: Uuid, meanwhile: &dyn Fn(), prints: bool) -> Result<String> {
        let call = self.calls();
        let shown = |found: &Found| {
            meanwhile();
            found.letter.body.clone()
        };
        let letters = self.dead().len();
        let print = |_: &str| {
            assert_eq!(self.dead().len(), letters, "printed first");
            prints
        };
        drop_one(&call, "w", id, &shown, &print)
    }

    /// Receives every message, as another reader does.
    fn take_all(&self) {
        self.expire_timeouts();
        let request = json!({"QueueUrl": "w-payments-commands-dlq", "WaitTimeSeconds": 1});
        for _ in 0..self.dead().len() {
            self.call("ReceiveMessage", &request).expect("it answers");
        }
    }

    /// The dead, sent and hidden messages.
    fn counts(&self) -> (usize, usize, usize) {
        (self.dead().len(), self.source().len(), self.hidden())
    }

    fn list(&self, call: &Sqs<'_>, list: &List) -> (Vec<String>, Result<String>) {
        let (log, now) = (|_, _: &[DeadLetter]| no_log(), Timestamp::UNIX_EPOCH);
        let mut output = Vec::new();
        let outcome = list_all(call, &log, "w", list, now, &mut |part| output.push(part));
        (output, outcome)
    }

    fn dead(&self) -> Vec<String> {
        bodies(&self.state.borrow().dead)
    }

    fn source(&self) -> Vec<String> {
        bodies(&self.state.borrow().source)
    }

    fn hidden(&self) -> usize {
        let state = self.state.borrow();
        state.dead.iter().filter(|message| message.hidden).count()
    }

    /// Lets every visibility timeout end.
    fn expire_timeouts(&self) {
        for message in &mut self.state.borrow_mut().dead {
            message.hidden = false;
        }
    }
}

fn bodies(messages: &[Message]) -> Vec<String> {
    messages
        .iter()
        .map(|message| message.body.clone())
        .collect()
}

impl State {
    fn fresh(&mut self) -> String {
        self.next += 1;
        message(self.next as u128).to_string()
    }

    fn answer(&mut self, operation: &str, params: &Value) -> Value {
        match operation {
            "GetQueueUrl" => json!({"QueueUrl": params["QueueName"]}),
            "GetQueueAttributes" if params["QueueUrl"] != "w-payments-commands-dlq" => {
                json!({"Attributes": {"ApproximateNumberOfMessages": "0",
                                      "ApproximateNumberOfMessagesNotVisible": "0"}})
            }
            "GetQueueAttributes" => {
                let waiting = self.dead.iter().filter(|message| !message.hidden).count();
                let hidden = self.dead.len() - waiting;
                json!({"Attributes": {"ApproximateNumberOfMessages": waiting.to_string(),
                                      "ApproximateNumberOfMessagesNotVisible": hidden.to_string()}})
            }
            "ReceiveMessage" if params["QueueUrl"] != "w-payments-commands-dlq" => json!({}),
            "ReceiveMessage" => {
                let wait = params["WaitTimeSeconds"].as_u64();
                assert!(wait >= Some(1), "a short poll may miss messages");
                self.polls += 1;
                if self.flaky && self.polls % 2 == 1 {
                    return json!({});
                }
                let now = self.polls;
                if let Some(polls) = self.hidden_for {
                    for message in &mut self.dead {
                        message.hidden &= now - message.receipt < polls;
                    }
                }
                let visible = self.dead.iter_mut().filter(|message| !message.hidden);
                let messages: Vec<Value> = visible
                    .take(BATCH)
                    .map(|message| {
                        message.hidden = true;
                        message.receipt = now;
                        json!({"MessageId": message.id, "ReceiptHandle": message.handle(),
                               "Body": message.body, "Attributes": message.system,
                               "MessageAttributes": message.attributes})
                    })
                    .collect();
                json!({"Messages": messages})
            }
            "ChangeMessageVisibilityBatch" => {
                for entry in params["Entries"].as_array().expect("entries") {
                    assert_eq!(entry["VisibilityTimeout"], 0);
                    let given = self.dead.iter_mut();
                    for message in given.filter(|m| m.is_held_by(&entry["ReceiptHandle"])) {
                        message.hidden = false;
                    }
                }
                json!({})
            }
            "SendMessage" => {
                assert_eq!(params["QueueUrl"], "w-payments-commands");
                let id = self.fresh();
                let message = Message {
                    id: id.clone(),
                    body: params["MessageBody"].as_str().expect("a body").to_owned(),
                    attributes: params["MessageAttributes"].clone(),
                    system: params["MessageSystemAttributes"].clone(),
                    hidden: false,
                    receipt: 0,
                };
                if self.arrivals {
                    let id = self.fresh();
                    self.dead.push(Message {
                        id,
                        ..message.clone()
                    });
                }
                if self.broken {
                    self.dead.push(message);
                } else {
                    self.source.push(message);
                }
                json!({"MessageId": id})
            }
            "DeleteMessage" => {
                assert_eq!(params["QueueUrl"], "w-payments-commands-dlq");
                if self.ignored_deletes > 0 {
                    self.ignored_deletes -= 1;
                    return json!({});
                }
                self.dead
                    .retain(|message| !message.is_held_by(&params["ReceiptHandle"]));
                json!({})
            }
            other => panic!("unexpected call {other}"),
        }
    }
}

#[test]
fn listing_gives_every_message_back() {
    let bodies: Vec<String> = (0..35).map(|n| body(&format!("Kind{n}"))).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let fake = Fake::with(&bodies);
    for _ in 0..2 {
        let seen = fake.peek();
        assert_eq!(seen.more, 0);
        let seen: Vec<&str> = seen
            .letters
            .iter()
            .map(|letter| letter.body.as_str())
            .collect();
        assert_eq!(seen, bodies);
        assert_eq!((fake.hidden(), fake.dead().len()), (0, 35));
    }
}

#[test]
fn redrive_skips_messages_that_cannot_be_parsed() {
    let (good, broken) = (body("StockReserved"), "not JSON");
    let fake = Fake::with(&[&good, broken, &good]);
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((moved.sent, moved.unreadable, moved.more), (2, 1, 0));
    assert_eq!(fake.source(), [good.as_str(), &good]);
    assert_eq!((fake.dead(), fake.hidden()), (vec![broken.to_owned()], 0));

    let again = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((again.sent, fake.source().len()), (0, 2));

    let all = Redrive {
        unparseable: true,
        ..Redrive::default()
    };
    fake.redrive(&all).expect("it answers");
    assert_eq!((fake.dead().len(), fake.source().len()), (0, 3));
}

#[test]
fn redrive_by_id_sends_any_message() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good, "not JSON", &good]);
    let only = by_id(message(2));
    let output = fake.run(&[QUEUE], &only).expect("it answers");
    assert!(
        output.starts_with("payments-commands: 1 message went back\n"),
        "{output}"
    );
    assert_contains(&output, &["if it fails again, waybill dlq ls lists it"]);
    assert_eq!(fake.source(), ["not JSON"]);
    assert_eq!((fake.dead().len(), fake.hidden()), (2, 0));
}

#[test]
fn a_dry_run_sends_nothing() {
    let fake = Fake::with(&[body("StockReserved").as_str(); 25]);
    let redrive = Redrive {
        dry_run: true,
        ..Redrive::default()
    };
    let moved = fake.redrive(&redrive).expect("it answers");
    assert_eq!((moved.sent, fake.counts()), (25, (25, 0, 0)));
}

#[test]
fn a_redrive_that_fails_at_any_write_loses_nothing() {
    let bodies: Vec<String> = (0..12).map(|n| body(&format!("Kind{n}"))).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    for nth in 0..24 {
        for takes_effect in [false, true] {
            let fake = Fake::with(&texts);
            fake.state.borrow_mut().fails = Some((nth, takes_effect));
            let error = fake.redrive(&Redrive::default()).expect_err("a call broke");
            assert!(error.to_string().contains("run this again"), "{error}");
            // Received messages that were not moved are visible again at once.
            assert_eq!(fake.hidden(), 0);
            fake.state.borrow_mut().fails = None;
            fake.redrive(&Redrive::default()).expect("it answers");
            assert!(fake.dead().is_empty());
            let mut sent = fake.source();
            sent.sort();
            let repeats = sent.len() - bodies.len();
            sent.dedup();
            let mut expected = bodies.clone();
            expected.sort();
            assert_eq!(sent, expected, "write {nth}");
            assert!(repeats <= 1, "write {nth}: {repeats} repeats");
        }
    }
}

#[test]
fn a_crash_after_the_send_leaves_the_message_in_both_queues() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good]);
    // A killed process deletes nothing and gives nothing back.
    let killed = |operation: &str, params: Value| match operation {
        "DeleteMessage" | "ChangeMessageVisibilityBatch" => Err(broken("Killed", "")),
        _ => fake.call(operation, &params),
    };
    let ask = |order| fake.ask(order);
    assert!(redrive::run(&killed, &ask, "w", &[QUEUE], &Redrive::default()).is_err());
    assert_eq!(fake.counts(), (1, 1, 1));
    fake.expire_timeouts();
    fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((fake.dead().len(), fake.source().len()), (0, 2));
}

#[test]
fn a_message_that_fails_again_is_sent_once() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good, &good]);
    fake.state.borrow_mut().broken = true;
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((moved.sent, moved.failing), (2, 2));
    assert_eq!((fake.dead().len(), fake.hidden()), (2, 0));
    let error = fake.run(&[QUEUE], &Redrive::default());
    let error = error.expect_err("the cause is not gone").to_string();
    assert_contains(&error, &["2 failed again already"]);
}

#[test]
fn redrive_keeps_attributes() {
    let fake = Fake::default();
    let attributes = json!({
        "source": {"DataType": "String", "StringValue": "shop"},
        "raw": {"DataType": "Binary", "BinaryValue": "/w=="},
    });
    let system = json!({"AWSTraceHeader": "Root=1-2-3", "SentTimestamp": "1"});
    fake.put(&body("StockReserved"), attributes.clone(), system);
    fake.redrive(&Redrive::default()).expect("it answers");
    let state = fake.state.borrow();
    assert_eq!(state.source[0].attributes, attributes);
    assert_eq!(
        state.source[0].system,
        json!({"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"}})
    );
}

fn letter(id: &str, body: &str, sent: i64) -> DeadLetter {
    DeadLetter::read(&json!({
        "MessageId": id, "ReceiptHandle": id, "Body": body,
        "Attributes": {"SentTimestamp": sent.to_string(), "ApproximateReceiveCount": "6"},
    }))
    .expect("a message")
}

fn described(seen: &Seen, log: &Log, list: &List, now: Timestamp) -> String {
    let mut text = String::new();
    describe(&mut text, QUEUE, seen, log, list, now).expect("text");
    text
}

fn shown(letter: &DeadLetter, log: &Log, order: Option<&Value>, purpose: Purpose) -> String {
    let mut text = String::new();
    whole(&mut text, QUEUE, letter, log, order, purpose).expect("text");
    text
}

fn no_log() -> Log {
    Log::of(BTreeMap::new())
}

fn log_with(event: Value) -> Log {
    Log::of(failure(&event).into_iter().collect())
}

fn logged(id: &str, at: i64, detail: &str, cause: Option<&str>) -> Value {
    let line = json!({"level": "ERROR", "message": format!("message failed: {detail}"),
                      "message_id": id, "cause": cause, "receive_count": 5});
    json!({"timestamp": at, "message": format!("{line}\n")})
}

#[test]
fn errors_are_grouped_without_ids() {
    let now = Timestamp::from_second(10_000).expect("a time");
    let letters = [
        letter("a", &body("StockReserved"), 4_000_000),
        letter("b", &body("StockReserved"), 1_000_000),
        letter("c", "not JSON", 9_999_000),
    ];
    let events = [
        logged("a", 1, "the order's table", Some(&format!("no {ORDER}"))),
        logged(
            "b",
            2,
            "the order's table",
            Some("no 11111111-2222-3333-4444-555555555555"),
        ),
    ];
    let log = Log::of(events.iter().filter_map(failure).collect());
    let seen = Seen {
        letters: letters.to_vec(),
        more: 0,
    };
    assert_eq!(
        described(&seen, &log, &List::default(), now),
        format!(
            "payments-commands-dlq  3 messages\n\
             \x20     1 x (not a message), the oldest 1 s old: {NOT_LOGGED}\n\
             \x20         c\n\
             \x20     2 x StockReserved, the oldest 2 h old: the order's table: no <id>\n\
             \x20         a  order {ORDER}\n\
             \x20         b  order {ORDER}"
        )
    );
}

#[test]
fn other_log_lines_are_no_failures() {
    for message in ["START RequestId: 7", "{\"message\": \"swept\"}", "{}"] {
        assert_eq!(failure(&json!({"timestamp": 1, "message": message})), None);
    }
}

#[test]
fn show_prints_message_error_and_timeline() {
    let order = json!({"outcome": "found", "order": {
        "order_id": ORDER, "status": "PENDING", "state": "charging", "waits_for": "ChargePayment",
        "timeline": [{"at": "2026-01-02T03:04:05Z", "event": "order_placed", "attempt": null,
                      "detail": null},
                     {"at": "2026-01-02T03:04:06Z", "event": "charge_payment_requested",
                      "attempt": 1, "detail": "again"}],
    }});
    let log = log_with(logged("a", 1_000, "no table", None));
    let charged = letter("a", &body("PaymentCharged"), 0);
    let text = shown(&charged, &log, Some(&order), Purpose::Show);
    assert_contains(
        &text,
        &[
            "message     a",
            "received    6 times",
            "error       no table",
            "\"type\": \"PaymentCharged\"",
            "PENDING (charging), waits for ChargePayment (as orders-admin shows it)",
            "charge_payment_requested (1): again",
        ],
    );
    let text = shown(&letter("c", "not JSON", 0), &log, None, Purpose::Show);
    assert_contains(&text, &["not JSON", "redrive --id c"]);
}

#[test]
fn drop_names_no_command_for_the_deleted_message() {
    let long = json!({"text": "x".repeat(200_000)}).to_string();
    for body in ["not JSON", &long] {
        let text = shown(&letter("c", body, 0), &no_log(), None, Purpose::Drop);
        for command in ["dlq show", "redrive --id"] {
            assert!(!text.contains(command), "{command}: {text:.500}");
        }
    }
}

#[test]
fn a_long_type_is_cut() {
    let kind = "x".repeat(100);
    let letter = letter("a", &body(&kind), 0);
    let cut = format!("{} ... (36 more characters)", "x".repeat(64));
    assert_eq!(kind_of(&letter), cut);
    let text = shown(&letter, &no_log(), None, Purpose::Show);
    assert_contains(&text, &[&format!("type        {cut}\n")]);
}

/// Text that tries to control an operator's terminal.
fn hostile() -> String {
    format!(
        "\u{1b}[2J\u{9b}1m\u{202e}\n  1 x forged\norder       forged{}",
        "x".repeat(200_000)
    )
}

fn is_safe(text: &str) {
    let unsafe_ones = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(unsafe_ones), "{text:.5000}");
    for line in text.lines() {
        assert!(line.len() < 4 * crate::ui::LINE, "{} in a line", line.len());
        let forged = ["  1 x forged", "order       forged"];
        assert!(
            !forged.iter().any(|forged| line.starts_with(forged)),
            "{line:.200}"
        );
    }
}

#[test]
fn foreign_text_is_escaped_and_cut() {
    let hostile = hostile();
    let order = json!({"outcome": "found", "order": {
        "order_id": ORDER, "status": hostile, "state": "charging", "waits_for": "ChargePayment",
        "total": {"amount": 1400, "currency": "KWD"},
        "timeline": [{"at": hostile, "event": hostile, "detail": hostile}],
    }});
    let log = log_with(logged("a", 1_000, &hostile, Some(&hostile)));
    let bodies = [
        hostile.clone(),
        body(&hostile),
        json!({"text": hostile}).to_string(),
        json!(vec![1; 10_000]).to_string(),
    ];
    for body in bodies {
        let mut letter = letter("a", &body, 0);
        letter
            .message_attributes
            .insert(hostile.clone(), json!({"StringValue": hostile}));
        let text = shown(&letter, &log, Some(&order), Purpose::Show);
        is_safe(&text);
        assert!(
            text.lines().count() < LINES + 20,
            "{}",
            text.lines().count()
        );
        assert_contains(
            &text,
            &[
                "in full: waybill dlq show a --raw > FILE",
                "waits for ChargePayment, 1.400 KWD (as",
            ],
        );
        let record = letter.record().to_string();
        let read: Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!(read["Body"], body);
        assert_eq!(read["MessageAttributes"][&hostile]["StringValue"], hostile);

        let seen = Seen {
            letters: vec![letter],
            more: 0,
        };
        is_safe(&described(
            &seen,
            &log,
            &List::default(),
            Timestamp::UNIX_EPOCH,
        ));
    }
    let left = Skipped {
        id: "a".to_owned(),
        order: self::order(7),
        why: hostile,
    };
    let moved = Moved {
        unasked: vec![left],
        ..Moved::default()
    };
    is_safe(&moves(&[(QUEUE, moved)], &Redrive::default()));
}

#[test]
fn an_empty_poll_does_not_end_a_pass() {
    let fake = Fake::with(&[body("StockReserved").as_str(); 35]);
    fake.state.borrow_mut().flaky = true;
    assert_eq!(fake.peek().letters.len(), 35);
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((moved.sent, fake.dead().len()), (35, 0));
}

#[test]
fn hidden_messages_are_reported() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good, &good]);
    for message in &mut fake.state.borrow_mut().dead {
        message.hidden = true;
    }
    let seen = fake.peek();
    assert_eq!((seen.letters.len(), seen.more), (0, 2));
    let text = described(&seen, &no_log(), &List::default(), Timestamp::UNIX_EPOCH);
    assert_contains(&text, &["about 2 more: hidden"]);
    let output = fake.run(&[QUEUE], &Redrive::default());
    let output = output.expect_err("some messages stayed").to_string();
    assert_contains(&output, &["0 messages went back, about 2 more"]);
    let error = fake.find(message(1)).expect_err("it is hidden").to_string();
    assert_contains(&error, &["about 2 more: hidden"]);
}

#[test]
fn new_arrivals_do_not_prolong_a_redrive() {
    let good = body("StockReserved");
    let fake = Fake::with(&[good.as_str(); 12]);
    fake.state.borrow_mut().arrivals = true;
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    // The pass received eight of the twelve new messages.
    assert_eq!((moved.sent, moved.failing, moved.more), (12, 0, 8));
    assert_eq!((fake.dead().len(), fake.hidden()), (12, 0));
}

#[test]
fn an_error_includes_the_messages_sent_so_far() {
    // An error at the first call is reported alone.
    let first = format!("payments-commands: sending {} back", message(1));
    for (nth, begins) in [(6, "payments-commands: 3 messages went back"), (0, &*first)] {
        let fake = Fake::with(&[body("StockReserved").as_str(); 5]);
        fake.state.borrow_mut().fails = Some((nth, false));
        let error = fake.run(&[QUEUE], &Redrive::default());
        let error = error.expect_err("a call broke").to_string();
        assert!(error.starts_with(begins), "{error}");
        assert_contains(&error, &["run this again"]);
    }
}

#[test]
fn drop_deletes_only_a_printed_message() {
    let fake = Fake::with(&["not JSON", "neither"]);
    assert!(fake.drop(message(1), &|| {}, false).is_err());
    assert_eq!((fake.dead().len(), fake.hidden()), (2, 0));
    let output = fake.drop(message(1), &|| {}, true).expect("it is dropped");
    assert_contains(&output, &["is dropped"]);
    assert_eq!(
        (fake.dead(), fake.hidden()),
        (vec!["neither".to_owned()], 0)
    );
}

#[test]
fn drop_receives_a_fresh_receipt_before_it_deletes() {
    let fake = Fake::with(&["not JSON"]);
    // Another reader received the message and gave it back, so the first receipt has expired.
    let looked_at = || {
        fake.take_all();
        fake.expire_timeouts();
    };
    let output = fake
        .drop(message(1), &looked_at, true)
        .expect("it is dropped");
    assert_contains(&output, &["is dropped"]);
    assert!(fake.dead().is_empty());

    let fake = Fake::with(&["not JSON"]);
    let error = fake.drop(message(1), &|| fake.take_all(), true);
    let error = error.expect_err("another reader has it").to_string();
    assert_contains(&error, &["held by another reader"]);
    assert_eq!(fake.dead().len(), 1);
}

#[test]
fn an_id_is_found_in_a_queue_of_any_size() {
    let fake = Fake::default();
    for number in 0..SAMPLE_SIZE as u128 + 500 {
        let id = Uuid::from_u128(number).to_string();
        fake.put_as(&id, "not JSON", json!({}), json!({}));
    }
    let last = message(SAMPLE_SIZE as u128 + 499);
    let found = fake.find(last).expect("it is there");
    assert_eq!(found.letter.id, last.to_string());
    assert_eq!(fake.hidden(), 1);
    let none = message(9_999);
    let error = fake.find(none).expect_err("it is not").to_string();
    assert_contains(&error, &["1499 messages read", "about 1 more: hidden"]);
    fake.expire_timeouts();
    let error = fake.find(none).expect_err("it is not").to_string();
    assert_contains(&error, &["sent back or dropped"]);
    assert_eq!(fake.hidden(), 0);
}

#[test]
fn the_visibility_timeout_grows_with_the_queue() {
    assert_eq!(
        [0, 2_000, usize::MAX].map(hidden_seconds),
        [60, 160, 43_200]
    );
}

#[test]
fn an_orders_messages_are_listed_sent_back_and_dropped() {
    let (seventh, eighth) = (
        body_of("StockReserved", order(7)),
        body_of("StockReserved", order(8)),
    );
    let fake = Fake::with(&[&seventh, &eighth, "not JSON", &seventh]);
    let call = fake.calls();
    let list = List {
        order: Some(order(8)),
        ..List::default()
    };
    let (output, outcome) = fake.list(&call, &list);
    outcome.expect("it answers");
    let output = output.concat();
    assert_contains(
        &output,
        &[
            "payments-commands-dlq  1 message",
            &format!("{}  order {}", message(2), order(8)),
        ],
    );

    let redrive = Redrive {
        order: Some(order(8)),
        ..Redrive::default()
    };
    let output = fake.run(&[QUEUE], &redrive).expect("the others may stay");
    assert_eq!(output, "payments-commands: 1 message went back");
    assert_eq!((fake.source(), fake.hidden()), (vec![eighth], 0));

    let shown = |found: &Found| found.letter.body.clone();
    let printed = RefCell::new(Vec::new());
    let print = |text: &str| {
        printed.borrow_mut().push(text.to_owned());
        true
    };
    drop_order(&call, "w", order(7), &shown, &print).expect("they are dropped");
    assert_eq!(printed.take(), [seventh.clone(), seventh]);
    assert_eq!(
        (fake.dead(), fake.hidden()),
        (vec!["not JSON".to_owned()], 0)
    );
    let error = drop_order(&call, "w", order(7), &shown, &print).expect_err("there are none");
    assert!(error.to_string().contains("no message was found for order"));
}

#[test]
fn the_all_option_lists_every_id() {
    let letters: Vec<DeadLetter> = (0..5)
        .map(|number| letter(&format!("a{number}"), &body("StockReserved"), 1))
        .collect();
    let seen = Seen { letters, more: 0 };
    let listed = |all| {
        let list = List {
            all,
            ..List::default()
        };
        described(&seen, &no_log(), &list, Timestamp::UNIX_EPOCH)
    };
    let (some, all) = (listed(false), listed(true));
    assert!(some.ends_with("and 2 more: waybill dlq ls --all"), "{some}");
    assert!(some.contains("a2") && !some.contains("a3"), "{some}");
    assert!(all.ends_with(&format!("a4  order {ORDER}")), "{all}");
}

#[test]
fn an_unreadable_queue_does_not_stop_the_list() {
    let fake = Fake::with(&["not JSON"]);
    let call = |operation: &str, params: Value| {
        if params["QueueName"] == "w-inventory-commands-dlq" {
            return Err(broken("AccessDenied", "not yours"));
        }
        fake.call(operation, &params)
    };
    let (output, outcome) = fake.list(&call, &List::default());
    let error = outcome.expect_err("one is not listed").to_string();
    assert!(
        error.ends_with("could be read: inventory-commands"),
        "{error}"
    );
    assert_eq!(output.len(), 2, "each by itself: {output:?}");
    assert!(
        output[0].contains("inventory-commands-dlq  cannot be read"),
        "{output:?}"
    );
    assert!(
        output[1].contains("payments-commands-dlq  1 message"),
        "{output:?}"
    );
}

#[test]
fn json_records_contain_hidden_counts_and_errors() {
    let fake = Fake::with(&["not JSON", &body("StockReserved")]);
    let call = |operation: &str, params: Value| {
        if params["QueueName"] == "w-inventory-commands-dlq" {
            return Err(broken("AccessDenied", "not yours"));
        }
        let counts = params["QueueUrl"]
            .as_str()
            .is_some_and(|url| operation == "GetQueueAttributes" && url.contains(QUEUE.name));
        let mut answer = fake.call(operation, &params)?;
        if counts {
            answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"] = json!("3");
        }
        Ok(answer)
    };
    let records = recorded(&call, &|_, _| no_log(), "w", Some(order(7)));
    let error = records.verdict().expect_err("one is not read").to_string();
    assert!(error.ends_with("be read: inventory-commands"), "{error}");
    let output = json!(records);
    let letters = output["letters"].as_array().expect("letters");
    assert_eq!(letters.len(), 1, "{output}");
    assert_eq!(letters[0]["order_id"], json!(order(7)));
    let queues = output["queues"].as_array().expect("queues");
    assert_eq!(queues.len(), QUEUES.len());
    for queue in queues {
        let (more, why) = match queue["queue"].as_str() {
            Some("payments-commands") => (json!(3), None),
            Some("inventory-commands") => (Value::Null, Some("AccessDenied: not yours")),
            _ => (json!(0), None),
        };
        assert_eq!(queue["more"], more, "{queue}");
        match (queue["unreadable"].as_str(), why) {
            (Some(output), Some(why)) => assert!(output.ends_with(why), "{output}"),
            (output, why) => assert_eq!(output, why),
        }
    }
}

#[test]
fn redrive_skips_abandoned_commands_unless_named() {
    for (kind, event, step) in [
        ("RefundPayment", "refund_abandoned", Some("refund")),
        ("ChargePayment", "refund_abandoned", Some("refund")),
        ("ReleaseStock", "release_abandoned", Some("release")),
        ("ReserveStock", "release_abandoned", Some("release")),
        ("RefundPayment", "release_abandoned", None),
        ("ReleaseStock", "refund_abandoned", None),
        ("RefundPayment", "payment_refunded", None),
        ("PaymentRefunded", "refund_abandoned", None),
        ("VerifyUser", "release_abandoned", None),
    ] {
        let fake = Fake::with(&[&body(kind), &body_of(kind, order(8))]);
        fake.state.borrow_mut().orders = [(order(7), event)].into();
        for dry_run in [true, false] {
            let redrive = Redrive {
                dry_run,
                ..Redrive::default()
            };
            let output = fake
                .run(&[QUEUE], &redrive)
                .expect("it is left for a reason");
            let left = step.map(|step| {
                format!(
                    "{} of order {ORDER} skipped: an operator abandoned its {step}",
                    message(1)
                )
            });
            assert_eq!(
                output.contains("an operator abandoned"),
                left.is_some(),
                "{kind}: {output}"
            );
            assert!(
                left.is_none_or(|left| output.contains(&left)),
                "{kind}: {output}"
            );
        }
        let sent = if step.is_some() { 1 } else { 2 };
        assert_eq!((fake.source().len(), fake.hidden()), (sent, 0), "{kind}");
        let only = by_id(message(1));
        if step.is_some() {
            fake.run(&[QUEUE], &only).expect("it is named");
        }
        assert_eq!((fake.source().len(), fake.dead().len()), (2, 0), "{kind}");
    }
}

#[test]
fn orders_admin_is_called_once_an_order_for_commands() {
    let (command, reply) = (body("RefundPayment"), body("StockReserved"));
    let fake = Fake::with(&[&command, &command, &reply, &command]);
    fake.run(&[QUEUE], &Redrive::default()).expect("it answers");
    assert_eq!((fake.source().len(), fake.state.borrow().asked), (4, 1));
    let replies = Queue {
        name: "orders-replies",
        consumer: "orders-replies",
    };
    let unused = |_| panic!("a reply cannot be abandoned");
    let verdict = Orders::new(&unused).verdict(replies, &letter("a", &reply, 1));
    assert_eq!(verdict, Verdict::Send);
}

#[test]
fn redrive_skips_commands_without_orders_admin() {
    let commands: Vec<String> = (1..=9)
        .map(|number| body_of("RefundPayment", order(number)))
        .collect();
    let bodies: Vec<&str> = commands.iter().map(String::as_str).collect();
    let fake = Fake::with(&bodies);
    fake.state.borrow_mut().unreachable = true;
    let error = fake.run(&[QUEUE], &Redrive::default());
    let error = error.expect_err("nine are left").to_string();
    assert_contains(
        &error,
        &[
            "0 messages went back, 9 skipped because orders-admin did not answer",
            &format!(
                "{} of order {} skipped: calling w-orders-admin: it is",
                message(1),
                order(1)
            ),
            &format!(
                "{} of order {} skipped: orders-admin did not answer before",
                message(9),
                order(9)
            ),
        ],
    );
    assert_eq!((fake.source().len(), fake.hidden()), (0, 0));
    assert_eq!(fake.state.borrow().asked, 3, "each may take long");
    let only = by_id(message(9));
    fake.run(&[QUEUE], &only).expect("it is named");
    assert_eq!(fake.source().len(), 1);

    let fake = Fake::with(&[&commands[0]]);
    fake.state.borrow_mut().orders = [(order(1), "unreadable")].into();
    assert!(fake.run(&[QUEUE], &Redrive::default()).is_err());
    assert!(fake.source().is_empty());
}

#[test]
fn a_sent_message_that_returns_is_deleted() {
    let fake = Fake::with(&[body("StockReserved").as_str()]);
    {
        let mut state = fake.state.borrow_mut();
        (state.ignored_deletes, state.hidden_for) = (1, Some(1));
    }
    let output = fake.run(&[QUEUE], &Redrive::default()).expect("it goes");
    assert_eq!(output, "payments-commands: 1 message went back");
    assert_eq!((fake.dead().len(), fake.source().len()), (0, 1));
}

#[test]
fn a_pass_without_new_messages_ends() {
    let good = body("StockReserved");
    let mut bodies = vec!["not JSON"; 40];
    bodies.resize(100, &good);
    let fake = Fake::with(&bodies);
    fake.state.borrow_mut().hidden_for = Some(4);
    let error = fake.run(&[QUEUE], &Redrive::default());
    let error = error.expect_err("60 are still there").to_string();
    assert_contains(
        &error,
        &["0 messages went back, 40 skipped", "about 60 more"],
    );
}

/// A function's log in pages of ten; reading may fail at any page.
struct Lines {
    events: Vec<Value>,
    pages: RefCell<usize>,
    fails_at: usize,
}

impl Lines {
    fn of(events: Vec<Value>) -> Self {
        Self {
            events,
            pages: RefCell::new(0),
            fails_at: usize::MAX,
        }
    }

    fn read(&self, letters: &[DeadLetter]) -> Log {
        Log::read(
            &|operation, params| self.page(operation, &params),
            "/f",
            letters,
        )
    }

    fn page(&self, operation: &str, params: &Value) -> std::result::Result<Value, AwsError> {
        assert_eq!(operation, "FilterLogEvents");
        *self.pages.borrow_mut() += 1;
        if *self.pages.borrow() == self.fails_at {
            return Err(broken("ThrottlingException", "slow down"));
        }
        let bound = |name: &str| params[name].as_i64().expect("a time");
        let (start, end) = (bound("startTime"), bound("endTime"));
        let at = |event: &Value| event["timestamp"].as_i64().expect("a time");
        let within: Vec<&Value> = self
            .events
            .iter()
            .filter(|event| (start..=end).contains(&at(event)))
            .collect();
        let token = params["nextToken"].as_str();
        let from: usize = token.map_or(0, |token| token.parse().expect("a token"));
        let page: Vec<&&Value> = within.iter().skip(from).take(10).collect();
        let more = within.len() > from + page.len();
        Ok(json!({"events": page,
                  "nextToken": more.then(|| (from + page.len()).to_string())}))
    }
}

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

#[test]
fn the_log_is_read_up_to_the_last_attempt() {
    let sent = 100 * DAY;
    // Another message fails every ten minutes, for ten days.
    let noise = (0..1_440).map(|n| logged("noise", sent + n * 10 * MINUTE, "no", None));
    let old = letter("old", &body("StockReserved"), sent);
    for (after, most) in [(5 * MINUTE, 1), (5 * 60 * MINUTE, 5), (2 * DAY, 40)] {
        let mut events: Vec<Value> = noise.clone().collect();
        events.push(logged("old", sent + after, "no table", None));
        events.sort_by_key(|event| event["timestamp"].as_i64());
        let lines = Lines::of(events);
        let log = lines.read(std::slice::from_ref(&old));
        assert_eq!(log.error_of(&old), "no table");
        let pages = *lines.pages.borrow();
        assert!(pages <= most, "{pages} pages for {after}");
    }
    // Stamped by a clock that runs slow.
    let lines = Lines::of(vec![logged("old", sent - 500, "no table", None)]);
    assert_eq!(
        lines.read(std::slice::from_ref(&old)).error_of(&old),
        "no table"
    );
    let endless = |_: &str, _: Value| {
        let event = logged("noise", sent, "no", None);
        Ok(json!({"events": [event], "nextToken": "more"}))
    };
    let log = Log::read(&endless, "/f", std::slice::from_ref(&old));
    assert!(
        log.read_in_part()
            .is_some_and(|why| why.contains("200 pages"))
    );
}

#[test]
fn a_failed_page_keeps_the_errors_read_before() {
    let sent = 100 * DAY;
    let letters = [
        letter("a", &body("StockReserved"), sent),
        letter("b", &body("StockReserved"), sent),
    ];
    let mut events: Vec<Value> = (0..20)
        .map(|n| logged("noise", sent + n, "no", None))
        .collect();
    events[3] = logged("a", sent + 3, "no table", None);
    events[13] = logged("b", sent + 13, "no table", None);
    let lines = Lines {
        fails_at: 2,
        ..Lines::of(events)
    };
    let log = lines.read(&letters);
    assert_eq!(log.error_of(&letters[0]), "no table");
    assert!(log.error_of(&letters[1]).contains("not in the part"));
    let seen = Seen {
        letters: letters.to_vec(),
        more: 0,
    };
    let text = described(&seen, &log, &List::default(), Timestamp::UNIX_EPOCH);
    assert_contains(&text, &["(log read in part: reading /f: Throttling"]);
}

#[test]
fn aws_request_ids_do_not_split_a_group() {
    let same = [
        "unhandled: Error { code: \"Gone\", message: \"no\", aws_request_id: \
         \"7QK5V2N8XJ4R0T6M3B9CWHYAZPLDFGESU1OI7QK5V2N8XJ4R0T6M\" }",
        "unhandled: Error { code: \"Gone\", message: \"no\", aws_request_id: \"SHORT\" }",
        "unhandled: Error { code: \"Gone\", message: \"no\" }",
    ];
    let traces = [
        "trace 4bf92f3577b34da6a3ce929d0e0e4736 of table waybill-orders",
        "trace 0af7651916cd43dd8448eb211c80319c of table waybill-orders",
    ];
    let group = |error: &str| {
        let letter = letter("a", &body("StockReserved"), 1);
        log_with(logged("a", 1, error, None)).error_of(&letter)
    };
    for error in same {
        assert_eq!(group(error), same[2]);
    }
    for trace in traces {
        assert_eq!(group(trace), "trace <id> of table waybill-orders");
    }
    let output = "ProvisionedThroughputExceededException: version 17";
    assert_eq!(group(output), output);
}

#[test]
fn an_unreadable_log_does_not_stop_the_list() {
    let denied = |_: &str, _: Value| Err(broken("AccessDeniedException", "not yours"));
    let letter = letter("a", &body("StockReserved"), 1);
    let log = Log::read(&denied, "/aws/lambda/f", std::slice::from_ref(&letter));
    let error = log.error_of(&letter);
    assert_contains(
        &error,
        &["could not be read: reading /aws/lambda/f: AccessDenied"],
    );

    let missing = |_: &str, _: Value| Err(broken("ResourceNotFoundException", "no group"));
    let log = Log::read(&missing, "/aws/lambda/f", std::slice::from_ref(&letter));
    assert_eq!(log.error_of(&letter), NOT_LOGGED);
}

#[test]
fn a_queue_has_three_accepted_names() {
    for name in [
        "payments-commands",
        "payments-commands-dlq",
        "w-payments-commands-dlq",
    ] {
        assert_eq!(
            chosen("w", Some(name)).expect("it is known"),
            [QUEUE],
            "{name}"
        );
    }
    assert!(chosen("w", Some("orders")).is_err());
    assert_eq!(chosen("w", None).expect("all").len(), QUEUES.len());
}

#[test]
fn the_queues_come_from_the_templates() {
    assert!(QUEUES.contains(&QUEUE));
}

#[test]
fn every_queue_has_the_same_receive_count() {
    let project = crate::project::Project::find().expect("this is the project");
    for service in project.services().expect("it has services") {
        let text = std::fs::read_to_string(&service.template).expect("a template");
        let tries = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("maxReceiveCount:"));
        assert!(
            tries
                .map(str::trim)
                .all(|tries| tries.parse() == Ok(LAST_TRY))
        );
    }
}
