//! The bounds of an order and of participants' texts, and the reading of older orders.

use orders::domain::{OrderId, State, TimelineEvent};
use serde_json::{Value, json};

use crate::samples::{ANN, STATES, order_in, placed, set_attribute};
use crate::world::{World, about, body, customer, id_of, reply};

#[tokio::test]
async fn a_response_does_not_repeat_a_card_number() {
    let number = 4_242_424_242_424_242_i64;
    for value in [
        json!("4242424242424242"),
        json!("4242 4242 4242 4242"),
        json!("pm_card_4242424242424242"),
        json!(number),
        json!([number]),
        json!({"number": number}),
        json!(4242.4242),
    ] {
        let order = json!({"lines": [{"sku": "cup", "quantity": 2}], "payment_method": value});
        let response = World::new().post(ANN, &order, None).await;
        assert_eq!(response.status, 400);
        let text = response.body.unwrap();
        assert!(!text.contains("4242"), "{text}");
    }
}

/// Fifty lines of the most units at one price, as a request and as a reply.
fn largest(amount: i64) -> (Value, Value) {
    let lines = |price: Option<Value>| -> Value {
        let line = |number| {
            let mut line = json!({"sku": format!("sku-{number}"), "quantity": 10_000});
            if let Some(price) = &price {
                line["unit_price"] = price.clone();
            }
            line
        };
        (0..50).map(line).collect()
    };
    let price = json!({"amount": amount, "currency": "IDR"});
    (lines(None), json!({"lines": lines(Some(price))}))
}

async fn reserved_at(amount: i64) -> (World, OrderId) {
    let world = World::new();
    let (lines, reserved) = largest(amount);
    let order = json!({"lines": lines, "payment_method": "pm_card_visa"});
    let response = world.post(ANN, &order, None).await;
    let id = id_of(&response);
    world
        .deliver(&reply(id, "StockReserved", &reserved))
        .await
        .unwrap();
    (world, id)
}

#[tokio::test]
async fn too_large_a_total_rejects_the_order() {
    // 2^53 - 1 is a little more than 500,000 units at 18,014,398,509. Inventory does not allow i64::MAX.
    for amount in [18_014_398_510, 999_999_999_999, i64::MAX] {
        let (world, id) = reserved_at(amount).await;
        assert_eq!(world.command_types(), ["ReserveStock", "ReleaseStock"]);
        world
            .deliver(&reply(id, "StockReleased", &json!({})))
            .await
            .unwrap();
        let shown = body(&world.get(&customer(ANN), about(id.0)).await);
        assert_eq!(shown["status"], "REJECTED");
        assert_eq!(
            shown["failure"],
            json!({
                "code": "total_too_large",
                "detail": "the total is above 90071992547409.91 IDR, the most an order may come to",
            })
        );
    }
    let (world, id) = reserved_at(18_014_398_509).await;
    assert_ne!(world.command_types()[1], "ReleaseStock");
    assert_eq!(world.order(id).await.failure, None);
}

#[tokio::test]
async fn a_line_has_the_items_name_at_its_reservation() {
    let order = order_in(State::Reserving);
    let world = World::with(&order).await;
    let names = async || -> Value {
        let shown = body(&world.get(&customer(ANN), about(order.id.0)).await);
        let lines = shown["lines"].as_array().unwrap().iter();
        lines.map(|line| line["name"].clone()).collect()
    };
    assert_eq!(names().await, json!([null, null]));
    let usd = |amount: i64| json!({"amount": amount, "currency": "USD"});
    let long = format!("Pot\u{1b}[31m {}", "x".repeat(300));
    let reserved = json!({"lines": [
        {"sku": "pot", "name": long, "quantity": 1, "unit_price": usd(1000)},
        {"sku": "cup", "name": "Tasse, große", "quantity": 2, "unit_price": usd(1250)},
    ]});
    world
        .deliver(&reply(order.id, "StockReserved", &reserved))
        .await
        .unwrap();
    let kept = format!("Pot [31m {}…", "x".repeat(190));
    assert_eq!(names().await, json!(["Tasse, große", kept]));
}

#[tokio::test]
async fn a_long_detail_is_shortened() {
    let detail = format!("no\u{1b}[2J\r\n{}", "ü".repeat(110_000));
    let code = "c".repeat(10_000);
    for (state, kind, ends) in [
        (State::Verifying, "UserRefused", "REJECTED"),
        (State::Reserving, "StockRefused", "REJECTED"),
        (State::Charging, "PaymentDeclined", "PENDING"),
    ] {
        let order = order_in(state);
        let world = World::with(&order).await;
        let data = json!({"code": code, "detail": detail});
        world.deliver(&reply(order.id, kind, &data)).await.unwrap();
        let shown = body(&world.get(&customer(ANN), about(order.id.0)).await);
        assert_eq!(shown["status"], ends, "{kind}");
        let order = world.order(order.id).await;
        let failure = order.failure.unwrap();
        let mut texts = vec![failure.detail];
        texts.extend(order.timeline.into_iter().filter_map(|entry| entry.detail));
        for text in texts {
            assert!(!text.contains(char::is_control), "{kind}: {text:?}");
            assert!(text.chars().count() <= 1_000, "{kind}");
            assert!(
                text == "a line with words" || text.ends_with('…'),
                "{kind}: {text}"
            );
        }
        assert!(failure.code.chars().count() <= 64);
    }
}

#[tokio::test]
async fn the_largest_order_fits_into_an_item() {
    let wide = "\u{1f9fa}".repeat(2_000);
    let mut order = order_in(State::Charging);
    let line = order.lines[0].clone();
    order.lines = (0..50)
        .map(|number| {
            let mut line = line.clone();
            line.sku = orders::domain::Sku::parse(&format!("{number:064}")).unwrap();
            line.name = Some(orders::domain::bounded(&wide, orders::domain::MAX_NAME));
            line
        })
        .collect();
    let mut entry = order.timeline[0].clone();
    entry.event = TimelineEvent::RetryRequested;
    entry.detail = Some(format!("by {}", &wide[..400]));
    order.timeline = vec![entry; orders::domain::MAX_TIMELINE + 20];
    let world = World::with(&order).await;
    let data = json!({"code": wide, "detail": wide});
    world
        .deliver(&reply(order.id, "PaymentDeclined", &data))
        .await
        .unwrap();
    let row = world.aws.dump(&world.table).remove(0);
    // DynamoDB's limit is 400 KB; its attribute names and types take less than JSON's quotes.
    let size = row.to_string().len();
    assert!(size < 300_000, "{size} bytes");
}

// ---- Older orders

/// Attributes from before tokens and currencies were checked.
fn older(state: State) -> Value {
    let money = json!({"amount": 3500, "currency": "UDS"});
    let mut row = json!({
        "payment_method": "4242-4242-4242-4242",
        "expected_total": money,
        "total": money,
        "failure": {"code": "price_changed", "detail": "the total is 3500 UDS"},
    });
    if matches!(state, State::Verifying | State::Reserving) {
        row.as_object_mut().unwrap().remove("total");
    }
    row
}

#[tokio::test]
async fn an_order_with_an_older_token_and_currency_goes_on() {
    for state in STATES {
        let order = order_in(state);
        let world = World::with(&order).await;
        for (name, value) in older(state).as_object().unwrap() {
            set_attribute(&world.aws, &world.table, name, value.clone());
        }
        let shown = world.get(&customer(ANN), about(order.id.0)).await;
        assert_eq!(shown.status, 200, "{state:?}");
        assert_eq!(body(&shown)["failure"]["detail"], "the total is 3500 UDS");
        world.clock.pass(31);
        world.sweep().await.unwrap();
        for command in world.commands() {
            if command["type"] == "ChargePayment" {
                assert_eq!(command["data"]["payment_method"], "4242-4242-4242-4242");
                assert_eq!(command["data"]["amount"]["currency"], "UDS");
            }
        }
    }
}

#[tokio::test]
async fn a_reply_in_an_older_currency_is_read() {
    let order = placed(1);
    let world = World::with(&order).await;
    let uds = |amount: i64| json!({"amount": amount, "currency": "UDS"});
    let reserved = json!({"lines": [
        {"sku": "cup", "quantity": 2, "unit_price": uds(1250)},
        {"sku": "pot", "quantity": 1, "unit_price": uds(1000)},
    ]});
    world
        .deliver(&reply(order.id, "StockReserved", &reserved))
        .await
        .unwrap();
    world.answer_until(order.id, State::Charging).await;
    let charged = json!({"payment_id": "p", "amount": uds(3500)});
    world
        .deliver(&reply(order.id, "PaymentCharged", &charged))
        .await
        .unwrap();
    assert_eq!(world.order(order.id).await.state, State::Confirmed);
}
