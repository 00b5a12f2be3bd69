//! An unreadable message goes to the dead-letter queue; its batch does not fail with it.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Customer, eventually, world};

/// Sends messages as one batch, so that they reach the function together.
fn send_together(queue: &str, bodies: &[String]) {
    let world = world();
    let entries: Vec<Value> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| json!({"Id": n.to_string(), "MessageBody": body}))
        .collect();
    let url = world.queue_url(queue);
    let answer = world
        .aws
        .call(
            "sqs",
            "SendMessageBatch",
            json!({"QueueUrl": url, "Entries": entries}),
        )
        .unwrap();
    assert!(
        answer["Failed"].as_array().is_none_or(Vec::is_empty),
        "{answer}"
    );
}

/// Takes the one message a dead-letter queue holds.
fn take_only(queue: &str) -> String {
    let world = world();
    let url = world.queue_url(queue);
    let message = eventually(&format!("{queue} holds a message"), || {
        let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
        let answer = world.aws.call("sqs", "ReceiveMessage", request).unwrap();
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        assert!(messages.len() <= 1, "{messages:?}");
        messages.into_iter().next()
    });
    let receipt = &message["ReceiptHandle"];
    world
        .aws
        .call(
            "sqs",
            "DeleteMessage",
            json!({"QueueUrl": url, "ReceiptHandle": receipt}),
        )
        .unwrap();
    message["Body"].as_str().unwrap().to_owned()
}

fn envelope(order_id: &str, kind: &str, data: &Value) -> String {
    json!({"id": Uuid::new_v4(), "type": kind, "version": 1, "order_id": order_id,
           "time": "2026-01-01T00:00:00.000Z", "data": data})
    .to_string()
}

#[test]
fn poison_becomes_a_dead_letter_and_its_batch_passes() {
    let world = world();
    // Alone: the dead-letter queues hold only this test's messages.
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let id = customer.place(&sku, 2, "pm_card_visa");
    let before = customer.ends(&id, "CONFIRMED");
    let events = customer.events(&id);

    // To each queue a message that this order has seen before, which changes nothing, and poison
    // of a different kind.
    let lines = json!({"lines": [{"sku": sku, "quantity": 2}]});
    let amount = json!({"amount": 1_400, "currency": "USD"});
    let charge =
        json!({"user_id": customer.id, "amount": amount, "payment_method": "pm_card_visa"});
    let queues = [
        (
            "users-commands",
            envelope(&id, "VerifyUser", &json!({"user_id": customer.id})),
            "not JSON".to_owned(),
        ),
        (
            "inventory-commands",
            envelope(&id, "ReserveStock", &lines),
            envelope(&id, "ReserveStock", &json!({"lines": "all"})),
        ),
        (
            "payments-commands",
            envelope(&id, "ChargePayment", &charge),
            envelope(&id, "PayMe", &json!({})),
        ),
        (
            "orders-replies",
            envelope(
                &id,
                "PaymentCharged",
                &json!({"payment_id": "again", "amount": amount}),
            ),
            envelope(&id, "StockReleased", &json!({})),
        ),
    ];
    for (queue, repeat, poison) in &queues {
        let mut bodies = vec![repeat.clone(); 9];
        bodies.insert(4, poison.clone());
        send_together(queue, &bodies);
    }
    for (queue, _, poison) in &queues {
        assert_eq!(take_only(&format!("{queue}-dlq")), *poison, "{queue}");
    }
    for (queue, _, _) in &queues {
        eventually(&format!("{queue} is empty"), || {
            (world.queue_depth(queue) == 0).then_some(())
        });
        assert_eq!(world.queue_depth(&format!("{queue}-dlq")), 0, "{queue}");
    }
    assert_eq!(customer.order(&id), before);
    assert_eq!(customer.events(&id), events);
    assert_eq!(world.stock(&sku), (5, 3, 2));
    assert_eq!(world.net_charge(&id), 1_400);
}
