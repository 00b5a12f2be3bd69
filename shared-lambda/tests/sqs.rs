//! Batches with a broken message, a failing handler or a refused answer.

use std::cell::RefCell;
use std::future::Ready;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_lambda::Context;
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::sqs::{Failure, Outgoing, Queue, process, send, send_within};
use shared_lambda::telemetry::chain;
use test_support::{Aws, Fault};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::logs::Logs;
use crate::{context, origin};

const COMMANDS: &str =
    "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-inventory-commands";
const REPLIES: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-orders-replies";
const USERS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-users-commands";
const RECORDED: &str = include_str!("fixtures/sqs_batch.json");

/// The ids of the recorded batch: a valid message, one without an envelope, and a valid one.
const GOOD: &str = "059f36b4-87a3-44ab-83d2-661975830a7d";
const POISON: &str = "2e1424d4-f796-459a-8184-9c92662be6da";
const ALSO_GOOD: &str = "a1d2c3b4-0000-4a5b-8c6d-112233445566";

#[derive(Debug, Deserialize)]
struct ReserveStock {
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    sku: String,
}

impl Payload for ReserveStock {
    const TYPE: &'static str = "ReserveStock";
}

impl Serialize for ReserveStock {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.lines.iter().map(|line| &line.sku))
    }
}

#[derive(Serialize)]
struct StockReserved {
    note: String,
}

impl Payload for StockReserved {
    const TYPE: &'static str = "StockReserved";
}

fn queue(aws: &Aws) -> Queue {
    Queue::new(aws.sqs(), COMMANDS.to_owned())
}

fn recorded() -> SqsEvent {
    serde_json::from_str(RECORDED).unwrap()
}

/// A batch of valid messages, by id and receive count.
fn batch(messages: &[(&str, u32)]) -> SqsEvent {
    let records: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(index, (id, receives))| {
            let body = json!({
                "id": Uuid::from_u128(1),
                "type": "ReserveStock",
                "version": 1,
                "order_id": Uuid::from_u128(index as u128),
                "time": "2026-03-01T12:00:00.000Z",
                "data": {"lines": []},
            });
            json!({
                "messageId": id,
                "receiptHandle": format!("receipt-{index}"),
                "body": body.to_string(),
                "attributes": {"ApproximateReceiveCount": receives.to_string()},
            })
        })
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

fn reply(order_id: Uuid, note: &str, context: &Context) -> Outgoing {
    let payload = StockReserved {
        note: note.to_owned(),
    };
    Outgoing::new(REPLIES, order_id, &payload, context)
}

/// The batch with one member of its first record changed.
fn with(mut event: SqsEvent, member: &str, value: Value) -> SqsEvent {
    let mut changed = serde_json::to_value(&event.records[0]).unwrap();
    changed[member] = value;
    event.records[0] = serde_json::from_value(changed).unwrap();
    event
}

async fn fail(_: Context, _: Envelope) -> Result<Vec<Outgoing>, Failure> {
    Err(Failure::retry("the table is busy", "throttled"))
}

async fn answer_once(context: Context, envelope: Envelope) -> Result<Vec<Outgoing>, Failure> {
    Ok(vec![reply(envelope.subject, "", &context)])
}

/// The timeout of a function with a queue.
fn in_15_seconds() -> Instant {
    Instant::now() + Duration::from_secs(15)
}

/// The batch's answer to Lambda.
async fn failed<F, Fut>(aws: &Aws, event: SqsEvent, handler: F) -> Value
where
    F: Fn(Context, Envelope) -> Fut,
    Fut: Future<Output = Result<Vec<Outgoing>, Failure>>,
{
    let response = process(&origin(), &queue(aws), event, in_15_seconds(), handler).await;
    serde_json::to_value(response).unwrap()
}

fn failures(ids: &[&str]) -> Value {
    let failures: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
    json!({ "batchItemFailures": failures })
}

/// The orders with an answer on the reply queue.
fn answered(aws: &Aws) -> Vec<u128> {
    let orders = aws.sent(REPLIES).into_iter().map(|message| {
        let id: Uuid = message["order_id"].as_str().unwrap().parse().unwrap();
        id.as_u128()
    });
    orders.collect()
}

/// The requested visibility timeouts, by receipt handle.
fn waits(aws: &Aws) -> Vec<(String, i64)> {
    let calls = aws.calls();
    let changes = calls
        .iter()
        .filter(|call| call.action == "ChangeMessageVisibilityBatch");
    changes
        .flat_map(|call| {
            assert_eq!(call.targets, [COMMANDS]);
            call.request["Entries"].as_array().unwrap()
        })
        .map(|entry| {
            let receipt = entry["ReceiptHandle"].as_str().unwrap().to_owned();
            (receipt, entry["VisibilityTimeout"].as_i64().unwrap())
        })
        .collect()
}

fn batch_sizes(aws: &Aws) -> Vec<usize> {
    let calls = aws.calls();
    let sends = calls
        .iter()
        .filter(|call| call.action == "SendMessageBatch");
    sends
        .map(|call| call.request["Entries"].as_array().unwrap().len())
        .collect()
}

#[tokio::test]
async fn only_the_poison_of_a_recorded_batch_fails() {
    let aws = Aws::new();
    let seen = RefCell::new(Vec::new());
    let response = failed(&aws, recorded(), async |context, envelope| {
        let command: ReserveStock = envelope.open()?;
        seen.borrow_mut().push(command.lines[0].sku.clone());
        answer_once(context, envelope).await
    })
    .await;
    assert_eq!(response, failures(&[POISON]));
    assert_eq!(*seen.borrow(), ["mug-white", "tea"]);
    let sent = aws.sent(REPLIES);
    let trace = sent[0]["traceparent"].as_str().unwrap();
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!(sent.len(), 2);
}

#[tokio::test]
async fn a_successful_batch_makes_no_needless_calls() {
    let aws = Aws::new();
    assert_eq!(failed(&aws, batch(&[]), answer_once).await, failures(&[]));
    let silent = async |_, _| Ok(Vec::new());
    let response = failed(&aws, batch(&[("a", 1)]), silent).await;
    assert_eq!(response, failures(&[]));
    assert_eq!(aws.calls(), []);
    let response = failed(&aws, batch(&[("a", 1), ("b", 1)]), answer_once).await;
    assert_eq!(response, failures(&[]));
    assert_eq!(answered(&aws), [0, 1]);
    assert_eq!(aws.calls().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_an_envelope_fails_alone() {
    for body in [
        Value::Null,
        json!(""),
        json!("not json"),
        json!("[]"),
        json!("17"),
        json!("{}"),
        json!(r#"{"type": "ReserveStock"}"#),
    ] {
        let event = with(batch(&[("bad", 1), ("good", 1)]), "body", body.clone());
        let aws = Aws::new();
        let response = failed(&aws, event, answer_once).await;
        assert_eq!(response, failures(&["bad"]), "{body}");
        assert_eq!(answered(&aws), [1]);
    }
}

#[tokio::test]
async fn a_message_of_an_unknown_type_becomes_a_dead_letter() {
    let aws = Aws::new();
    let response = failed(&aws, batch(&[("a", 1)]), async |_, envelope| {
        Err(envelope.unknown())
    })
    .await;
    assert_eq!(response, failures(&["a"]));
    assert_eq!(waits(&aws), [("receipt-0".to_owned(), 0)]);
}

#[tokio::test]
async fn a_panic_before_or_after_an_await_fails_one_message() {
    let at_once = |context: Context, envelope: Envelope| -> Ready<Result<Vec<Outgoing>, Failure>> {
        assert_ne!(envelope.subject.as_u128(), 1, "a bug");
        std::future::ready(Ok(vec![reply(envelope.subject, "", &context)]))
    };
    let later = async |context, envelope: Envelope| {
        tokio::task::yield_now().await;
        assert_ne!(envelope.subject.as_u128(), 1, "a bug");
        answer_once(context, envelope).await
    };
    let event = || batch(&[("a", 1), ("b", 1), ("c", 1)]);
    let (first, second) = (Aws::new(), Aws::new());
    let responses = [
        failed(&first, event(), at_once).await,
        failed(&second, event(), later).await,
    ];
    for (aws, response) in [first, second].iter().zip(responses) {
        assert_eq!(response, failures(&["b"]));
        assert_eq!(answered(aws), [0, 2]);
        assert_eq!(waits(aws), [("receipt-1".to_owned(), 2)]);
    }
}

#[tokio::test]
async fn a_failed_message_waits_longer_after_each_delivery() {
    let aws = Aws::new();
    let receives = [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("d", 4),
        ("e", 5),
        ("f", 1000),
    ];
    let response = failed(&aws, batch(&receives), fail).await;
    assert_eq!(response, failures(&["a", "b", "c", "d", "e", "f"]));
    let seconds: Vec<i64> = waits(&aws).iter().map(|(_, seconds)| *seconds).collect();
    assert_eq!(seconds, [2, 10, 50, 120, 0, 0]);
}

#[tokio::test]
async fn an_unreadable_receive_count_means_the_first_delivery() {
    for count in [json!({}), json!({"ApproximateReceiveCount": "many"})] {
        let aws = Aws::new();
        failed(&aws, with(batch(&[("a", 1)]), "attributes", count), fail).await;
        assert_eq!(waits(&aws), [("receipt-0".to_owned(), 2)]);
    }
}

#[tokio::test]
async fn an_unchanged_visibility_timeout_is_only_a_warning() {
    for fault in [Fault::Throttle, Fault::BeforeEffect] {
        let logs = Logs::start();
        let aws = Aws::new();
        aws.fault_on("sqs:ChangeMessageVisibilityBatch", fault);
        let response = failed(&aws, batch(&[("a", 1)]), fail).await;
        assert_eq!(response, failures(&["a"]));
        let levels: Vec<Value> = logs.lines().iter().map(|l| l["level"].clone()).collect();
        assert_eq!(levels, ["ERROR", "WARN"]);
    }
}

#[tokio::test]
async fn a_message_without_a_receipt_keeps_its_visibility_timeout() {
    let aws = Aws::new();
    let event = with(batch(&[("a", 1), ("b", 1)]), "receiptHandle", Value::Null);
    assert_eq!(failed(&aws, event, fail).await, failures(&["a", "b"]));
    assert_eq!(waits(&aws), [("receipt-1".to_owned(), 2)]);
}

#[tokio::test]
async fn a_refused_answer_fails_its_message() {
    let aws = Aws::new();
    aws.fault_on("sqs:SendMessageBatch", Fault::PartialSend(vec![1]));
    let response = failed(&aws, batch(&[("a", 1), ("b", 1), ("c", 1)]), answer_once).await;
    assert_eq!(response, failures(&["b"]));
    assert_eq!(answered(&aws), [0, 2]);
}

#[tokio::test]
async fn a_refused_answer_among_several_queues_fails_its_message() {
    let aws = Aws::new();
    // The third entry of the reply queue's batch is the second answer of the second message.
    aws.fault_on("sqs:SendMessageBatch", Fault::PartialSend(vec![2]));
    let response = failed(
        &aws,
        batch(&[("a", 1), ("b", 1), ("c", 1)]),
        async |context, envelope: Envelope| {
            let id = envelope.subject;
            let other = StockReserved {
                note: String::new(),
            };
            let mut answers = vec![
                reply(id, "", &context),
                Outgoing::new(USERS, id, &other, &context),
            ];
            if id.as_u128() == 1 {
                answers.push(reply(id, "again", &context));
            }
            Ok(answers)
        },
    )
    .await;
    assert_eq!(response, failures(&["b"]));
    assert_eq!(batch_sizes(&aws), [4, 3]);
    assert_eq!(answered(&aws), [0, 1, 2]);
}

#[tokio::test]
async fn a_refused_batch_of_answers_fails_all_its_messages() {
    for fault in [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle] {
        let aws = Aws::new();
        aws.fault_on("sqs:SendMessageBatch", fault.clone());
        let response = failed(&aws, batch(&[("a", 1), ("b", 2)]), answer_once).await;
        assert_eq!(response, failures(&["a", "b"]), "{fault:?}");
        // Accepted without confirmation: the message comes back and its answer is sent again.
        let sent = if fault == Fault::AfterEffect { 2 } else { 0 };
        assert_eq!(answered(&aws).len(), sent, "{fault:?}");
    }
}

#[tokio::test]
async fn more_than_ten_answers_make_several_batches() {
    let aws = Aws::new();
    let many = async |context: Context, envelope: Envelope| {
        let answer = |n: u32| reply(envelope.subject, &n.to_string(), &context);
        Ok((0..23).map(answer).collect())
    };
    let response = failed(&aws, batch(&[("a", 1)]), many).await;
    assert_eq!(response, failures(&[]));
    assert_eq!(batch_sizes(&aws), [10, 10, 3]);
    for (n, message) in aws.sent(REPLIES).iter().enumerate() {
        assert_eq!(message["data"]["note"], n.to_string());
    }
}

#[tokio::test]
async fn a_batch_of_answers_has_at_most_256_kib() {
    let aws = Aws::new();
    let long = async |context: Context, envelope: Envelope| {
        let note = "x".repeat(100 * 1024);
        Ok(vec![reply(envelope.subject, &note, &context)])
    };
    let messages = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)];
    let response = failed(&aws, batch(&messages), long).await;
    assert_eq!(response, failures(&[]));
    assert_eq!(batch_sizes(&aws), [2, 2, 1]);
}

#[tokio::test]
async fn an_answer_too_long_for_sqs_fails_only_its_message() {
    let aws = Aws::new();
    let handler = async |context: Context, envelope: Envelope| {
        let is_second = envelope.subject.as_u128() == 1;
        let note = "x".repeat(if is_second { 1024 * 1024 } else { 1 });
        Ok(vec![reply(envelope.subject, &note, &context)])
    };
    let response = failed(&aws, batch(&[("a", 1), ("b", 1), ("c", 1)]), handler).await;
    assert_eq!(response, failures(&["b"]));
    assert_eq!(batch_sizes(&aws), [1, 1, 1]);
    assert_eq!(answered(&aws), [0, 2]);
}

#[tokio::test]
async fn a_message_twice_in_a_batch_fails_once_and_waits_twice() {
    let aws = Aws::new();
    let response = failed(&aws, batch(&[("a", 1), ("a", 2)]), fail).await;
    assert_eq!(response, failures(&["a"]));
    let expected = [("receipt-0".to_owned(), 2), ("receipt-1".to_owned(), 10)];
    assert_eq!(waits(&aws), expected);
}

#[tokio::test]
async fn a_message_without_an_id_fails_the_whole_batch() {
    let event = with(batch(&[("a", 1)]), "messageId", Value::Null);
    // For Lambda, an empty identifier fails the whole batch (its guide to partial batches).
    assert_eq!(failed(&Aws::new(), event, fail).await, failures(&[""]));
}

/// The sequence in which the handlers of two messages begin and end.
async fn turns(one_at_a_time: bool) -> Vec<String> {
    let aws = Aws::new();
    let turns = RefCell::new(Vec::new());
    let mut queue = queue(&aws);
    if one_at_a_time {
        queue = queue.one_at_a_time();
    }
    let event = batch(&[("a", 1), ("b", 1)]);
    let handler = async |_, envelope: Envelope| {
        let name = envelope.subject.as_u128();
        turns.borrow_mut().push(format!("{name} begins"));
        tokio::task::yield_now().await;
        turns.borrow_mut().push(format!("{name} ends"));
        Ok(Vec::new())
    };
    process(&origin(), &queue, event, in_15_seconds(), handler).await;
    turns.into_inner()
}

#[tokio::test]
async fn messages_are_handled_concurrently_or_one_at_a_time() {
    assert_eq!(turns(false).await[..2], ["0 begins", "1 begins"]);
    assert_eq!(
        turns(true).await,
        ["0 begins", "0 ends", "1 begins", "1 ends"]
    );
}

#[tokio::test]
async fn a_failure_is_one_log_line_without_the_content() {
    let logs = Logs::start();
    let event = batch(&[("a", 3)]);
    let body = event.records[0].body.as_ref().unwrap();
    let body = json!(body.replace(r#""lines":[]"#, r#""lines":"hunter2""#));
    let event = with(event, "body", body);
    let aws = Aws::new();
    failed(&aws, event, async |_, envelope| {
        envelope.open::<ReserveStock>()?;
        Ok(Vec::new())
    })
    .await;
    let mut lines = logs.lines();
    // The stand-in for SQS does not know the receipt.
    assert_eq!(lines.pop().unwrap()["level"], "WARN");
    let expected = json!({
        "level": "ERROR",
        "message": "message failed: in ReserveStock, /data/lines is a string, not an array",
        "message_id": "a",
        "order": Uuid::from_u128(0),
        "type": "ReserveStock",
        "outcome": "poison",
        "receive_count": 3,
    });
    assert_eq!(lines, [expected]);
}

#[tokio::test]
async fn a_wrong_member_does_not_hide_others_from_the_log() {
    let whole: Value =
        serde_json::from_str(batch(&[("a", 1)]).records[0].body.as_ref().unwrap()).unwrap();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let logged = async |name: &str, wrong: Value| {
        let mut body = whole.clone();
        body["traceparent"] = json!(format!("00-{trace}-00f067aa0ba902b7-01"));
        body[name] = wrong;
        let logs = Logs::start();
        let event = with(batch(&[("a", 1)]), "body", json!(body.to_string()));
        failed(&Aws::new(), event, answer_once).await;
        let line = logs.lines().remove(0);
        ["order", "type", "trace"].map(|name| line[name].clone())
    };
    let (order, kind, trace) = (
        json!(Uuid::from_u128(0)),
        json!("ReserveStock"),
        json!(trace),
    );
    let nothing = Value::Null;
    for (name, wrong, expected) in [
        ("order_id", json!(7), [&nothing, &kind, &trace]),
        ("order_id", json!("no id"), [&nothing, &kind, &trace]),
        ("type", nothing.clone(), [&order, &json!("unknown"), &trace]),
        ("traceparent", json!([]), [&order, &kind, &nothing]),
        ("time", json!(0), [&order, &kind, &trace]),
    ] {
        assert_eq!(
            logged(name, wrong).await,
            expected.map(Value::clone),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_handled_message_is_one_log_line() {
    let logs = Logs::start();
    failed(&Aws::new(), recorded(), async |_, _| Ok(Vec::new())).await;
    let mut lines = logs.lines();
    lines.retain(|line| line["level"].is_null());
    let first = json!({
        "order": "01890a5d-ac96-774b-bcce-b302099a8057",
        "type": "ReserveStock",
        "outcome": "ok",
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
    });
    assert_eq!((lines.len(), &lines[0]), (2, &first));
}

#[tokio::test]
async fn a_failure_is_logged_with_its_cause() {
    let logs = Logs::start();
    let aws = Aws::new();
    failed(&aws, recorded(), fail).await;
    let lines = logs.lines();
    let first = json!({
        "level": "ERROR",
        "message": "message failed: the table is busy",
        "message_id": GOOD,
        "order": "01890a5d-ac96-774b-bcce-b302099a8057",
        "type": "ReserveStock",
        "outcome": "retry",
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "receive_count": 1,
        "cause": "throttled",
    });
    assert_eq!(lines[0], first);
    let ids: Vec<&Value> = lines[..3].iter().map(|line| &line["message_id"]).collect();
    assert_eq!(ids, [GOOD, POISON, ALSO_GOOD]);
}

#[tokio::test]
async fn sending_without_a_batch_counts_the_refused_messages() {
    let aws = Aws::new();
    let two = || {
        let context = context();
        vec![
            reply(Uuid::from_u128(0), "", &context),
            reply(Uuid::from_u128(1), "", &context),
        ]
    };
    send(&aws.sqs(), Vec::new()).await.unwrap();
    assert_eq!(aws.calls(), []);
    send(&aws.sqs(), two()).await.unwrap();
    assert_eq!(answered(&aws), [0, 1]);

    aws.fault_on("sqs:SendMessageBatch", Fault::PartialSend(vec![0]));
    let error = send(&aws.sqs(), two()).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!("1 of 2 messages were not accepted: {REPLIES} refused a message: InternalError")
    );
    assert_eq!(answered(&aws), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_past_the_deadline_fails_alone() {
    let aws = Aws::new();
    let messages = [("quick", 1), ("endless", 1), ("slow", 1)];
    let began = Instant::now();
    let response = failed(
        &aws,
        batch(&messages),
        async |context, envelope: Envelope| {
            match envelope.subject.as_u128() {
                0 => {}
                1 => sleep(Duration::from_secs(3600)).await,
                _ => sleep(Duration::from_secs(9)).await,
            }
            answer_once(context, envelope).await
        },
    )
    .await;
    assert_eq!(response, failures(&["endless"]));
    assert_eq!(answered(&aws), [0, 2]);
    assert_eq!(waits(&aws), [("receipt-1".to_owned(), 2)]);
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn sequential_handlers_past_the_deadline_do_not_start() {
    let aws = Aws::new();
    let queue = queue(&aws).one_at_a_time();
    let begun = RefCell::new(0);
    let messages = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
    let event = batch(&messages);
    let handler = async |context: Context, envelope: Envelope| {
        *begun.borrow_mut() += 1;
        sleep(Duration::from_secs(4)).await;
        answer_once(context, envelope).await
    };
    let response = process(&origin(), &queue, event, in_15_seconds(), handler).await;
    let response = serde_json::to_value(response).unwrap();
    assert_eq!(response, failures(&["c", "d"]));
    assert_eq!((answered(&aws), *begun.borrow()), (vec![0, 1], 3));
}

#[tokio::test(start_paused = true)]
async fn answers_past_the_deadline_fail_their_messages() {
    let aws = Aws::new();
    aws.on_call(|call| async move {
        if call.action == "SendMessageBatch" {
            sleep(Duration::from_secs(3600)).await;
        }
        None
    });
    let began = Instant::now();
    let response = failed(&aws, batch(&[("a", 1), ("b", 1)]), answer_once).await;
    assert_eq!(response, failures(&["a", "b"]));
    assert_eq!(waits(&aws).len(), 2);
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn sending_stops_after_the_callers_patience() {
    let aws = Aws::new();
    aws.on_call(|_| async {
        sleep(Duration::from_secs(3600)).await;
        None
    });
    let began = Instant::now();
    let outgoing = vec![reply(Uuid::from_u128(1), "", &context())];
    let error = send_within(Duration::from_secs(2), &aws.sqs(), outgoing)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "1 of 1 messages were not accepted");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_silent_queue_does_not_delay_the_others() {
    let aws = Aws::new();
    aws.on_call(|call| async move {
        if call.request["QueueUrl"] == "https://queues/0/silent" {
            sleep(Duration::from_secs(3600)).await;
        }
        None
    });
    let to = |name: &str, index: u128| {
        let url = format!("https://queues/0/{name}");
        let payload = StockReserved {
            note: name.to_owned(),
        };
        Outgoing::new(&url, Uuid::from_u128(index), &payload, &context())
    };
    let names = ["well", "silent", "well", "silent"];
    let outgoing = names
        .into_iter()
        .zip(1..)
        .map(|(name, index)| to(name, index))
        .collect();
    let error = send_within(Duration::from_secs(2), &aws.sqs(), outgoing)
        .await
        .unwrap_err();
    let causes: Vec<Option<&str>> = (0..4).map(|index| error.cause_of(index)).collect();
    let silent = Some("https://queues/0/silent did not take a batch: it did not answer in time");
    assert_eq!(causes, [None, silent, None, silent]);
    assert_eq!(error.to_string(), "2 of 4 messages were not accepted");
    let cause = chain(&error);
    assert!(cause.contains("silent did not take a batch"), "{cause}");
    assert_eq!(aws.sent("https://queues/0/well").len(), 2);
}
