//! The queue while somebody rehearses: a command goes wrong as it says, and the money is right all
//! the same. In production neither a command nor a payment method makes anything go wrong.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use payments::domain::{Decline, Settlement};
use shared_lambda::sqs::{Queue, process};
use tokio::time::Instant;

use super::*;

const COMMANDS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-payments-commands";

/// Delivers a command that carries a fault to the function in a stage; whether it is acknowledged.
async fn deliver(world: &World, stage: Stage, mut command: Value, fault: &str) -> bool {
    command["fault"] = json!(fault);
    test_support::contracts::assert_enveloped("payments", &command);
    let event: SqsEvent = serde_json::from_value(json!({"Records": [{
        "messageId": "m", "receiptHandle": "r", "body": command.to_string(),
        "attributes": {"ApproximateReceiveCount": "1"},
    }]}))
    .unwrap();
    let queue = Queue::new(world.aws.sqs(), COMMANDS.to_owned()).in_stage(stage);
    let commands = queue::wire(&world.setup).unwrap();
    let ends_at = Instant::now() + Duration::from_secs(15);
    let response = process(&world.origin, &queue, event, ends_at, |context, command| {
        queue::handle(&commands, context, command)
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
async fn a_charge_goes_wrong_as_it_is_told_and_is_made_once_when_asked_for_again() {
    for (fault, acknowledged, first_answers, ledger) in [
        ("fail", false, 0, Ledger::NOTHING),
        ("fail_once", false, 0, Ledger::NOTHING),
        ("timeout", true, 0, Ledger::NOTHING),
        ("lost_reply", true, 0, Ledger::CHARGED),
        ("answer_twice", true, 2, Ledger::CHARGED),
    ] {
        let world = World::new().await;
        let taken = deliver(&world, Stage::Dev, charge("pm_card_visa"), fault).await;
        assert_eq!(taken, acknowledged, "{fault}");
        assert_eq!(
            answers(&world),
            vec!["PaymentCharged"; first_answers],
            "{fault}"
        );
        assert_eq!(world.ledger(), ledger, "{fault}");

        let reply = world.deliver(&charge("pm_card_visa")).await.unwrap();
        assert_eq!(reply, charged(), "{fault}");
        assert_eq!(world.ledger(), Ledger::CHARGED, "{fault}");
    }
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_gives_back_once() {
    let world = World::new().await;
    world.deliver(&charge("pm_card_visa")).await.unwrap();
    for (fault, sent, ledger) in [
        ("timeout", 0, Ledger::CHARGED),
        ("lost_reply", 0, Ledger::GIVEN_BACK),
        ("answer_twice", 2, Ledger::GIVEN_BACK),
    ] {
        assert!(deliver(&world, Stage::Staging, refund(), fault).await);
        assert_eq!(answers(&world), vec!["PaymentRefunded"; sent]);
        assert_eq!(world.ledger(), ledger, "{fault}");
    }
}

#[tokio::test]
async fn production_carries_every_command_out_as_if_it_were_told_nothing() {
    for fault in ["fail", "fail_once", "timeout", "lost_reply", "answer_twice"] {
        let world = World::new().await;
        assert!(deliver(&world, Stage::Production, charge("pm_card_visa"), fault).await);
        assert_eq!(answers(&world), ["PaymentCharged"], "{fault}");
        assert_eq!(world.ledger(), Ledger::CHARGED, "{fault}");
    }
}

#[tokio::test]
async fn production_declines_every_token_that_makes_a_payment_go_wrong() {
    for token in [
        "pm_sim_lostReply",
        "pm_sim_slow",
        "pm_sim_unavailable",
        "pm_sim_new",
    ] {
        let world = World::new().await;
        let simulator =
            Simulator::new(world.aws.dynamodb(), world.table.clone(), Stage::Production);
        for _ in 0..2 {
            let answer = simulator.charge(&charge_of(token)).await.unwrap();
            let Settlement::Declined(Decline { code, detail }) = answer else {
                panic!("{token} led to {answer:?}");
            };
            assert_eq!(code, "fault_switches_refused", "{token}");
            assert!(detail.contains("production"), "{detail}");
        }
        assert_eq!(world.ledger(), Ledger::NOTHING, "{token}");
    }
    for (token, code) in [
        ("pm_card_chargeDeclined", Some("card_declined")),
        ("pm_card_nobody_knows", Some("invalid_payment_method")),
        ("pm_card_visa", None),
    ] {
        let world = World::new().await;
        let simulator =
            Simulator::new(world.aws.dynamodb(), world.table.clone(), Stage::Production);
        let declined = match simulator.charge(&charge_of(token)).await.unwrap() {
            Settlement::Declined(decline) => Some(decline.code),
            Settlement::Charged(_) | Settlement::Cancelled => None,
        };
        assert_eq!(declined.as_deref(), code, "{token}");
    }
}
