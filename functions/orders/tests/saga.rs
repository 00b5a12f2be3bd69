//! The replies function and the sweeper under repeats, losses, delays and crashes.
//! `tests/simulation/tests/cases.rs` drives whole orders with the real participants.

use std::time::Duration;

use orders::domain::{
    Command, Decision, Ending, Ignored, MAX_ATTEMPTS, PARKED_RETRY, State, TimelineEvent, decide,
    owed,
};
use orders::messages;
use orders::store::{DuePartition, OrderStore};
use serde_json::{Value, json};
use shared_lambda::envelope::Envelope;
use shared_lambda::sqs::Failure;
use test_support::{Fault, crashable};
use tokio::time::Instant;

use crate::samples::{
    STATES, TIMEOUT, after, ends, order_in, placed, sample, sample_reply, spoil, swept,
};
use crate::world::{INVENTORY_QUEUE, World, reply};

#[tokio::test]
async fn a_failed_read_redelivers_the_reply() {
    let order = placed(1);
    let world = World::with(&order).await;
    let refused = sample_reply(order.id, "StockRefused");
    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    let failure = world.deliver(&refused).await.unwrap_err();
    assert!(failure.is_retried());
    world.deliver(&refused).await.unwrap();
    assert_eq!(world.order(order.id).await.state, State::Rejected);
}

// ---- Replies

#[tokio::test]
async fn repeats_send_the_owed_command_and_overtaken_replies_nothing() {
    let mut seen = (0, 0);
    for state in STATES {
        for kind in Command::all().flat_map(|command| command.action().answers()) {
            let order = order_in(state);
            let reply = sample_reply(order.id, &format!("{kind:?}"));
            let event = messages::event(&Envelope::parse(&reply).unwrap()).unwrap();
            let sent = match decide(&order, &event, TIMEOUT, after(3)) {
                Decision::Ignore(Ignored::Repeat) => owed(&order),
                Decision::Ignore(Ignored::Overtaken) => None,
                Decision::Advance(_) | Decision::Refuse(_) => continue,
            };
            let world = World::with(&order).await;
            world.deliver(&reply).await.unwrap();
            let sent = sent.map(|command| command.action().message);
            assert_eq!(
                world.command_types(),
                Vec::from_iter(sent),
                "{kind:?} in {state:?}"
            );
            assert_eq!(world.order(order.id).await, order);
            match sent {
                Some(_) => seen.0 += 1,
                None => seen.1 += 1,
            }
        }
    }
    assert!(seen.0 >= 8 && seen.1 >= 8, "{seen:?}");
}

#[tokio::test]
async fn an_invalid_reply_goes_to_the_dead_letter_queue() {
    let order = placed(1);
    let world = World::with(&order).await;
    let mut newer: Value = serde_json::from_str(&sample_reply(order.id, "StockReserved")).unwrap();
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
        sample_reply(placed(404).id, "StockReserved"),
    ];
    for body in poison {
        let failure: Failure = world.deliver(&body).await.unwrap_err();
        assert!(!failure.is_retried(), "{body}: {}", failure.detail());
    }
    assert_eq!(world.order(order.id).await, order);
    assert!(world.commands().is_empty());
}

#[tokio::test]
async fn a_reply_with_unknown_fields_is_accepted() {
    let order = placed(1);
    let world = World::with(&order).await;
    let mut data = sample("StockReserved");
    data["warehouse"] = json!("north");
    data["lines"][0]["batch"] = json!(7);
    let mut body: Value = serde_json::from_str(&reply(order.id, "StockReserved", &data)).unwrap();
    body["priority"] = json!("high");
    body.as_object_mut().unwrap().remove("traceparent");
    world.deliver(&body.to_string()).await.unwrap();
    assert_ne!(world.order(order.id).await.state, State::Reserving);
}

#[tokio::test]
async fn parallel_deliveries_of_a_reply_write_once() {
    for seed in 0..20 {
        let order = placed(1);
        let world = World::with(&order).await;
        let body = sample_reply(order.id, "StockReserved");
        world.aws.interleave(seed);
        let deliveries = (0..4).map(|_| world.deliver(&body));
        for delivered in futures_util::future::join_all(deliveries).await {
            delivered.unwrap();
        }
        let after = world.order(order.id).await;
        assert_ne!(after.state, State::Reserving, "seed {seed}");
        assert_eq!(after.version, 2, "seed {seed}");
    }
}

// ---- The sweeper

#[tokio::test]
async fn the_sweeper_sends_the_commands_of_all_due_orders() {
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
    let owed = STATES.into_iter().filter_map(State::command);
    let mut owed: Vec<&str> = owed.map(|command| command.action().message).collect();
    owed.sort_unstable();
    let all = owed.len();
    assert_eq!(world.sweep().await.unwrap(), swept(all, all, 0));
    let mut sent = world.command_types();
    sent.sort();
    assert_eq!(sent, owed);
    assert_eq!(world.sweep().await.unwrap(), nothing);
    for state in STATES.into_iter().filter(|state| !ends(*state)) {
        assert_eq!(world.order(order_in(state).id).await.attempt, 2);
    }
}

#[tokio::test]
async fn an_unanswered_compensation_is_parked_and_sent_hourly() {
    let mut order = order_in(State::Releasing(Ending::Cancelled));
    order.attempt = MAX_ATTEMPTS;
    let world = World::with(&order).await;
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
async fn many_unreadable_orders_do_not_delay_the_others() {
    let world = World::new();
    // All in one partition: first more unreadable orders than a page has, then readable ones.
    let id = |number: u128| placed(number << 8).id;
    let (bad, good) = (1..=260_u128, 261..=265_u128);
    for number in bad.clone().chain(good.clone()) {
        let mut order = placed(number << 8);
        order.due_at = Some(after(i64::try_from(number).unwrap()));
        world.put(&order).await;
    }
    spoil(&world.aws, &world.table, &bad.map(id).collect::<Vec<_>>());
    world.clock.set(after(600));
    let mut expected = swept(5, 5, 0);
    expected["unreadable"] = json!(260);
    assert_eq!(world.sweep().await.unwrap(), expected);
    assert_eq!(world.command_types().len(), 5);
    for number in good {
        assert_eq!(world.order(id(number)).await.attempt, 2);
    }
}

#[tokio::test]
async fn a_run_counts_parked_orders_of_a_crashed_run() {
    let mut order = order_in(State::Refunding(Ending::Cancelled));
    order.attempt = MAX_ATTEMPTS;
    let world = World::with(&order).await;
    world.clock.set(after(30));
    world.aws.fault_at(0, Fault::KillAfter);
    assert!(crashable(world.sweep()).await.is_none());
    assert!(world.order(order.id).await.parked);
    // It is not due for an hour, but still counted.
    let next = world.sweep().await.unwrap();
    assert_eq!((&next["due"], &next["parked_now"]), (&json!(0), &json!(1)));

    world.aws.fault_on("dynamodb:Query", Fault::Throttle);
    assert!(world.sweep().await.is_err(), "a failed count fails the run");
}

#[tokio::test]
async fn an_unreadable_partition_does_not_delay_the_others() {
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
async fn a_failed_send_fails_the_run_and_is_sent_later() {
    for fault in [
        Fault::BeforeEffect,
        Fault::PartialSend(vec![0]),
        Fault::Throttle,
    ] {
        let order = placed(1);
        let world = World::with(&order).await;
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
    let mut world = World::with(&order_in(State::Charging)).await;
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
    let order = order_in(State::Reserving);
    let mut world = World::with(&order).await;
    world.replies.routes = orders::messages::Routes::default();
    let reserved = sample_reply(order.id, "StockReserved");
    let failure = world.deliver(&reserved).await.unwrap_err();
    assert!(!failure.is_retried());
    assert!(
        failure.detail().contains("no route"),
        "{}",
        failure.detail()
    );
    assert_ne!(world.order(order.id).await.state, State::Reserving);
}

#[tokio::test]
async fn an_order_that_moved_on_since_the_query_is_skipped() {
    let order = placed(1);
    let world = World::with(&order).await;
    world.clock.set(after(30));
    // Another function rejects the order between the query and the read.
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
async fn a_parallel_sweep_and_reply_leave_one_next_step() {
    for seed in 0..40 {
        let order = placed(1);
        let world = World::with(&order).await;
        world.clock.set(after(30));
        let body = sample_reply(order.id, "StockReserved");
        world.aws.interleave(seed);
        let (swept, delivered) =
            futures_util::future::join(world.sweep(), world.deliver(&body)).await;
        swept.unwrap();
        delivered.unwrap();
        let now = world.order(order.id).await;
        assert_ne!(now.state, State::Reserving, "seed {seed}");
        let next = owed(&now).unwrap().action().message;
        assert!(world.command_types().contains(&next.to_owned()));
    }
}

#[tokio::test]
async fn many_due_orders_are_sent_in_batches() {
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
async fn a_crashed_run_has_at_most_one_batch_unsent() {
    let world = World::new();
    for number in 0..60 {
        world.put(&placed(number << 8)).await;
    }
    world.clock.set(after(30));
    // Each batch is ten writes and one send. The run crashes at the third send.
    world.aws.fault_at(32, Fault::KillBefore);
    assert!(crashable(world.sweep()).await.is_none());
    let mut counted = 0;
    for number in 0..60 {
        counted += world.order(placed(number << 8).id).await.attempt - 1;
    }
    assert_eq!((counted, world.commands().len()), (30, 20));
    // The other orders are only a minute late.
    assert_eq!(world.sweep().await.unwrap()["sent"], 30);
}

#[tokio::test(start_paused = true)]
async fn a_silent_queue_does_not_affect_another_queues_orders() {
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
    // Only the orders whose commands were not sent.
    assert!(error.starts_with("3 orders or partitions"), "{error}");
    assert_eq!(world.command_types(), ["ChargePayment"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_run_ends_itself_and_the_next_continues() {
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
    // Nine batches of ten orders start within 25 seconds.
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
async fn a_full_partition_does_not_delay_the_others() {
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
    // All nine partitions have their first page before any has its second.
    assert_eq!(again.len(), 2, "{queries:?}");
    assert!(again[1] >= 9, "{queries:?}");
}

#[tokio::test]
async fn a_different_partition_is_first_each_minute() {
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
async fn only_forward_steps_that_are_given_up_are_counted() {
    let world = World::new();
    let last_try = |state| {
        let mut order = order_in(state);
        order.attempt = MAX_ATTEMPTS;
        order
    };
    let goes_forward = |state: &State| state.command().is_some_and(|it| it.undo().is_none());
    let forward = STATES.into_iter().filter(goes_forward);
    for state in forward.clone() {
        world.put(&last_try(state)).await;
    }
    let given_up = forward.count();
    world
        .put(&order_in(State::Releasing(Ending::Rejected)))
        .await;
    world.clock.set(after(30));
    let swept = world.sweep().await.unwrap();
    assert_eq!(swept["due"], given_up + 1);
    assert_eq!(swept["given_up"], given_up);
    // Their compensations are sent again half a minute later and not given up.
    world.clock.set(after(60));
    let swept = world.sweep().await.unwrap();
    assert!(swept["due"].as_u64() >= Some(2));
    assert_eq!(swept["given_up"], 0);
}

#[tokio::test]
async fn a_write_without_an_answer_still_sends() {
    let mut world = World::new();
    // As in production, the SDK repeats a call without an answer.
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
