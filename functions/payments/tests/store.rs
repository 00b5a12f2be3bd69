//! The stored record and the two conditions of its writes.

use expect_test::expect;
use payments::domain::{Payment, PaymentId, PaymentState};
use payments::store::Written;
use shared_lambda::problem::Problem;
use test_support::Fault;

use super::*;
use crate::domain::payments;

fn charging() -> Payment {
    let state = PaymentState::Charging(charge_of("pm_card_visa"));
    Payment::new(ORDER, OWNER, state, noon())
}

#[tokio::test]
async fn every_state_is_read_back_as_written() {
    for (state, payment) in payments().into_iter().skip(1) {
        let world = World::new().await;
        let payment = payment.unwrap();
        assert_eq!(world.store.insert(&payment).await.unwrap(), Written::Done);
        let found = world.store.find(ORDER).await.unwrap();
        assert_eq!(found, Some(payment), "{state}");
    }
}

#[tokio::test]
async fn a_record_is_one_row_under_its_order() {
    let world = World::new().await;
    let _ = world.store.insert(&charging()).await.unwrap();
    expect![[r#"
        [
          {
            "charge": {
              "amount": 4990,
              "currency": "USD",
              "key": "charge-01890a5d-ac96-774b-bcce-b302099a8057",
              "method": "pm_card_visa"
            },
            "created_at": "2026-11-23T12:00:00.000Z",
            "pk": "ORDER#01890a5d-ac96-774b-bcce-b302099a8057",
            "schema": 1,
            "sk": "PAYMENT",
            "status": "CHARGING",
            "updated_at": "2026-11-23T12:00:00.000Z",
            "user_id": "018f4e5a-7c3b-7d2e-9f10-3a5b6c7d8e9f",
            "version": 1
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&world.aws.dump(&world.table)).unwrap());
}

#[tokio::test]
async fn an_order_without_a_payment_is_not_found() {
    let world = World::new().await;
    assert_eq!(world.store.find(ORDER).await.unwrap(), None);
}

#[tokio::test]
async fn decisions_use_consistent_reads() {
    let world = World::new().await;
    world.store.find(ORDER).await.unwrap();
    let calls = world.aws.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].action, "GetItem");
    assert!(!calls[0].may_be_stale(), "{:?}", calls[0]);
}

#[tokio::test]
async fn a_second_first_record_changes_nothing() {
    let world = World::new().await;
    let tombstone = Payment::new(ORDER, OWNER, PaymentState::Voided(None), noon());
    assert_eq!(
        world.store.insert(&charging()).await.unwrap(),
        Written::Done
    );
    let second = world.store.insert(&tombstone).await.unwrap();
    assert_eq!(second, Written::Overtaken);
    assert_eq!(world.store.find(ORDER).await.unwrap(), Some(charging()));
}

#[tokio::test]
async fn a_write_needs_the_previous_version() {
    let world = World::new().await;
    let charge = charge_of("pm_card_visa");
    let second = |state| Payment {
        state,
        version: 2,
        ..charging()
    };
    let charged = second(PaymentState::Charged(
        charge.clone(),
        PaymentId("pay_1".to_owned()),
    ));
    let voided = second(PaymentState::Voided(Some(charge)));

    let onto_nothing = world.store.replace(&charged).await.unwrap();
    assert_eq!(onto_nothing, Written::Overtaken);
    assert_eq!(world.store.find(ORDER).await.unwrap(), None);

    let _ = world.store.insert(&charging()).await.unwrap();
    assert_eq!(world.store.replace(&charged).await.unwrap(), Written::Done);
    let stale = world.store.replace(&voided).await.unwrap();
    assert_eq!(stale, Written::Overtaken);
    assert_eq!(world.store.find(ORDER).await.unwrap(), Some(charged));
}

#[tokio::test]
async fn an_unreadable_row_is_a_500() {
    let world = World::new().await;
    let _ = world.store.insert(&charging()).await.unwrap();
    let row = world.aws.dump(&world.table).remove(0);
    for (field, value) in [
        ("status", json!("LOST")),
        ("version", json!("one")),
        ("created_at", json!("yesterday")),
        (
            "charge",
            json!({ "key": "k", "amount": 0, "currency": "USD", "method": "m" }),
        ),
    ] {
        let mut broken = row.clone();
        broken[field] = value;
        world.aws.put_raw(&world.table, broken);
        let error = world.store.find(ORDER).await.unwrap_err();
        assert_eq!(Problem::from(error).status(), 500, "{field}");
    }
}

#[tokio::test]
async fn a_busy_table_is_transient_and_a_bug_is_not() {
    let world = World::new().await;
    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    let error = world.store.find(ORDER).await.unwrap_err();
    assert_eq!(Problem::from(error).status(), 503);
}
