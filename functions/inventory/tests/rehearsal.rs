//! The queue while somebody rehearses: a command goes wrong as it says, and the stock is right all
//! the same.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use inventory::handlers::commands;
use inventory::messages::ReleaseStock;
use serde_json::{Value, json};
use shared_lambda::Stage;
use shared_lambda::sqs::{Queue, process};
use tokio::time::Instant;

use crate::world::{COMMANDS, REPLIES, World, reserve};

/// Delivers a command that carries a fault to the function in a stage; whether it is acknowledged.
async fn deliver(world: &World, stage: Stage, command: &str, fault: &str) -> bool {
    let mut body: Value = serde_json::from_str(command).unwrap();
    body["fault"] = json!(fault);
    test_support::contracts::assert_enveloped("inventory", &body);
    let event: SqsEvent = serde_json::from_value(json!({"Records": [{
        "messageId": "m", "receiptHandle": "r", "body": body.to_string(),
        "attributes": {"ApproximateReceiveCount": "1"},
    }]}))
    .unwrap();
    let queue = Queue::new(world.aws.sqs(), COMMANDS.to_owned()).in_stage(stage);
    let commands = world.commands();
    let ends_at = Instant::now() + Duration::from_secs(15);
    let response = process(&world.origin, &queue, event, ends_at, |context, command| {
        commands::handle(&commands, context, command)
    })
    .await;
    response.batch_item_failures.is_empty()
}

/// The types of the replies sent since the last look.
fn answers(world: &World) -> Vec<Value> {
    let mut sent = world.aws.sent(REPLIES);
    for reply in &sent {
        assert!(
            reply["fault"].is_null(),
            "a reply is never told to go wrong"
        );
    }
    sent.iter_mut().map(|reply| reply["type"].take()).collect()
}

#[tokio::test]
async fn a_reservation_goes_wrong_as_it_is_told_and_is_right_when_asked_for_again() {
    for (fault, acknowledged, first_answers, held) in [
        ("fail", false, 0, 0),
        ("fail_once", false, 0, 0),
        ("timeout", true, 0, 0),
        ("lost_reply", true, 0, 2),
        ("answer_twice", true, 2, 2),
    ] {
        let world = World::new().await;
        world.stock("MUG", 1250, 5).await;
        let command = world.envelope(1, &reserve(&[("MUG", 2)]));
        let taken = deliver(&world, Stage::Dev, &command, fault).await;
        assert_eq!(taken, acknowledged, "{fault}");
        assert_eq!(
            answers(&world),
            vec!["StockReserved"; first_answers],
            "{fault}"
        );
        assert_eq!(world.levels("MUG"), (5, 5 - held, held), "{fault}");

        let reply = world.reserve(1, &[("MUG", 2)]).await;
        assert_eq!(reply["type"], "StockReserved", "{fault}");
        assert_eq!(world.levels("MUG"), (5, 3, 2), "{fault}");
        world.check_books(5);
    }
}

#[tokio::test]
async fn a_release_whose_answer_is_lost_gives_back_once() {
    let world = World::new().await;
    world.stock("MUG", 1250, 5).await;
    world.reserve(1, &[("MUG", 2)]).await;
    let command = world.envelope(1, &ReleaseStock {});
    for (fault, sent) in [("timeout", 0), ("lost_reply", 0), ("answer_twice", 2)] {
        assert!(deliver(&world, Stage::Staging, &command, fault).await);
        assert_eq!(answers(&world), vec!["StockReleased"; sent]);
    }
    assert_eq!(world.levels("MUG"), (5, 5, 0));
    world.check_books(5);
}

#[tokio::test]
async fn production_carries_every_command_out_as_if_it_were_told_nothing() {
    for fault in ["fail", "fail_once", "timeout", "lost_reply", "answer_twice"] {
        let world = World::new().await;
        world.stock("MUG", 1250, 5).await;
        let command = world.envelope(1, &reserve(&[("MUG", 2)]));
        assert!(deliver(&world, Stage::Production, &command, fault).await);
        assert_eq!(answers(&world), ["StockReserved"], "{fault}");
        assert_eq!(world.levels("MUG"), (5, 3, 2), "{fault}");
    }
}
