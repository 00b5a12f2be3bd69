//! Replies that contradict their order.

use orders::domain::{Ending, State};
use serde_json::{Value, json};

use crate::samples::{ANN, BOB, STATES, order_in};
use crate::world::{World, reply};

fn usd(amount: i64) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

fn stock(cups: i64, price: i64) -> Value {
    json!({"lines": [
        {"sku": "cup", "quantity": cups, "unit_price": usd(price)},
        {"sku": "pot", "quantity": 1, "unit_price": usd(1000)},
    ]})
}

/// Delivers a reply to an order in a state, and returns the reason of a refusal.
async fn refused(state: State, kind: &str, data: &Value) -> Option<String> {
    let order = order_in(state);
    let world = World::with(&order).await;
    let failure = world.deliver(&reply(order.id, kind, data)).await.err()?;
    assert!(!failure.is_retried(), "{kind} in {state:?}");
    assert_eq!(world.order(order.id).await, order);
    assert!(world.commands().is_empty());
    Some(failure.detail().to_owned())
}

#[tokio::test]
async fn another_user_is_a_failure_in_every_state() {
    for state in STATES {
        for kind in ["UserVerified", "UserRefused"] {
            let about = |user| json!({"user_id": user, "code": "some_code", "detail": "words"});
            let detail = refused(state, kind, &about(BOB)).await;
            let detail = detail.unwrap_or_else(|| panic!("{kind} in {state:?} is accepted"));
            assert!(detail.contains("another user"), "{detail}");
            assert_eq!(refused(state, kind, &about(ANN)).await, None, "{state:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_price_of_reserved_stock_is_a_failure() {
    for state in STATES {
        let detail = refused(state, "StockReserved", &stock(2, 1251)).await;
        match state {
            // The first reply sets the price.
            State::Reserving => assert_eq!(detail, None),
            _ => assert!(detail.is_some(), "{state:?}"),
        }
    }
}

#[tokio::test]
async fn stock_of_other_lines_is_a_failure() {
    for state in STATES {
        let detail = refused(state, "StockReserved", &stock(3, 1250)).await;
        assert!(detail.is_some(), "{state:?}");
    }
}

#[tokio::test]
async fn the_same_stock_is_a_repeat() {
    for state in STATES
        .into_iter()
        .filter(|state| *state != State::Verifying)
    {
        let again = stock(2, 1250);
        assert_eq!(
            refused(state, "StockReserved", &again).await,
            None,
            "{state:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_of_an_item_not_in_the_order_is_a_failure() {
    let of = |sku: &str| json!({"code": "out_of_stock", "detail": "0 left", "sku": sku});
    for state in [State::Reserving, State::Rejected, State::Cancelled] {
        let detail = refused(state, "StockRefused", &of("lid")).await;
        assert!(detail.unwrap().contains("not in the order"), "{state:?}");
        assert_eq!(refused(state, "StockRefused", &of("pot")).await, None);
    }
}

#[tokio::test]
async fn another_amount_is_a_failure_in_every_state() {
    let undoing = [
        State::Refunding(Ending::Rejected),
        State::Refunding(Ending::Cancelled),
        State::Releasing(Ending::Rejected),
        State::Releasing(Ending::Cancelled),
        State::Rejected,
        State::Cancelled,
    ];
    for state in undoing {
        for (kind, wrong, right) in [
            (
                "PaymentCharged",
                json!({"payment_id": "p", "amount": usd(3501)}),
                json!({"payment_id": "p", "amount": usd(3500)}),
            ),
            (
                "PaymentRefunded",
                json!({"refunded": usd(3501)}),
                json!({"refunded": usd(3500)}),
            ),
        ] {
            let detail = refused(state, kind, &wrong).await;
            assert!(detail.is_some(), "{kind} in {state:?} is accepted");
            assert_eq!(
                refused(state, kind, &right).await,
                None,
                "{kind} in {state:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_contradiction_names_both_sides_and_the_next_move() {
    let (bob, ann) = (BOB.to_string(), ANN.to_string());
    let charged = json!({"payment_id": "p", "amount": usd(3501)});
    let cases = [
        ("UserVerified", json!({"user_id": BOB}), [&*bob, &*ann]),
        (
            "StockReserved",
            stock(3, 1250),
            [
                "3 cup at 12.50 USD, 1 pot at 10.00 USD",
                "2 cup at 12.50 USD, 1 pot at 10.00 USD",
            ],
        ),
        ("PaymentCharged", charged, ["35.01 USD", "35.00 USD"]),
        (
            "PaymentRefunded",
            json!({"refunded": usd(3501)}),
            ["35.01 USD", "35.00 USD"],
        ),
    ];
    for (kind, wrong, [came, has]) in cases {
        let state = State::Refunding(Ending::Cancelled);
        let detail = refused(state, kind, &wrong).await.unwrap();
        let both = format!(
            ": {came}, and the order has {has}; nothing was changed; compare both before this is sent \
             again"
        );
        assert!(detail.contains(&both), "{detail}");
    }
}

#[tokio::test]
async fn a_reply_to_an_unknown_order_names_the_next_move() {
    let order = order_in(State::Reserving);
    let message = reply(order.id, "StockReserved", &stock(2, 1250));
    let failure = World::new().deliver(&message).await.unwrap_err();
    let detail = failure.detail();
    assert!(detail.contains(&order.id.0.to_string()), "{detail}");
    assert!(detail.contains("before it is sent again"), "{detail}");
}
