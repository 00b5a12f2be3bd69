//! The queue while somebody rehearses: the question goes wrong as it says, outside production.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use serde_json::{Value, json};
use shared_lambda::Stage;
use shared_lambda::sqs::{self, Queue};
use tokio::time::Instant;
use users::handlers::verify;

use crate::world::{NOW, REPLIES, World, id};

const COMMANDS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-users-commands";

/// Asks about a user with a fault, in a stage: whether it is acknowledged, and the answers' types.
async fn ask(stage: Stage, fault: &str) -> (bool, Vec<Value>) {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let body = json!({
        "id": id(70), "type": "VerifyUser", "version": 1, "order_id": id(60), "time": NOW,
        "fault": fault, "data": {"user_id": user_id},
    });
    test_support::contracts::assert_enveloped("users", &body);
    let event: SqsEvent = serde_json::from_value(json!({"Records": [{
        "messageId": "m", "receiptHandle": "r", "body": body.to_string(),
        "attributes": {"ApproximateReceiveCount": "1"},
    }]}))
    .unwrap();
    let queue = Queue::new(world.aws.sqs(), COMMANDS.to_owned()).in_stage(stage);
    let ends_at = Instant::now() + Duration::from_secs(15);
    let response = sqs::process(&world.origin, &queue, event, ends_at, |context, command| {
        verify::handle(&world.verify, context, command)
    })
    .await;
    let mut sent = world.aws.sent(REPLIES);
    let types = sent.iter_mut().map(|reply| reply["type"].take()).collect();
    (response.batch_item_failures.is_empty(), types)
}

#[tokio::test]
async fn the_question_goes_wrong_as_it_is_told_and_in_production_it_does_not() {
    for (fault, acknowledged, answers) in [
        ("fail", false, 0),
        ("fail_once", false, 0),
        ("timeout", true, 0),
        ("lost_reply", true, 0),
        ("answer_twice", true, 2),
    ] {
        for stage in [Stage::Dev, Stage::Staging] {
            let (taken, sent) = ask(stage, fault).await;
            assert_eq!(taken, acknowledged, "{stage:?} {fault}");
            assert_eq!(sent, vec!["UserVerified"; answers], "{stage:?} {fault}");
        }
        let (taken, sent) = ask(Stage::Production, fault).await;
        assert!(taken, "{fault}");
        assert_eq!(sent, ["UserVerified"], "{fault}");
    }
}
