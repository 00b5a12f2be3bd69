//! Looking, grouping and sending back, against queues in memory that can fail at any call.

use std::cell::RefCell;

use super::letter::{BATCH, find};
use super::log::{LAST_TRY, NOT_LOGGED, failure};
use super::redrive::{Moved, drop_letter, moves, send_back};
use super::*;
use crate::aws::AwsError;
use uuid::Uuid;

const ORDER: &str = "00000000-0000-0000-0000-000000000007";
const QUEUE: Queue = QUEUES[3];
/// When every redrive begins, in seconds.
const BEGUN: i64 = 1_000;

fn body(kind: &str) -> String {
    json!({"id": Uuid::from_u128(1), "type": kind, "version": 1, "order_id": ORDER,
           "time": "2026-01-02T03:04:05.678Z", "data": {}})
    .to_string()
}

/// Two queues, the clock stopped: what is received stays hidden until it is given back.
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
    /// Whether the function fails again at once whatever comes back.
    broken: bool,
    /// Whether with each message that is sent back another, sent just now, fails.
    besides: bool,
    /// Every other poll finds nothing.
    flaky: bool,
    polls: usize,
}

#[derive(Clone)]
struct Message {
    id: String,
    body: String,
    attributes: Value,
    system: Value,
    hidden: bool,
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
        let mut state = self.state.borrow_mut();
        let id = state.fresh();
        state.dead.push(Message {
            id,
            body: body.to_owned(),
            attributes,
            system,
            hidden: false,
        });
    }

    fn call(&self, operation: &str, params: &Value) -> std::result::Result<Value, AwsError> {
        let mut state = self.state.borrow_mut();
        let is_write = ["SendMessage", "DeleteMessage"].contains(&operation);
        let breaks = AwsError {
            code: "Broken".to_owned(),
            message: "the connection broke".to_owned(),
        };
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

    fn redrive(&self, redrive: &Redrive) -> Result<Moved> {
        let mut moved = Moved::default();
        send_back(
            &|operation, params| self.call(operation, &params),
            "w",
            QUEUE,
            redrive,
            redrive.max.unwrap_or(usize::MAX),
            Timestamp::from_second(BEGUN).expect("a time"),
            &mut moved,
        )?;
        Ok(moved)
    }

    /// As the command does it, over these queues.
    fn run(&self, queues: &[Queue], redrive: &Redrive) -> Result<String> {
        let call = |operation: &str, params: Value| self.call(operation, &params);
        let begun = Timestamp::from_second(BEGUN).expect("a time");
        redrive::run(&call, "w", queues, redrive, begun)
    }

    fn find(&self, id: &str) -> Result<letter::Found> {
        let call = |operation: &str, params: Value| self.call(operation, &params);
        find(&call, "w", &[QUEUE], id)
    }

    fn look(&self) -> Seen {
        look(
            &|operation, params| self.call(operation, &params),
            "w",
            QUEUE,
        )
        .expect("it answers")
    }

    fn dead(&self) -> Vec<String> {
        let state = self.state.borrow();
        state
            .dead
            .iter()
            .map(|message| message.body.clone())
            .collect()
    }

    fn source(&self) -> Vec<String> {
        let state = self.state.borrow();
        state
            .source
            .iter()
            .map(|message| message.body.clone())
            .collect()
    }

    fn hidden(&self) -> usize {
        let state = self.state.borrow();
        state.dead.iter().filter(|message| message.hidden).count()
    }

    /// As time does.
    fn show_all(&self) {
        for message in &mut self.state.borrow_mut().dead {
            message.hidden = false;
        }
    }
}

impl State {
    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("m{}", self.next)
    }

    fn answer(&mut self, operation: &str, params: &Value) -> Value {
        match operation {
            "GetQueueUrl" => json!({"QueueUrl": params["QueueName"]}),
            "GetQueueAttributes" => {
                let waiting = self.dead.iter().filter(|message| !message.hidden).count();
                let hidden = self.dead.len() - waiting;
                json!({"Attributes": {"ApproximateNumberOfMessages": waiting.to_string(),
                                      "ApproximateNumberOfMessagesNotVisible": hidden.to_string()}})
            }
            "ReceiveMessage" => {
                assert_eq!(params["QueueUrl"], "w-orders-replies-dlq");
                assert_eq!(
                    params["WaitTimeSeconds"], 1,
                    "a short poll may miss messages"
                );
                self.polls += 1;
                if self.flaky && self.polls % 2 == 1 {
                    return json!({});
                }
                let visible = self.dead.iter_mut().filter(|message| !message.hidden);
                let messages: Vec<Value> = visible
                    .take(BATCH)
                    .map(|message| {
                        message.hidden = true;
                        json!({"MessageId": message.id, "ReceiptHandle": message.id,
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
                    for message in given.filter(|m| entry["ReceiptHandle"] == m.id.as_str()) {
                        message.hidden = false;
                    }
                }
                json!({})
            }
            "SendMessage" => {
                assert_eq!(params["QueueUrl"], "w-orders-replies");
                let id = self.fresh();
                let message = Message {
                    id: id.clone(),
                    body: params["MessageBody"].as_str().expect("a body").to_owned(),
                    attributes: params["MessageAttributes"].clone(),
                    system: params["MessageSystemAttributes"].clone(),
                    hidden: false,
                };
                if self.besides {
                    let id = self.fresh();
                    let system = json!({"SentTimestamp": (BEGUN * 1_000 + 1).to_string()});
                    self.dead.push(Message {
                        id,
                        system,
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
                assert_eq!(params["QueueUrl"], "w-orders-replies-dlq");
                self.dead
                    .retain(|message| params["ReceiptHandle"] != message.id.as_str());
                json!({})
            }
            other => panic!("nobody calls {other}"),
        }
    }
}

#[test]
fn looking_takes_nothing_away_and_gives_everything_back() {
    let bodies: Vec<String> = (0..35).map(|n| body(&format!("Kind{n}"))).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let fake = Fake::with(&bodies);
    for _ in 0..2 {
        let seen = fake.look();
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
fn sending_back_moves_everything_that_can_be_read_and_leaves_the_rest_in_sight() {
    let (good, broken) = (body("StockReserved"), "not JSON");
    let fake = Fake::with(&[&good, broken, &good]);
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((moved.sent.len(), moved.unreadable, moved.more), (2, 1, 0));
    assert_eq!(fake.source(), [good.as_str(), &good]);
    assert_eq!((fake.dead(), fake.hidden()), (vec![broken.to_owned()], 0));

    let again = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((again.sent.len(), fake.source().len()), (0, 2));

    let all = Redrive {
        unparseable: true,
        ..Redrive::default()
    };
    fake.redrive(&all).expect("it answers");
    assert_eq!((fake.dead().len(), fake.source().len()), (0, 3));
}

#[test]
fn one_message_can_be_chosen_readable_or_not() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good, "not JSON", &good]);
    let only = Redrive {
        id: Some("m2".to_owned()),
        ..Redrive::default()
    };
    let told = fake.run(&[QUEUE], &only).expect("it answers");
    assert_eq!(told, "orders-replies: 1 message went back");
    assert_eq!(fake.source(), ["not JSON"]);
    assert_eq!((fake.dead().len(), fake.hidden()), (2, 0));
}

#[test]
fn no_more_go_back_than_asked_for_and_a_dry_run_sends_nothing() {
    let bodies = vec![body("StockReserved"); 25];
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let fake = Fake::with(&bodies);
    let redrive = Redrive {
        max: Some(12),
        dry_run: true,
        ..Redrive::default()
    };
    let moved = fake.redrive(&redrive).expect("it answers");
    assert_eq!((moved.sent.len(), fake.source().len()), (12, 0));
    assert_eq!((fake.dead().len(), fake.hidden()), (25, 0));

    let redrive = Redrive {
        dry_run: false,
        ..redrive
    };
    fake.redrive(&redrive).expect("it answers");
    assert_eq!(
        (fake.source().len(), fake.dead().len(), fake.hidden()),
        (12, 13, 0)
    );
}

#[test]
fn failing_at_any_write_and_doing_it_again_loses_nothing() {
    let bodies: Vec<String> = (0..12).map(|n| body(&format!("Kind{n}"))).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    for nth in 0..24 {
        for takes_effect in [false, true] {
            let fake = Fake::with(&texts);
            fake.state.borrow_mut().fails = Some((nth, takes_effect));
            let error = fake.redrive(&Redrive::default()).expect_err("a call broke");
            assert!(error.to_string().contains("do this again"), "{error}");
            // What was received and not moved is in sight again without waiting for it.
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
fn dying_between_send_and_delete_leaves_a_message_in_both_queues() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good]);
    // Killed: the delete never happens, and nothing is given back either.
    let killed = |operation: &str, params: Value| match operation {
        "DeleteMessage" | "ChangeMessageVisibilityBatch" => Err(AwsError {
            code: "Killed".to_owned(),
            message: String::new(),
        }),
        _ => fake.call(operation, &params),
    };
    let begun = Timestamp::from_second(BEGUN).expect("a time");
    assert!(redrive::run(&killed, "w", &[QUEUE], &Redrive::default(), begun).is_err());
    assert_eq!(
        (fake.dead().len(), fake.source().len(), fake.hidden()),
        (1, 1, 1)
    );
    fake.show_all();
    fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((fake.dead().len(), fake.source().len()), (0, 2));
}

#[test]
fn what_fails_again_at_once_is_not_sent_round_and_round() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good, &good]);
    fake.state.borrow_mut().broken = true;
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((moved.sent.len(), moved.failing), (2, 2));
    assert_eq!((fake.dead().len(), fake.hidden()), (2, 0));
}

#[test]
fn attributes_go_back_with_their_message() {
    let fake = Fake::default();
    let attributes = json!({
        "source": {"DataType": "String", "StringValue": "shop"},
        "raw": {"DataType": "Binary", "BinaryValue": {"base64": "/w=="}},
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

fn letter(id: &str, body: &str, sent: i64) -> Letter {
    Letter::read(&json!({
        "MessageId": id, "ReceiptHandle": id, "Body": body,
        "Attributes": {"SentTimestamp": sent.to_string(), "ApproximateReceiveCount": "6"},
    }))
    .expect("a message")
}

fn logged(id: &str, at: i64, detail: &str, cause: Option<&str>) -> Value {
    let line = json!({"level": "ERROR", "message": format!("message failed: {detail}"),
                      "message_id": id, "cause": cause, "receive_count": 5});
    json!({"timestamp": at, "message": format!("{line}\n")})
}

#[test]
fn an_error_is_found_by_its_messages_id_and_grouped_without_what_differs() {
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
    let mut text = String::new();
    describe(&mut text, QUEUE, &seen, &log, now).expect("text");
    assert_eq!(
        text.trim(),
        format!(
            "orders-replies-dlq  3 messages\n\
             \x20     1 x (not a message), the oldest 1 s old: {NOT_LOGGED}\n\
             \x20         c\n\
             \x20     2 x StockReserved, the oldest 2 h old: the order's table: no <id>\n\
             \x20         a b"
        )
    );
}

#[test]
fn a_line_that_is_not_about_a_message_is_no_failure() {
    for message in ["START RequestId: 7", "{\"message\": \"swept\"}", "{}"] {
        assert_eq!(failure(&json!({"timestamp": 1, "message": message})), None);
    }
}

#[test]
fn a_message_is_shown_whole_with_its_error_and_its_orders_timeline() {
    let order = json!({"outcome": "found", "order": {
        "order_id": ORDER, "status": "PENDING", "state": "charging", "waits_for": "ChargePayment",
        "timeline": [{"at": "2026-01-02T03:04:05Z", "event": "order_placed", "attempt": null,
                      "detail": null},
                     {"at": "2026-01-02T03:04:06Z", "event": "charge_payment_requested",
                      "attempt": 1, "detail": "again"}],
    }});
    let log = Log::of(
        failure(&logged("a", 1_000, "no table", None))
            .into_iter()
            .collect(),
    );
    let mut text = String::new();
    let shown = letter("a", &body("PaymentCharged"), 0);
    whole(&mut text, QUEUE, &shown, &log, Some(&order)).expect("text");
    for expected in [
        "message     a",
        "received    6 times",
        "error       no table",
        "\"type\": \"PaymentCharged\"",
        "PENDING (charging), waits for ChargePayment (as orders-operate shows it)",
        "charge_payment_requested (1): again",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let mut text = String::new();
    whole(&mut text, QUEUE, &letter("c", "not JSON", 0), &log, None).expect("text");
    assert!(
        text.contains("not JSON") && text.contains("redrive --id c"),
        "{text}"
    );
}

#[test]
fn what_was_sent_back_and_what_was_not_is_told() {
    let moved = |sent: usize, unreadable, failing, more| Moved {
        sent: vec![String::new(); sent],
        unreadable,
        failing,
        more,
    };
    let told = [(QUEUES[0], moved(0, 0, 0, 0)), (QUEUE, moved(2, 1, 1, 3))];
    let text = moves(&told, &Redrive::default());
    for expected in [
        "orders-replies: 2 messages went back, 1 left that no function can read",
        "1 failed while this went on",
        "about 3 more are there",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(
        moves(&told[..1], &Redrive::default()),
        "there is nothing to send back"
    );
}

#[test]
fn polls_that_find_nothing_in_a_queue_that_holds_something_end_nothing() {
    let bodies = vec![body("StockReserved"); 35];
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let fake = Fake::with(&bodies);
    fake.state.borrow_mut().flaky = true;
    assert_eq!(fake.look().letters.len(), 35);
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((moved.sent.len(), fake.dead().len()), (35, 0));
}

#[test]
fn what_somebody_else_looks_at_is_told_and_never_taken_for_nothing() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good, &good]);
    for message in &mut fake.state.borrow_mut().dead {
        message.hidden = true;
    }
    let seen = fake.look();
    assert_eq!((seen.letters.len(), seen.more), (0, 2));
    let mut text = String::new();
    let log = Log::of(BTreeMap::new());
    describe(&mut text, QUEUE, &seen, &log, Timestamp::UNIX_EPOCH).expect("text");
    assert!(text.contains("about 2 more: hidden"), "{text}");
    let told = fake.run(&[QUEUE], &Redrive::default()).expect("it answers");
    assert!(
        told.contains("0 messages went back, about 2 more"),
        "{told}"
    );
    let error = fake.find("m1").expect_err("it is hidden").to_string();
    assert!(error.contains("about 2 more: hidden"), "{error}");
}

#[test]
fn what_fails_while_messages_go_back_does_not_go_back_for_ever() {
    let good = body("StockReserved");
    let fake = Fake::with(&[&good, &good]);
    fake.state.borrow_mut().besides = true;
    let moved = fake.redrive(&Redrive::default()).expect("it answers");
    assert_eq!((moved.sent.len(), moved.failing, moved.more), (2, 2, 0));
    assert_eq!((fake.dead().len(), fake.hidden()), (2, 0));
}

#[test]
fn the_limit_holds_over_all_queues_and_an_error_keeps_the_tally() {
    let bodies = vec![body("StockReserved"); 5];
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let fake = Fake::with(&bodies);
    let redrive = Redrive {
        max: Some(3),
        ..Redrive::default()
    };
    // The same queue twice: what the first leaves, the second may not take.
    let told = fake.run(&[QUEUE, QUEUE], &redrive).expect("it answers");
    assert!(
        told.starts_with("orders-replies: 3 messages went back, about 2 more"),
        "{told}"
    );
    assert!(
        told.contains("\norders-replies: 0 messages went back, about 2 more"),
        "{told}"
    );
    assert_eq!((fake.source().len(), fake.dead().len()), (3, 2));

    let fake = Fake::with(&bodies);
    fake.state.borrow_mut().fails = Some((6, false));
    let error = fake
        .run(&[QUEUE], &Redrive::default())
        .expect_err("a call broke");
    let error = error.to_string();
    assert!(
        error.starts_with("orders-replies: 3 messages went back"),
        "{error}"
    );
    assert!(error.contains("do this again"), "{error}");

    // That one call broke does not mean that there is nothing.
    let fake = Fake::with(&bodies);
    fake.state.borrow_mut().fails = Some((0, false));
    let error = fake
        .run(&[QUEUE], &Redrive::default())
        .expect_err("a call broke");
    assert!(
        error
            .to_string()
            .starts_with("orders-replies: sending m1 back"),
        "{error}"
    );
}

#[test]
fn a_message_is_named_by_the_beginning_of_its_id_if_no_other_begins_so() {
    let bodies = vec![body("StockReserved"); 11];
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let fake = Fake::with(&bodies);
    // m1, m10 and m11: a whole id is one message's alone.
    assert_eq!(fake.find("m1").expect("it is there").letter.id, "m1");
    fake.show_all();
    assert_eq!(fake.find("m9").expect("it is there").letter.id, "m9");
    fake.show_all();
    for (id, expected) in [
        ("m", "11 messages begin with m"),
        ("x", "cargo xtask dlq ls"),
        ("", "say which message"),
    ] {
        let error = fake.find(id).expect_err(id).to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fake.hidden(), 0, "{id}");
    }
    let stale = Redrive {
        id: Some("x".to_owned()),
        ..Redrive::default()
    };
    assert!(fake.run(&[QUEUE], &stale).is_err());
    assert!(fake.source().is_empty());
}

#[test]
fn a_message_is_dropped_only_when_it_was_printed() {
    let fake = Fake::with(&["not JSON", "neither"]);
    let call = |operation: &str, params: Value| fake.call(operation, &params);
    let found = fake.find("m1").expect("it is there");
    assert!(drop_letter(&call, &found, || false).is_err());
    assert_eq!((fake.dead().len(), fake.hidden()), (2, 0));

    let found = fake.find("m1").expect("it is there");
    let told = drop_letter(&call, &found, || {
        assert_eq!(fake.dead().len(), 2, "printed first");
        true
    });
    assert!(told.expect("it is dropped").contains("m1"));
    assert_eq!(
        (fake.dead(), fake.hidden()),
        (vec!["neither".to_owned()], 0)
    );
}

/// A function's log in pages of ten, which may end at any of them.
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

    fn read(&self, letters: &[Letter]) -> Log {
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
            return Err(AwsError {
                code: "ThrottlingException".to_owned(),
                message: "slow down".to_owned(),
            });
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
fn the_log_is_read_around_a_letter_and_no_further_than_its_last_try() {
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
    // Stamped a little before it was sent, by another clock.
    let lines = Lines::of(vec![logged("old", sent - 500, "no table", None)]);
    assert_eq!(
        lines.read(std::slice::from_ref(&old)).error_of(&old),
        "no table"
    );
    // No log goes on for ever.
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
fn what_was_read_of_a_log_is_worth_something_although_a_page_fails() {
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
    let mut text = String::new();
    describe(&mut text, QUEUE, &seen, &log, Timestamp::UNIX_EPOCH).expect("text");
    assert!(
        text.contains("(log read in part: reading /f: Throttling"),
        "{text}"
    );
}

#[test]
fn errors_that_differ_in_what_aws_numbers_them_by_are_one_group() {
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
        let log = Log::of(failure(&logged("a", 1, error, None)).into_iter().collect());
        log.error_of(&letter)
    };
    for error in same {
        assert_eq!(group(error), same[2]);
    }
    for trace in traces {
        assert_eq!(group(trace), "trace <id> of table waybill-orders");
    }
    let told = "ProvisionedThroughputExceededException: version 17";
    assert_eq!(group(told), told);
}

#[test]
fn a_log_that_cannot_be_read_keeps_no_message_from_being_shown() {
    let denied = |_: &str, _: Value| {
        Err(AwsError {
            code: "AccessDeniedException".to_owned(),
            message: "not yours".to_owned(),
        })
    };
    let letter = letter("a", &body("StockReserved"), 1);
    let log = Log::read(&denied, "/aws/lambda/f", std::slice::from_ref(&letter));
    let error = log.error_of(&letter);
    assert!(
        error.contains("could not be read: reading /aws/lambda/f: AccessDenied"),
        "{error}"
    );

    let missing = |_: &str, _: Value| {
        Err(AwsError {
            code: "ResourceNotFoundException".to_owned(),
            message: "no group".to_owned(),
        })
    };
    let log = Log::read(&missing, "/aws/lambda/f", std::slice::from_ref(&letter));
    assert_eq!(log.error_of(&letter), NOT_LOGGED);
}

#[test]
fn a_queue_is_known_by_its_name_its_dead_letters_or_in_full() {
    for name in [
        "orders-replies",
        "orders-replies-dlq",
        "w-orders-replies-dlq",
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
fn the_queues_are_those_of_the_templates() {
    let project = crate::project::Project::find().expect("this is the project");
    let mut declared = Vec::new();
    let mut consumers = Vec::new();
    for service in project.services().expect("it has services") {
        let text = std::fs::read_to_string(&service.template).expect("a template");
        let named = |tag: &str, text: &str| -> Vec<String> {
            text.lines()
                .filter_map(|line| {
                    line.trim()
                        .strip_prefix(tag)?
                        .trim()
                        .strip_prefix("!Sub ${Prefix}-")
                })
                .map(str::to_owned)
                .collect()
        };
        for line in text.lines() {
            if let Some(tries) = line.trim().strip_prefix("maxReceiveCount:") {
                assert_eq!(tries.trim().parse(), Ok(LAST_TRY), "{line}");
            }
        }
        let dead = named("QueueName:", &text);
        declared.extend(
            dead.iter()
                .filter_map(|name| name.strip_suffix("-dlq"))
                .map(str::to_owned),
        );
        consumers.extend(named("FunctionName:", &text));
    }
    let mut known = QUEUES.map(|queue| queue.name.to_owned());
    known.sort();
    declared.sort();
    assert_eq!(declared, known);
    for queue in QUEUES {
        assert!(
            consumers.iter().any(|name| name == queue.consumer),
            "{}",
            queue.consumer
        );
    }
}
