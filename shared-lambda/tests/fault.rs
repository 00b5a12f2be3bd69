//! Commands with an injected fault, in stages that allow it and in production.

use std::cell::Cell;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use serde::Serialize;
use serde_json::{Value, json};
use shared_lambda::Stage;
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::fault::{FAULT_LIFETIME, Fault};
use shared_lambda::sqs::{Failure, Outgoing, Queue, process};
use test_support::Aws;
use tokio::time::Instant;
use uuid::Uuid;

use crate::logs::Logs;
use crate::{context, now, origin};

const COMMANDS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-users-commands";
const REPLIES: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-orders-replies";
const ORDER: Uuid = Uuid::from_u128(7);

#[derive(Serialize)]
struct VerifyUser {}

impl Payload for VerifyUser {
    const TYPE: &'static str = "VerifyUser";
}

#[derive(Serialize)]
struct UserVerified {}

impl Payload for UserVerified {
    const TYPE: &'static str = "UserVerified";
}

/// A sent command with this fault.
fn command(fault: &Value) -> Value {
    let sent = Outgoing::new(COMMANDS, ORDER, &VerifyUser {}, &context());
    let mut body: Value = serde_json::from_str(sent.body()).unwrap();
    body["fault"] = fault.clone();
    body
}

/// The outcome of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// How often the handler ran.
    done: u32,
    answers: usize,
    acknowledged: bool,
}

const AS_ALWAYS: Seen = Seen {
    done: 1,
    answers: 1,
    acknowledged: true,
};

/// Delivers a message on a queue with or without a stage.
async fn deliver(stage: Option<Stage>, message: &Value, receives: u32) -> (Seen, Aws) {
    let aws = Aws::new();
    let event: SqsEvent = serde_json::from_value(json!({"Records": [{
        "messageId": "m",
        "receiptHandle": "r",
        "body": message.to_string(),
        "attributes": {"ApproximateReceiveCount": receives.to_string()},
    }]}))
    .unwrap();
    let mut queue = Queue::new(aws.sqs(), COMMANDS.to_owned());
    if let Some(stage) = stage {
        queue = queue.in_stage(stage);
    }
    let done = Cell::new(0);
    let ends_at = Instant::now() + Duration::from_secs(15);
    let response = process(
        &origin(),
        &queue,
        event,
        ends_at,
        async |context, _: Envelope| {
            done.set(done.get() + 1);
            Ok::<_, Failure>(vec![Outgoing::new(
                REPLIES,
                ORDER,
                &UserVerified {},
                &context,
            )])
        },
    )
    .await;
    let seen = Seen {
        done: done.get(),
        answers: aws.sent(REPLIES).len(),
        acknowledged: response.batch_item_failures.is_empty(),
    };
    (seen, aws)
}

fn expected(fault: Fault) -> Seen {
    let (done, answers, acknowledged) = match fault {
        Fault::Fail => (0, 0, false),
        Fault::Timeout => (0, 0, true),
        Fault::LostReply => (1, 0, true),
    };
    Seen {
        done,
        answers,
        acknowledged,
    }
}

#[tokio::test]
async fn production_ignores_injected_faults_and_other_stages_do_not() {
    for (name, fault, once) in Fault::ALL {
        let message = command(&json!(name));
        for stage in [Stage::Dev, Stage::Staging] {
            for receives in [1, 2, 5] {
                let (seen, _) = deliver(Some(stage), &message, receives).await;
                let is_over = once && receives > 1;
                let wanted = if is_over { AS_ALWAYS } else { expected(fault) };
                assert_eq!(seen, wanted, "{stage:?} {name}, delivery {receives}");
            }
        }
        // A queue without a stage behaves as in production.
        for stage in [Some(Stage::Production), None] {
            let (seen, _) = deliver(stage, &message, 1).await;
            assert_eq!(seen, AS_ALWAYS, "{stage:?} {name}");
        }
    }
}

#[tokio::test]
async fn a_failing_command_is_redelivered_without_a_wait() {
    let (_, aws) = deliver(Some(Stage::Dev), &command(&json!("fail")), 1).await;
    let calls = aws.calls();
    let [call] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(call.action, "ChangeMessageVisibilityBatch");
    assert_eq!(call.request["Entries"][0]["VisibilityTimeout"], 0);
}

#[tokio::test]
async fn a_fault_expires_two_minutes_after_its_command() {
    for (age, wanted) in [
        (FAULT_LIFETIME, expected(Fault::Fail)),
        (
            FAULT_LIFETIME + jiff::SignedDuration::from_millis(1),
            AS_ALWAYS,
        ),
        // The sender's clock is ahead.
        (-FAULT_LIFETIME, expected(Fault::Fail)),
    ] {
        let mut message = command(&json!("fail"));
        message["time"] = json!((now() - age).to_string());
        let (seen, _) = deliver(Some(Stage::Dev), &message, 1).await;
        assert_eq!(seen, wanted, "sent {age} ago");
    }
}

#[tokio::test]
async fn an_unknown_fault_is_ignored_and_a_non_text_one_refused() {
    for fault in [
        json!(null),
        json!(""),
        json!("explode"),
        json!("answer_twice"),
    ] {
        let (seen, _) = deliver(Some(Stage::Dev), &command(&fault), 1).await;
        assert_eq!(seen, AS_ALWAYS, "{fault}");
    }
    for stage in [Stage::Dev, Stage::Production] {
        let (seen, _) = deliver(Some(stage), &command(&json!({"kind": "fail"})), 1).await;
        assert_eq!((seen.done, seen.acknowledged), (0, false), "{stage:?}");
    }
}

fn warnings(logs: &Logs) -> Vec<Value> {
    let mut lines = logs.lines();
    lines.retain(|line| line["level"] == "WARN");
    lines
}

#[tokio::test]
async fn every_injected_fault_is_logged() {
    for (stage, fault, ignored_because) in [
        (Stage::Dev, "lost_reply", None),
        (Stage::Dev, "explode", Some("the fault is unknown")),
        (
            Stage::Production,
            "lost_reply",
            Some("production ignores injected faults"),
        ),
    ] {
        let logs = Logs::start();
        deliver(Some(stage), &command(&json!(fault)), 1).await;
        let mut line = json!({
            "level": "WARN",
            "message": "the command carries an injected fault",
            "event": "fault_injected",
            "order": ORDER,
            "type": "VerifyUser",
        });
        if fault == "lost_reply" {
            line["fault"] = json!(fault);
        }
        if let Some(reason) = ignored_because {
            line["ignored_because"] = json!(reason);
        }
        assert_eq!(warnings(&logs), [line]);
    }
    let logs = Logs::start();
    deliver(Some(Stage::Dev), &command(&json!(null)), 1).await;
    assert_eq!(warnings(&logs), [] as [Value; 0]);
}

#[test]
fn a_fault_changes_nothing_else_in_a_message() {
    let plain = Outgoing::new(COMMANDS, ORDER, &VerifyUser {}, &context());
    assert!(!plain.body().contains("fault"), "{}", plain.body());
    let sent = Outgoing::with_fault(COMMANDS, ORDER, &VerifyUser {}, Some("fail"), &context());
    let mut body: Value = serde_json::from_str(sent.body()).unwrap();
    let shown = body.as_object_mut().unwrap().remove("fault");
    assert_eq!(shown, Some(json!("fail")));
    assert_eq!(body, serde_json::from_str::<Value>(plain.body()).unwrap());
}

#[test]
fn only_production_allows_no_faults() {
    for (text, allows) in [("dev", true), ("staging", true), ("production", false)] {
        assert_eq!(
            Stage::parse(text).unwrap().allows_faults(),
            allows,
            "{text}"
        );
    }
    for text in ["", "prod", "Production", "dev ", "test"] {
        let shown = format!("{:?}", Stage::parse(text).unwrap_err());
        let wanted = format!("STAGE is {text:?}; it is one of dev, staging and production");
        assert_eq!(shown, wanted);
    }
}
