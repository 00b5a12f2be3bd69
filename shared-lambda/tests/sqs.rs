//! Batches in which one message is broken, one handler fails, or an answer is not taken.

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

/// The ids of the recorded batch: a good message, one that is no envelope, and a good one.
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

/// A batch of good messages, named, received so many times before.
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

async fn answer_once(context: Context, envelope: Envelope) -> Result<Vec<Outgoing>, Failure> {
    Ok(vec![reply(envelope.subject, "", &context)])
}

/// When a function of a queue is stopped.
fn in_15_seconds() -> Instant {
    Instant::now() + Duration::from_secs(15)
}

/// The batch's answer as Lambda reads it.
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

/// The orders whose answers wait on the reply queue.
fn answered(aws: &Aws) -> Vec<u128> {
    let orders = aws.sent(REPLIES).into_iter().map(|message| {
        let id: Uuid = message["order_id"].as_str().unwrap().parse().unwrap();
        id.as_u128()
    });
    orders.collect()
}

/// The waits asked for, by receipt handle.
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
async fn of_a_recorded_batch_only_the_poisoned_message_fails() {
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
    let traces: Vec<Value> = aws
        .sent(REPLIES)
        .iter()
        .map(|message| message["traceparent"].clone())
        .collect();
    assert!(
        traces[0]
            .as_str()
            .unwrap()
            .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "the trace goes on in the answer: {traces:?}"
    );
    assert_eq!(traces.len(), 2);
}

#[tokio::test]
async fn a_batch_in_which_all_went_well_reports_nothing_and_changes_no_visibility() {
    let aws = Aws::new();
    let response = failed(&aws, batch(&[("a", 1), ("b", 1)]), answer_once).await;
    assert_eq!(response, failures(&[]));
    assert_eq!(answered(&aws), [0, 1]);
    assert_eq!(aws.calls().len(), 1);
}

#[tokio::test]
async fn an_empty_batch_and_a_handler_without_answers_call_nobody() {
    let aws = Aws::new();
    assert_eq!(failed(&aws, batch(&[]), answer_once).await, failures(&[]));
    let silent = async |_, _| Ok(Vec::new());
    assert_eq!(
        failed(&aws, batch(&[("a", 1)]), silent).await,
        failures(&[])
    );
    assert_eq!(aws.calls(), []);
}

#[tokio::test]
async fn what_is_no_message_of_ours_fails_alone_whatever_it_is() {
    let bodies = [
        Value::Null,
        json!(""),
        json!("not json"),
        json!("[]"),
        json!("17"),
        json!("{}"),
        json!(r#"{"type": "ReserveStock"}"#),
    ];
    for body in bodies {
        let mut event = serde_json::to_value(batch(&[("bad", 1), ("good", 1)])).unwrap();
        event["Records"][0]["body"] = body.clone();
        let aws = Aws::new();
        let event = serde_json::from_value(event).unwrap();
        let response = failed(&aws, event, answer_once).await;
        assert_eq!(response, failures(&["bad"]), "{body}");
        assert_eq!(answered(&aws), [1]);
    }
}

#[tokio::test]
async fn a_message_of_another_type_is_left_for_the_dead_letter_queue() {
    let aws = Aws::new();
    let response = failed(&aws, batch(&[("a", 1)]), async |_, envelope| {
        Err(envelope.unknown())
    })
    .await;
    assert_eq!(response, failures(&["a"]));
    assert_eq!(waits(&aws), [("receipt-0".to_owned(), 0)]);
}

#[tokio::test]
async fn a_panic_before_the_first_await_fails_one_message() {
    let aws = Aws::new();
    let handler = |context: Context, envelope: Envelope| -> Ready<Result<Vec<Outgoing>, Failure>> {
        assert_ne!(envelope.subject.as_u128(), 1, "a bug");
        std::future::ready(Ok(vec![reply(envelope.subject, "", &context)]))
    };
    let response = failed(&aws, batch(&[("a", 1), ("b", 1), ("c", 1)]), handler).await;
    assert_eq!(response, failures(&["b"]));
    assert_eq!(answered(&aws), [0, 2]);
}

#[tokio::test]
async fn a_panic_after_an_await_fails_one_message() {
    let aws = Aws::new();
    let response = failed(
        &aws,
        batch(&[("a", 1), ("b", 1), ("c", 1)]),
        async |context, envelope: Envelope| {
            tokio::task::yield_now().await;
            assert_ne!(envelope.subject.as_u128(), 1, "a bug");
            answer_once(context, envelope).await
        },
    )
    .await;
    assert_eq!(response, failures(&["b"]));
    assert_eq!(answered(&aws), [0, 2]);
    assert_eq!(waits(&aws), [("receipt-1".to_owned(), 2)]);
}

#[tokio::test]
async fn a_message_that_fails_waits_longer_each_time_for_three_minutes_in_all() {
    let aws = Aws::new();
    let messages = [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("d", 4),
        ("e", 5),
        ("f", 1000),
    ];
    let response = failed(&aws, batch(&messages), async |_, _| {
        Err(Failure::retry("the table is busy", "throttled"))
    })
    .await;
    assert_eq!(response, failures(&["a", "b", "c", "d", "e", "f"]));
    let seconds: Vec<i64> = waits(&aws)
        .into_iter()
        .map(|(_, seconds)| seconds)
        .collect();
    assert_eq!(seconds, [2, 10, 50, 120, 0, 0]);
}

#[tokio::test]
async fn a_message_without_a_readable_receive_count_waits_as_at_its_first() {
    for count in [json!({}), json!({"ApproximateReceiveCount": "many"})] {
        let mut event = serde_json::to_value(batch(&[("a", 1)])).unwrap();
        event["Records"][0]["attributes"] = count;
        let aws = Aws::new();
        let event = serde_json::from_value(event).unwrap();
        failed(&aws, event, async |_, _| Err(Failure::retry("x", "y"))).await;
        assert_eq!(waits(&aws), [("receipt-0".to_owned(), 2)]);
    }
}

#[tokio::test]
async fn a_visibility_that_cannot_be_changed_changes_nothing_else() {
    for fault in [Fault::Throttle, Fault::BeforeEffect] {
        let logs = Logs::start();
        let aws = Aws::new();
        aws.fault_on("sqs:ChangeMessageVisibilityBatch", fault);
        let response = failed(&aws, batch(&[("a", 1)]), async |_, _| {
            Err(Failure::retry("x", "y"))
        })
        .await;
        assert_eq!(response, failures(&["a"]));
        let levels: Vec<Value> = logs.lines().iter().map(|l| l["level"].clone()).collect();
        assert_eq!(levels, ["ERROR", "WARN"]);
    }
}

#[tokio::test]
async fn a_message_without_a_receipt_handle_fails_and_keeps_its_visibility() {
    let mut event = serde_json::to_value(batch(&[("a", 1), ("b", 1)])).unwrap();
    event["Records"][0]["receiptHandle"] = Value::Null;
    let aws = Aws::new();
    let event = serde_json::from_value(event).unwrap();
    let response = failed(&aws, event, async |_, _| Err(Failure::retry("x", "y"))).await;
    assert_eq!(response, failures(&["a", "b"]));
    assert_eq!(waits(&aws), [("receipt-1".to_owned(), 2)]);
}

#[tokio::test]
async fn an_answer_that_is_refused_fails_the_message_it_belongs_to() {
    let aws = Aws::new();
    aws.fault_on("sqs:SendMessageBatch", Fault::PartialSend(vec![1]));
    let response = failed(&aws, batch(&[("a", 1), ("b", 1), ("c", 1)]), answer_once).await;
    assert_eq!(response, failures(&["b"]));
    assert_eq!(answered(&aws), [0, 2]);
}

#[tokio::test]
async fn a_refused_answer_is_found_among_several_answers_and_queues() {
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
async fn a_batch_of_answers_that_is_not_taken_fails_every_message_behind_it() {
    for fault in [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle] {
        let aws = Aws::new();
        aws.fault_on("sqs:SendMessageBatch", fault.clone());
        let response = failed(&aws, batch(&[("a", 1), ("b", 2)]), answer_once).await;
        assert_eq!(response, failures(&["a", "b"]), "{fault:?}");
        // Taken, but not known to be: the message comes back and its answer is sent again.
        let sent = if fault == Fault::AfterEffect { 2 } else { 0 };
        assert_eq!(answered(&aws).len(), sent, "{fault:?}");
    }
}

#[tokio::test]
async fn more_than_ten_answers_go_in_several_batches() {
    let aws = Aws::new();
    let many = async |context: Context, envelope: Envelope| {
        let answers = 0..23;
        Ok(answers
            .map(|n| reply(envelope.subject, &n.to_string(), &context))
            .collect())
    };
    let response = failed(&aws, batch(&[("a", 1)]), many).await;
    assert_eq!(response, failures(&[]));
    assert_eq!(batch_sizes(&aws), [10, 10, 3]);
    let notes: Vec<Value> = aws
        .sent(REPLIES)
        .iter()
        .map(|message| message["data"]["note"].clone())
        .collect();
    let expected: Vec<Value> = (0..23).map(|n: u32| json!(n.to_string())).collect();
    assert_eq!(notes, expected);
}

#[tokio::test]
async fn long_answers_go_in_batches_of_no_more_than_256_kib() {
    let aws = Aws::new();
    let long = async |context: Context, envelope: Envelope| {
        Ok(vec![reply(
            envelope.subject,
            &"x".repeat(100 * 1024),
            &context,
        )])
    };
    let messages = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)];
    let response = failed(&aws, batch(&messages), long).await;
    assert_eq!(response, failures(&[]));
    assert_eq!(batch_sizes(&aws), [2, 2, 1]);
}

#[tokio::test]
async fn an_answer_too_long_for_any_queue_fails_its_own_message_only() {
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
async fn a_message_delivered_twice_in_one_batch_is_reported_once_and_waits_by_each_receipt() {
    let aws = Aws::new();
    let response = failed(&aws, batch(&[("a", 1), ("a", 2)]), async |_, _| {
        Err(Failure::retry("x", "y"))
    })
    .await;
    assert_eq!(response, failures(&["a"]));
    assert_eq!(
        waits(&aws),
        [("receipt-0".to_owned(), 2), ("receipt-1".to_owned(), 10)]
    );
}

#[tokio::test]
async fn a_message_without_an_id_fails_the_whole_batch_rather_than_be_lost() {
    let mut event = serde_json::to_value(batch(&[("a", 1)])).unwrap();
    event["Records"][0]["messageId"] = Value::Null;
    let event = serde_json::from_value(event).unwrap();
    let response = failed(&Aws::new(), event, async |_, _| {
        Err(Failure::retry("x", "y"))
    })
    .await;
    // Lambda takes an empty identifier for a failure of all (its guide to partial batches).
    assert_eq!(response, failures(&[""]));
}

/// What begins and ends when, of two messages.
async fn turns(one_at_a_time: bool) -> Vec<String> {
    let aws = Aws::new();
    let turns = RefCell::new(Vec::new());
    let mut queue = queue(&aws);
    if one_at_a_time {
        queue = queue.one_at_a_time();
    }
    let event = batch(&[("a", 1), ("b", 1)]);
    process(
        &origin(),
        &queue,
        event,
        in_15_seconds(),
        async |_, envelope| {
            let name = envelope.subject.as_u128();
            turns.borrow_mut().push(format!("{name} begins"));
            tokio::task::yield_now().await;
            turns.borrow_mut().push(format!("{name} ends"));
            Ok(Vec::new())
        },
    )
    .await;
    turns.into_inner()
}

#[tokio::test]
async fn messages_are_handled_side_by_side_unless_the_queue_says_otherwise() {
    assert_eq!(turns(false).await[..2], ["0 begins", "1 begins"]);
    assert_eq!(
        turns(true).await,
        ["0 begins", "0 ends", "1 begins", "1 ends"]
    );
}

#[tokio::test]
async fn a_failure_is_one_log_line_that_finds_the_order_and_quotes_nothing() {
    let logs = Logs::start();
    let mut event = serde_json::to_value(batch(&[("a", 3)])).unwrap();
    let body = event["Records"][0]["body"].as_str().unwrap();
    event["Records"][0]["body"] = json!(body.replace(r#""lines":[]"#, r#""lines":"hunter2""#));
    let event = serde_json::from_value(event).unwrap();
    let aws = Aws::new();
    failed(&aws, event, async |_, envelope| {
        envelope.open::<ReserveStock>()?;
        Ok(Vec::new())
    })
    .await;
    let mut lines = logs.lines();
    // The stand-in knows no such receipt, which is said as well.
    assert_eq!(lines.pop().unwrap()["level"], "WARN");
    let expected = json!({
        "level": "ERROR",
        "message": "message failed: in ReserveStock, /data/lines is a string, not an array",
        "message_id": "a",
        "order_id": Uuid::from_u128(0),
        "message_type": "ReserveStock",
        "traceparent": "unknown",
        "receive_count": 3,
        "retry": false,
    });
    assert_eq!(lines, [expected]);
}

#[tokio::test]
async fn a_failures_cause_is_logged_with_its_chain() {
    let logs = Logs::start();
    let aws = Aws::new();
    failed(&aws, recorded(), async |_, _| {
        Err(Failure::retry("the table is busy", "throttled"))
    })
    .await;
    let lines = logs.lines();
    let first = json!({
        "level": "ERROR",
        "message": "message failed: the table is busy",
        "message_id": GOOD,
        "order_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "message_type": "ReserveStock",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "receive_count": 1,
        "retry": true,
        "cause": "throttled",
    });
    assert_eq!(lines[0], first);
    let ids: Vec<&Value> = lines[..3].iter().map(|line| &line["message_id"]).collect();
    assert_eq!(ids, [GOOD, POISON, ALSO_GOOD]);
}

#[tokio::test]
async fn sending_without_a_batch_behind_it_says_what_was_not_accepted() {
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
async fn a_handler_that_outlasts_the_function_fails_alone_and_the_others_are_answered() {
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
async fn of_handlers_in_a_row_those_that_time_is_too_short_for_do_not_begin() {
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
async fn answers_that_a_queue_does_not_take_in_time_fail_their_messages() {
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
async fn somebody_who_waits_does_not_wait_for_a_queue() {
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
async fn a_queue_that_does_not_answer_takes_no_time_from_the_others() {
    let aws = Aws::new();
    aws.on_call(|call| async move {
        if call.request["QueueUrl"] == "https://queues/0/silent" {
            sleep(Duration::from_secs(3600)).await;
        }
        None
    });
    let to = |name: &str, index: u128| {
        let url = format!("https://queues/0/{name}");
        let note = String::new();
        Outgoing::new(
            &url,
            Uuid::from_u128(index),
            &StockReserved { note },
            &context(),
        )
    };
    let outgoing = vec![
        to("well", 1),
        to("silent", 2),
        to("well", 3),
        to("silent", 4),
    ];
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
