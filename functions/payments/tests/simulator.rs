//! The simulator keeps a provider's promise: a key has one effect, for ever.

use payments::domain::{Decline, PaymentId, Settlement};
use payments::provider::{Kind, ProviderError, TRY_TIMEOUT, UnusableProvider};

use super::*;

fn payment_id() -> PaymentId {
    PaymentId(format!("sim_charge-{}", ORDER.0))
}

fn is_unknown<T>(answer: &Result<T, ProviderError>) -> bool {
    matches!(answer, Err(ProviderError::Unknown(_)))
}

fn is_refused<T>(answer: &Result<T, ProviderError>) -> bool {
    matches!(answer, Err(ProviderError::Refused(_)))
}

#[tokio::test]
async fn each_declining_token_repeats_its_code() {
    for (token, code) in [
        ("pm_card_chargeDeclined", "card_declined"),
        (
            "pm_card_chargeDeclinedInsufficientFunds",
            "insufficient_funds",
        ),
        ("pm_card_unknown", "invalid_payment_method"),
    ] {
        let world = World::new().await;
        for _ in 0..2 {
            let answer = world.simulator.charge(&charge_of(token)).await.unwrap();
            let Settlement::Declined(Decline { code: sent, .. }) = answer else {
                panic!("{token} led to {answer:?}");
            };
            assert_eq!(sent, code);
        }
        assert_eq!(world.ledger(), Ledger::NOTHING);
    }
}

#[tokio::test]
async fn a_charge_is_made_once_per_key_and_then_not_cancelled() {
    let world = World::new().await;
    let charge = charge_of("pm_card_visa");
    let charged = Settlement::Charged(payment_id());
    for _ in 0..2 {
        assert_eq!(world.simulator.charge(&charge).await.unwrap(), charged);
    }
    assert_eq!(world.simulator.cancel(&charge.key).await.unwrap(), charged);
    assert_eq!(world.simulator.charge(&charge).await.unwrap(), charged);
    assert_eq!(world.ledger(), Ledger::CHARGED);
}

#[tokio::test]
async fn a_cancelled_key_can_never_be_charged() {
    let world = World::new().await;
    let charge = charge_of("pm_card_visa");
    for _ in 0..2 {
        let answer = world.simulator.cancel(&charge.key).await.unwrap();
        assert_eq!(answer, Settlement::Cancelled);
    }
    let answer = world.simulator.charge(&charge).await.unwrap();
    assert_eq!(answer, Settlement::Cancelled);
    assert_eq!(world.ledger(), Ledger::NOTHING);
}

#[tokio::test]
async fn a_key_cannot_be_used_for_another_charge() {
    let world = World::new().await;
    let first = charge_of("pm_card_visa");
    world.simulator.charge(&first).await.unwrap();
    let dearer = Charge {
        amount: usd(AMOUNT + 1),
        ..first
    };
    assert!(is_refused(&world.simulator.charge(&dearer).await));
    assert_eq!(world.ledger(), Ledger::CHARGED);
}

#[tokio::test]
async fn a_lost_answer_is_repeated_by_the_next_call() {
    let world = World::new().await;
    let charge = charge_of("pm_sim_lostReply");
    assert!(is_unknown(&world.simulator.charge(&charge).await));
    assert_eq!(world.ledger(), Ledger::CHARGED);
    let again = world.simulator.charge(&charge).await.unwrap();
    assert_eq!(again, Settlement::Charged(payment_id()));
    assert_eq!(world.ledger(), Ledger::CHARGED);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_outlasts_one_try_and_answers_the_next() {
    let world = World::new().await;
    let charge = charge_of("pm_sim_slow");
    let first = tokio::time::timeout(TRY_TIMEOUT, world.simulator.charge(&charge)).await;
    first.unwrap_err();
    let again = tokio::time::timeout(TRY_TIMEOUT, world.simulator.charge(&charge)).await;
    let charged = Settlement::Charged(payment_id());
    assert_eq!(again.unwrap().unwrap(), charged);
    assert_eq!(world.ledger(), Ledger::CHARGED);
}

#[tokio::test]
async fn the_unavailable_token_fails_every_time_and_charges_nothing() {
    let world = World::new().await;
    let charge = charge_of("pm_sim_unavailable");
    for _ in 0..3 {
        assert!(is_unknown(&world.simulator.charge(&charge).await));
    }
    assert_eq!(world.ledger(), Ledger::NOTHING);
    let answer = world.simulator.cancel(&charge.key).await.unwrap();
    assert_eq!(answer, Settlement::Cancelled);
}

#[tokio::test]
async fn a_refund_is_made_once_for_its_key() {
    let world = World::new().await;
    let charge = charge_of("pm_card_visa");
    world.simulator.charge(&charge).await.unwrap();
    let key = charge.key.refund();
    for _ in 0..2 {
        let refunded = world
            .simulator
            .refund(&key, &payment_id(), usd(AMOUNT))
            .await;
        refunded.unwrap();
    }
    assert_eq!(world.ledger(), Ledger::GIVEN_BACK);
    let another = world.simulator.refund(&key, &payment_id(), usd(1)).await;
    assert!(is_refused(&another));
    assert_eq!(world.ledger(), Ledger::GIVEN_BACK);
}

#[tokio::test]
async fn a_refund_needs_a_charge() {
    let world = World::new().await;
    let charge = charge_of("pm_card_visa");
    let key = charge.key.refund();
    let refund = |id: PaymentId, amount| {
        let (world, key) = (&world, &key);
        async move { world.simulator.refund(key, &id, usd(amount)).await }
    };
    assert!(is_refused(&refund(payment_id(), AMOUNT).await));
    world.simulator.charge(&charge).await.unwrap();
    assert!(is_refused(&refund(payment_id(), AMOUNT + 1).await));
    assert!(is_refused(
        &refund(PaymentId("pay_1".to_owned()), AMOUNT).await
    ));
    assert_eq!(world.ledger(), Ledger::CHARGED);
}

#[test]
fn a_provider_that_does_not_exist_is_named_at_start() {
    let message = format!(
        "{:?}",
        Kind::choose("stripe", Stage::Dev, "false").unwrap_err()
    );
    let expected = r#"PAYMENT_PROVIDER is "stripe"; the only provider so far is "simulator""#;
    assert_eq!(message, expected);
}

#[test]
fn production_needs_a_flag_for_the_simulator() {
    let choose = |stage, meant| Kind::choose("simulator", stage, meant);
    for stage in [Stage::Dev, Stage::Staging] {
        for meant in ["false", "true"] {
            assert_eq!(choose(stage, meant).unwrap(), Kind::Simulator);
        }
    }
    assert_eq!(choose(Stage::Production, "true").unwrap(), Kind::Simulator);
    let refused = choose(Stage::Production, "false").unwrap_err();
    assert_eq!(refused, UnusableProvider::SimulatorInProduction);
    for word in ["SimulatorInProduction", "SIMULATOR_IN_PRODUCTION", "Stage"] {
        assert!(format!("{refused:?}").contains(word), "{refused:?}");
    }
    for odd in ["", "yes", "True"] {
        let refused = choose(Stage::Production, odd).unwrap_err();
        assert_eq!(refused, UnusableProvider::NotAFlag(odd.to_owned()));
    }
}

#[tokio::test]
async fn production_declines_every_token_of_a_fault() {
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
        ("pm_card_unknown", Some("invalid_payment_method")),
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
