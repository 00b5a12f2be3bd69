//! The replies function and the sweeper, whatever is delivered twice, lost, late, or killed on the
//! way. `tests/simulation/tests/cases.rs` drives whole orders with the real participants.

use std::time::Duration;

use orders::domain::{Ending, MAX_ATTEMPTS, OrderId, PARKED_RETRY, State, TimelineEvent};
use orders::store::{DuePartition, OrderStore};
use serde_json::{Value, json};
use shared_lambda::sqs::Failure;
use test_support::{Fault, crashable};
use tokio::time::Instant;

use crate::samples::{STATES, after, ends, order_in, placed};
use crate::world::{INVENTORY_QUEUE, World, reply};

#[tokio::test]
async fn a_read_that_fails_brings_the_reply_back() {
    let world = World::new();
    let order = placed(1);
    world.put(&order).await;
    let released = reply(
        order.id,
        "StockRefused",
        &json!({"code": "out_of_stock", "detail": "d"}),
    );
    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    let failure = world.deliver(&released).await.unwrap_err();
    assert!(failure.is_retried());
    world.deliver(&released).await.unwrap();
    assert_eq!(world.order(order.id).await.state, State::Rejected);
}

// ---- replies that do not fit

fn sample(kind: &str) -> Value {
    let usd = |amount: i64| json!({"amount": amount, "currency": "USD"});
    match kind {
        "UserVerified" | "StockReleased" => json!({}),
        "UserRefused" | "StockRefused" | "PaymentDeclined" => {
            json!({"code": "some_code", "detail": "some words"})
        }
        "StockReserved" => json!({"lines": [
            {"sku": "cup", "quantity": 2, "unit_price": usd(1250)},
            {"sku": "pot", "quantity": 1, "unit_price": usd(1000)},
        ]}),
        "PaymentCharged" => json!({"payment_id": "p", "amount": usd(3500)}),
        "PaymentRefunded" => json!({"refunded": usd(3500)}),
        other => panic!("no sample of {other}"),
    }
}

#[tokio::test]
async fn an_overtaken_reply_is_acknowledged_and_nothing_is_sent() {
    let overtaken = [
        (State::Charging, "UserVerified"),
        (State::Confirmed, "StockReserved"),
        (State::Refunding(Ending::Rejected), "PaymentCharged"),
        (State::Refunding(Ending::Cancelled), "PaymentDeclined"),
        (State::Releasing(Ending::Cancelled), "StockRefused"),
        (State::Cancelled, "PaymentRefunded"),
        (State::Rejected, "StockReserved"),
        (State::Cancelled, "UserVerified"),
    ];
    for (state, kind) in overtaken {
        let world = World::new();
        let order = order_in(state);
        world.put(&order).await;
        world
            .deliver(&reply(order.id, kind, &sample(kind)))
            .await
            .unwrap();
        assert_eq!(world.order(order.id).await, order);
        assert!(world.commands().is_empty(), "{kind} in {state:?}");
    }
}

#[tokio::test]
async fn a_reply_whose_first_delivery_died_before_sending_sends_what_is_owed() {
    let repeats = [
        (State::Reserving, "UserVerified", "ReserveStock"),
        (State::Charging, "StockReserved", "ChargePayment"),
        (
            State::Releasing(Ending::Rejected),
            "PaymentDeclined",
            "ReleaseStock",
        ),
        (
            State::Releasing(Ending::Rejected),
            "StockReserved",
            "ReleaseStock",
        ),
        (
            State::Releasing(Ending::Cancelled),
            "PaymentRefunded",
            "ReleaseStock",
        ),
    ];
    for (state, kind, owed) in repeats {
        let world = World::new();
        let order = order_in(state);
        world.put(&order).await;
        world
            .deliver(&reply(order.id, kind, &sample(kind)))
            .await
            .unwrap();
        assert_eq!(world.command_types(), [owed], "{kind} in {state:?}");
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_understood_or_placed_is_a_failure_for_the_dead_letter_queue() {
    let world = World::new();
    let order = placed(1);
    world.put(&order).await;
    let mut newer: Value =
        serde_json::from_str(&reply(order.id, "StockReserved", &sample("StockReserved"))).unwrap();
    newer["version"] = json!(2);
    let usd = |amount: i64| json!({"amount": amount, "currency": "USD"});
    let reserved = |line: Value| reply(order.id, "StockReserved", &json!({"lines": [line]}));
    let poison = [
        "not JSON".to_owned(),
        "{}".to_owned(),
        newer.to_string(),
        reply(order.id, "ReserveStock", &json!({"lines": []})),
        reply(order.id, "StockExploded", &json!({})),
        reply(order.id, "StockReserved", &json!({})),
        reply(order.id, "UserRefused", &json!({"code": 7, "detail": "d"})),
        reply(order.id, "PaymentRefunded", &json!({"refunded": 3500})),
        reply(
            order.id,
            "PaymentCharged",
            &json!({"payment_id": "p", "amount": usd(-1)}),
        ),
        reserved(json!({"sku": "", "quantity": 2, "unit_price": usd(1)})),
        reserved(json!({"sku": "cup", "quantity": 0, "unit_price": usd(1)})),
        reserved(
            json!({"sku": "cup", "quantity": 2, "unit_price": {"amount": 1, "currency": "$"}}),
        ),
        reply(placed(404).id, "StockReserved", &sample("StockReserved")),
    ];
    for body in poison {
        let failure: Failure = world.deliver(&body).await.unwrap_err();
        assert!(!failure.is_retried(), "{body}: {}", failure.detail());
    }
    assert_eq!(world.order(order.id).await, order);
    assert!(world.commands().is_empty());
}

#[tokio::test]
async fn a_reply_with_fields_of_a_later_version_is_taken() {
    let world = World::new();
    let order = placed(1);
    world.put(&order).await;
    let mut data = sample("StockReserved");
    data["warehouse"] = json!("north");
    data["lines"][0]["batch"] = json!(7);
    let mut body: Value = serde_json::from_str(&reply(order.id, "StockReserved", &data)).unwrap();
    body["priority"] = json!("high");
    body.as_object_mut().unwrap().remove("traceparent");
    world.deliver(&body.to_string()).await.unwrap();
    assert_eq!(world.order(order.id).await.state, State::Charging);
}

#[tokio::test]
async fn two_deliveries_of_a_reply_at_once_write_once_and_both_are_acknowledged() {
    for seed in 0..20 {
        let world = World::new();
        let order = placed(1);
        world.put(&order).await;
        let body = reply(order.id, "StockReserved", &sample("StockReserved"));
        world.aws.interleave(seed);
        let deliveries = (0..4).map(|_| world.deliver(&body));
        for delivered in futures_util::future::join_all(deliveries).await {
            delivered.unwrap();
        }
        let after = world.order(order.id).await;
        assert_eq!(
            (after.state, after.version),
            (State::Charging, 2),
            "seed {seed}"
        );
    }
}

// ---- the sweeper

/// What a run that could read everything answers.
fn swept(due: usize, sent: usize, parked: usize) -> Value {
    json!({
        "due": due,
        "sent": sent,
        "parked": parked,
        "given_up": 0,
        "unreadable": 0,
        "cut_short": false,
        "parked_now": parked,
        "held_back": 0,
    })
}

#[tokio::test]
async fn the_sweeper_sends_again_what_every_order_in_flight_owes_and_counts() {
    let world = World::new();
    for state in STATES {
        world.put(&order_in(state)).await;
    }
    let nothing = swept(0, 0, 0);
    assert_eq!(world.sweep().await.unwrap(), nothing);
    world.clock.set(after(29));
    assert_eq!(world.sweep().await.unwrap(), nothing);
    assert!(world.commands().is_empty());

    world.clock.set(after(30));
    assert_eq!(world.sweep().await.unwrap(), swept(7, 7, 0));
    let mut sent = world.command_types();
    sent.sort();
    assert_eq!(
        sent,
        [
            "ChargePayment",
            "RefundPayment",
            "RefundPayment",
            "ReleaseStock",
            "ReleaseStock",
            "ReserveStock",
            "VerifyUser",
        ]
    );
    assert_eq!(world.sweep().await.unwrap(), nothing);
    for state in STATES.into_iter().filter(|state| !ends(*state)) {
        assert_eq!(world.order(order_in(state).id).await.attempt, 2);
    }
}

#[tokio::test]
async fn a_compensation_nobody_answers_is_parked_visibly_and_asked_for_every_hour() {
    let world = World::new();
    let mut order = order_in(State::Releasing(Ending::Cancelled));
    order.attempt = MAX_ATTEMPTS;
    world.put(&order).await;
    world.clock.set(after(30));
    let parked = swept(1, 1, 1);
    assert_eq!(world.sweep().await.unwrap(), parked);
    assert_eq!(world.command_types(), ["ReleaseStock"]);
    let now = world.order(order.id).await;
    assert!(now.parked);
    assert!(
        now.timeline
            .iter()
            .any(|entry| entry.event == TimelineEvent::OrderParked)
    );

    world.clock.pass(PARKED_RETRY.as_secs() - 1);
    assert_eq!(world.sweep().await.unwrap()["due"], 0);
    world.clock.pass(1);
    assert_eq!(world.sweep().await.unwrap(), parked);
    assert_eq!(world.command_types(), ["ReleaseStock"]);

    world
        .deliver(&reply(order.id, "StockReleased", &json!({})))
        .await
        .unwrap();
    let ended = world.order(order.id).await;
    assert_eq!((ended.state, ended.parked), (State::Cancelled, false));
    for partition in DuePartition::all() {
        let due = world
            .store()
            .due(partition, Some(after(1_000_000)), 9, None)
            .await
            .unwrap();
        assert_eq!(due.entries, [], "{partition:?}");
    }
}

#[tokio::test]
async fn a_parked_refund_that_is_answered_goes_on_to_release_with_all_its_tries() {
    let world = World::new();
    let mut order = order_in(State::Refunding(Ending::Rejected));
    (order.attempt, order.parked) = (9, true);
    world.put(&order).await;
    let refunded = reply(order.id, "PaymentRefunded", &json!({"refunded": null}));
    world.deliver(&refunded).await.unwrap();
    let now = world.order(order.id).await;
    assert_eq!(
        (now.state, now.attempt, now.parked, now.due_at),
        (
            State::Releasing(Ending::Rejected),
            1,
            false,
            Some(after(30))
        )
    );
    assert_eq!(world.command_types(), ["ReleaseStock"]);
}

/// Makes the rows of these orders such as no code of this service writes.
fn spoil(world: &World, ids: &[OrderId]) {
    for mut row in world.aws.dump(&world.table) {
        if ids.iter().any(|id| row["pk"] == format!("ORDER#{}", id.0)) {
            row["state"] = json!("dreaming");
            world.aws.put_raw(&world.table, row);
        }
    }
}

#[tokio::test]
async fn orders_that_cannot_be_read_are_counted_and_starve_nobody_however_many() {
    let world = World::new();
    // All of one partition, the bad ones first in line and more of them than one run takes on.
    let id = |number: u128| placed(number << 8).id;
    let (bad, good) = (1..=260_u128, 261..=265_u128);
    for number in bad.clone().chain(good.clone()) {
        let mut order = placed(number << 8);
        order.due_at = Some(after(i64::try_from(number).unwrap()));
        world.put(&order).await;
    }
    spoil(&world, &bad.map(id).collect::<Vec<_>>());
    world.clock.set(after(600));
    assert_eq!(
        world.sweep().await.unwrap(),
        json!({
            "due": 5,
            "sent": 5,
            "parked": 0,
            "given_up": 0,
            "unreadable": 260,
            "cut_short": false,
            "parked_now": 0,
            "held_back": 0,
        })
    );
    assert_eq!(world.command_types().len(), 5);
    for number in good {
        assert_eq!(world.order(id(number)).await.attempt, 2);
    }
}

#[tokio::test]
async fn every_run_counts_what_is_parked_even_if_whoever_parked_it_died_at_once() {
    let world = World::new();
    let mut order = order_in(State::Refunding(Ending::Cancelled));
    order.attempt = MAX_ATTEMPTS;
    world.put(&order).await;
    world.clock.set(after(30));
    world.aws.fault_at(0, Fault::KillAfter);
    assert!(crashable(world.sweep()).await.is_none());
    assert!(world.order(order.id).await.parked);
    // Not due for an hour, and counted all the same.
    let next = world.sweep().await.unwrap();
    assert_eq!((&next["due"], &next["parked_now"]), (&json!(0), &json!(1)));

    world.aws.fault_on("dynamodb:Query", Fault::Throttle);
    assert!(
        world.sweep().await.is_err(),
        "a count that fails is heard of"
    );
}

#[tokio::test]
async fn a_partition_that_cannot_be_read_does_not_keep_the_others_waiting() {
    let world = World::new();
    for number in 0..8 {
        world.put(&placed(number)).await;
    }
    world.clock.set(after(30));
    world.aws.fault_on("dynamodb:Query", Fault::Throttle);
    assert!(world.sweep().await.is_err());
    assert_eq!(world.command_types().len(), 7);
    assert_eq!(world.sweep().await.unwrap(), swept(1, 1, 0));
}

#[tokio::test]
async fn messages_the_queue_does_not_take_fail_the_run_and_are_sent_by_a_later_one() {
    for fault in [
        Fault::BeforeEffect,
        Fault::PartialSend(vec![0]),
        Fault::Throttle,
    ] {
        let world = World::new();
        let order = placed(1);
        world.put(&order).await;
        world.clock.set(after(30));
        world.aws.fault_on("sqs:SendMessageBatch", fault);
        assert!(world.sweep().await.is_err());
        assert!(world.commands().is_empty());
        world.clock.set(world.order(order.id).await.due_at.unwrap());
        assert_eq!(world.sweep().await.unwrap()["sent"], 1);
        assert_eq!(world.command_types(), ["ReserveStock"]);
    }
}

#[tokio::test]
async fn a_command_without_a_route_fails_the_run() {
    let mut world = World::new();
    world.put(&order_in(State::Charging)).await;
    world.sweep.saga.routes = orders::messages::Routes::default();
    world.clock.pass(31);
    let error = world.sweep().await.unwrap_err().to_string();
    assert!(
        error.contains("1 orders or partitions could not be swept"),
        "{error}"
    );
}

#[tokio::test]
async fn a_reply_whose_next_command_has_no_route_is_a_failure() {
    let mut world = World::new();
    let order = order_in(State::Reserving);
    world.put(&order).await;
    world.replies.routes = orders::messages::Routes::default();
    let reserved = reply(order.id, "StockReserved", &sample("StockReserved"));
    let failure = world.deliver(&reserved).await.unwrap_err();
    assert!(!failure.is_retried());
    assert!(
        failure.detail().contains("no route"),
        "{}",
        failure.detail()
    );
    assert_eq!(world.order(order.id).await.state, State::Charging);
}

#[tokio::test]
async fn an_order_that_moved_on_since_the_index_was_written_is_left_alone() {
    let world = World::new();
    let order = placed(1);
    world.put(&order).await;
    world.clock.set(after(30));
    // Between the query and the read the order is rejected.
    let (aws, table) = (world.aws.clone(), world.table.clone());
    world.aws.on_call(move |call| {
        if call.name() == "dynamodb:GetItem" {
            let mut row = aws.dump(&table).remove(0);
            let fields = row.as_object_mut().unwrap();
            fields.insert("state".to_owned(), json!("rejected"));
            fields.remove("due_at");
            fields.remove("due_shard");
            aws.put_raw(&table, row);
        }
        async { None }
    });
    assert_eq!(world.sweep().await.unwrap(), swept(0, 0, 0));
    assert!(world.commands().is_empty());
    assert_eq!(world.order(order.id).await.version, 1);
}

#[tokio::test]
async fn a_sweeper_and_a_reply_at_once_leave_one_next_step() {
    for seed in 0..40 {
        let world = World::new();
        let order = placed(1);
        world.put(&order).await;
        world.clock.set(after(30));
        let body = reply(order.id, "StockReserved", &sample("StockReserved"));
        world.aws.interleave(seed);
        let (swept, delivered) =
            futures_util::future::join(world.sweep(), world.deliver(&body)).await;
        swept.unwrap();
        delivered.unwrap();
        let now = world.order(order.id).await;
        assert_eq!(now.state, State::Charging, "seed {seed}");
        assert!(world.command_types().contains(&"ChargePayment".to_owned()));
    }
}

#[tokio::test]
async fn many_due_orders_are_all_driven_and_sent_in_batches() {
    let world = World::new();
    for number in 0..60 {
        world.put(&placed(number << 8)).await;
    }
    world.clock.set(after(30));
    world.aws.clear_calls();
    assert_eq!(world.sweep().await.unwrap(), swept(60, 60, 0));
    let batches = world.aws.calls();
    let batches = batches
        .iter()
        .filter(|call| call.name() == "sqs:SendMessageBatch");
    assert_eq!(batches.count(), 6);
    let commands = world.commands();
    let mut ids: Vec<&str> = commands
        .iter()
        .filter_map(|c| c["order_id"].as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 60);
}

#[tokio::test]
async fn a_sweeper_that_dies_has_counted_no_more_attempts_than_one_batch_of_messages() {
    let world = World::new();
    for number in 0..60 {
        world.put(&placed(number << 8)).await;
    }
    world.clock.set(after(30));
    // Ten writes and a message batch, over and over: it dies at the third batch.
    world.aws.fault_at(32, Fault::KillBefore);
    assert!(crashable(world.sweep()).await.is_none());
    let mut counted = 0;
    for number in 0..60 {
        counted += world.order(placed(number << 8).id).await.attempt - 1;
    }
    assert_eq!((counted, world.commands().len()), (30, 20));
    // The others have lost nothing but a minute.
    assert_eq!(world.sweep().await.unwrap()["sent"], 30);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_answer_takes_no_attempt_from_the_orders_of_another() {
    let world = World::new();
    for number in 0..3 {
        world.put(&placed(number << 8)).await;
    }
    let mut charging = order_in(State::Charging);
    charging.due_at = placed(0).due_at;
    world.put(&charging).await;
    world.clock.set(after(30));
    world.never_answer(|call| call.request["QueueUrl"] == INVENTORY_QUEUE);
    let error = world.sweep().await.unwrap_err().to_string();
    // Each of those whose attempt nobody was sent, and no other.
    assert!(error.starts_with("3 orders or partitions"), "{error}");
    assert_eq!(world.command_types(), ["ChargePayment"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_ends_by_itself_says_so_and_the_next_goes_on() {
    let world = World::new();
    for number in 0..150 {
        world.put(&placed(number << 8)).await;
    }
    world.clock.set(after(30));
    world.aws.on_call(|call| async move {
        if call.name() == "dynamodb:GetItem" {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        None
    });
    let began = Instant::now();
    let first = world.sweep().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(60));
    // Nine times ten orders begin within 25 seconds.
    assert_eq!(
        (&first["sent"], &first["cut_short"]),
        (&json!(90), &json!(true))
    );
    let second = world.sweep().await.unwrap();
    assert_eq!(
        (&second["sent"], &second["cut_short"]),
        (&json!(60), &json!(false))
    );
    assert_eq!(world.commands().len(), 150);
}

#[tokio::test]
async fn a_backlog_of_one_partition_does_not_keep_the_others_waiting() {
    let world = World::new();
    // More than a page in one partition, and one order in each of the others.
    for number in (0..150_u128).map(|number| number << 8).chain(1..8) {
        world.put(&placed(number)).await;
    }
    world.clock.set(after(30));
    world.aws.clear_calls();
    assert_eq!(world.sweep().await.unwrap()["sent"], 157);
    let queries: Vec<Value> = world
        .aws
        .calls()
        .iter()
        .filter(|call| call.name() == "dynamodb:Query")
        .map(|call| call.request["ExpressionAttributeValues"][":shard"]["S"].clone())
        .collect();
    let again: Vec<usize> = (0..queries.len())
        .filter(|at| queries[*at] == "DUE#0")
        .collect();
    // All nine partitions have had their first page before any has its second.
    assert_eq!(again.len(), 2, "{queries:?}");
    assert!(again[1] >= 9, "{queries:?}");
}

#[tokio::test]
async fn another_partition_is_first_in_every_minute() {
    let world = World::new();
    let mut first = Vec::new();
    for minute in 0..9 {
        world.clock.set(after(60 * minute));
        world.aws.clear_calls();
        world.sweep().await.unwrap();
        let query = &world.aws.calls()[0];
        first.push(query.request["ExpressionAttributeValues"][":shard"]["S"].to_string());
    }
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 9, "{first:?}");
}

#[tokio::test]
async fn forward_steps_that_are_given_up_are_counted_and_others_are_not() {
    let world = World::new();
    let last_try = |state| {
        let mut order = order_in(state);
        order.attempt = MAX_ATTEMPTS;
        order
    };
    for state in [State::Verifying, State::Reserving, State::Charging] {
        world.put(&last_try(state)).await;
    }
    world
        .put(&order_in(State::Releasing(Ending::Rejected)))
        .await;
    world.clock.set(after(30));
    let swept = world.sweep().await.unwrap();
    assert_eq!((&swept["due"], &swept["given_up"]), (&json!(4), &json!(3)));
    // What undoes them is asked for again half a minute later, which is no giving up.
    world.clock.set(after(60));
    let swept = world.sweep().await.unwrap();
    assert_eq!((&swept["due"], &swept["given_up"]), (&json!(2), &json!(0)));
}

#[tokio::test]
async fn a_sweep_whose_write_is_not_answered_is_sent_for_all_the_same() {
    let mut world = World::new();
    // As in production, the client itself repeats a call without an answer.
    let retrying = world.aws.dynamodb_with_attempts(2);
    world.sweep.saga.orders = OrderStore::new(retrying, world.table.clone());
    world.put(&placed(1)).await;
    world.clock.set(after(30));
    world.aws.fault_on("dynamodb:PutItem", Fault::AfterEffect);
    assert_eq!(world.sweep().await.unwrap(), swept(1, 1, 0));
    assert_eq!(world.aws.fired(), 1);
    assert_eq!(world.command_types(), ["ReserveStock"]);
    assert_eq!(world.order(placed(1).id).await.attempt, 2);
}
