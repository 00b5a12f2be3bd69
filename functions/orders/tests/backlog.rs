//! The sweeper during a backlog of a queue.

use std::time::Duration;

use jiff::SignedDuration;
use orders::domain::{Ending, MAX_ATTEMPTS, Order, OrderId, State};
use orders::handlers::backlog::{HELD_BACK_FOR, TAKEN_AT_ONCE};
use serde_json::{Value, json};
use test_support::Fault;
use tokio::time::Instant;
use uuid::Uuid;

use crate::logs::Logs;
use crate::samples::{after, order_in, placed};
use crate::world::{INVENTORY_QUEUE, PAYMENTS_QUEUE, REPLIES_QUEUE, USERS_QUEUE, World};

const ORDERS: u128 = 250;

/// Creates a backlog: more messages than the queue's function takes at once.
fn fill(world: &World, queue: &str) {
    world
        .aws
        .keep_elsewhere(queue, TAKEN_AT_ONCE as usize + 1, 0);
}

/// An order in a state, due since a time.
fn due(number: u128, state: State, attempt: u32, since: i64) -> Order {
    let mut order = order_in(state);
    order.id = OrderId(Uuid::from_u128(number << 8));
    order.attempt = attempt;
    order.due_at = Some(after(since));
    order
}

/// Hundreds of orders whose commands wait for a stopped function; half are on their last attempt.
async fn with_stopped_inventory() -> World {
    let world = World::new();
    for number in 0..ORDERS {
        let attempt = [1, MAX_ATTEMPTS][number as usize % 2];
        world.put(&due(number, State::Reserving, attempt, 30)).await;
        world
            .aws
            .enqueue(INVENTORY_QUEUE, r#"{"type": "ReserveStock"}"#);
    }
    world
}

fn counts(swept: &Value) -> [u64; 4] {
    ["due", "sent", "given_up", "held_back"].map(|name| swept[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_waiting_command_is_neither_sent_again_nor_given_up() {
    let world = with_stopped_inventory().await;
    let rows = world.aws.dump(&world.table);
    let writes = world.aws.writes();
    for minute in [1, 15, 40, 60] {
        world.clock.set(after(60 * minute));
        let swept = world.sweep().await.unwrap();
        assert_eq!(counts(&swept), [0, 0, 0, ORDERS as u64], "minute {minute}");
    }
    assert_eq!(world.aws.writes(), writes);
    assert_eq!(world.aws.dump(&world.table), rows);
    assert_eq!(world.commands().len(), ORDERS as usize);
    // The function has taken all commands; those without an answer are lost.
    let swept = world.sweep().await.unwrap();
    let half = ORDERS as u64 / 2;
    assert_eq!(counts(&swept), [2 * half, 2 * half, half, 0]);
}

#[tokio::test]
async fn after_an_hour_a_held_back_order_goes_on() {
    let world = with_stopped_inventory().await;
    let over = after(30) + HELD_BACK_FOR;
    world.clock.set(over - SignedDuration::from_millis(1));
    assert_eq!(
        counts(&world.sweep().await.unwrap()),
        [0, 0, 0, ORDERS as u64]
    );
    world.clock.set(over);
    let half = ORDERS as u64 / 2;
    let swept = world.sweep().await.unwrap();
    assert_eq!(counts(&swept), [2 * half, 2 * half, half, 0]);
    // After one more command each order waits again.
    world.clock.pass(60);
    assert_eq!(counts(&world.sweep().await.unwrap()), [0, 0, 0, 2 * half]);
}

#[tokio::test]
async fn an_order_ends_despite_a_lasting_backlog() {
    let world = World::new();
    fill(&world, INVENTORY_QUEUE);
    world.put(&due(1, State::Reserving, 1, 30)).await;
    let order = OrderId(Uuid::from_u128(1 << 8));
    let mut hours = 0;
    while world.order(order).await.state == State::Reserving {
        world
            .clock
            .set(world.order(order).await.due_at.unwrap() + HELD_BACK_FOR);
        world.sweep().await.unwrap();
        hours += 1;
    }
    assert_eq!(hours, MAX_ATTEMPTS);
}

#[tokio::test]
async fn orders_that_wait_for_other_queues_go_on() {
    let world = World::new();
    fill(&world, PAYMENTS_QUEUE);
    for (number, state) in [
        State::Verifying,
        State::Reserving,
        State::Releasing(Ending::Cancelled),
        State::Charging,
        State::Refunding(Ending::Rejected),
    ]
    .into_iter()
    .enumerate()
    {
        world.put(&due(number as u128, state, 1, 30)).await;
    }
    world.clock.set(after(60));
    assert_eq!(counts(&world.sweep().await.unwrap()), [3, 3, 0, 2]);
    let mut sent = world.command_types();
    sent.sort();
    assert_eq!(sent, ["ReleaseStock", "ReserveStock", "VerifyUser"]);
}

#[tokio::test]
async fn a_compensation_is_not_parked_during_a_backlog() {
    let world = World::new();
    fill(&world, PAYMENTS_QUEUE);
    let refund = due(1, State::Refunding(Ending::Cancelled), MAX_ATTEMPTS, 30);
    world.put(&refund).await;
    world.clock.set(after(60));
    let swept = world.sweep().await.unwrap();
    assert_eq!(
        (&swept["parked"], &swept["held_back"]),
        (&json!(0), &json!(1))
    );
    assert!(!world.order(refund.id).await.parked);
}

#[tokio::test]
async fn a_backlog_of_replies_holds_every_order_back() {
    let world = World::new();
    fill(&world, REPLIES_QUEUE);
    world.put(&due(1, State::Verifying, 1, 30)).await;
    world.put(&due(2, State::Charging, 1, 30)).await;
    world.clock.set(after(60));
    assert_eq!(counts(&world.sweep().await.unwrap()), [0, 0, 0, 2]);
}

#[tokio::test]
async fn messages_within_the_functions_capacity_are_no_backlog() {
    for (waiting, in_flight, held) in [
        (TAKEN_AT_ONCE, 0, 0),
        (0, 9_999, 0),
        (TAKEN_AT_ONCE + 1, 0, 1),
    ] {
        let world = World::new();
        world
            .aws
            .keep_elsewhere(INVENTORY_QUEUE, waiting as usize, in_flight);
        world.put(&placed(1)).await;
        world.clock.set(after(30));
        assert_eq!(counts(&world.sweep().await.unwrap())[3], held, "{waiting}");
    }
}

/// The index lags behind: the order may have moved on to a step with a later due time.
#[tokio::test]
async fn an_order_with_a_later_due_time_is_not_held_back() {
    let world = World::new();
    fill(&world, INVENTORY_QUEUE);
    world.put(&placed(1)).await;
    world.clock.set(after(30));
    let (aws, table) = (world.aws.clone(), world.table.clone());
    world.aws.on_call(move |call| {
        if call.name() == "dynamodb:GetItem" {
            let mut row = aws.dump(&table).remove(0);
            row["due_at"] = json!("2026-01-02T03:05:00.000Z");
            aws.put_raw(&table, row);
        }
        async { None }
    });
    assert_eq!(counts(&world.sweep().await.unwrap()), [0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_unknown_length_holds_nothing_back() {
    for fault in [Fault::BeforeEffect, Fault::Throttle] {
        let world = World::new();
        fill(&world, INVENTORY_QUEUE);
        world.put(&placed(1)).await;
        world.clock.set(after(30));
        for _ in 0..4 {
            world.aws.fault_on("sqs:GetQueueAttributes", fault.clone());
        }
        assert_eq!(counts(&world.sweep().await.unwrap()), [1, 1, 0, 0]);
        assert_eq!(world.aws.fired(), 4);
    }
    let world = World::with(&placed(1)).await;
    world.clock.set(after(30));
    world.never_answer(|call| call.action == "GetQueueAttributes");
    let began = Instant::now();
    assert_eq!(counts(&world.sweep().await.unwrap()), [1, 1, 0, 0]);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn a_run_with_an_order_reads_each_queue_once() {
    let world = World::new();
    let asked = |world: &World| {
        let calls = world.aws.calls();
        let asked = calls
            .iter()
            .filter(|call| call.action == "GetQueueAttributes");
        asked
            .map(|call| call.targets[0].clone())
            .collect::<Vec<_>>()
    };
    world.sweep().await.unwrap();
    assert_eq!(asked(&world), [""; 0]);
    for number in 0..60 {
        world.put(&placed(number)).await;
    }
    world.clock.set(after(30));
    assert_eq!(counts(&world.sweep().await.unwrap()), [60, 60, 0, 0]);
    let queues = [USERS_QUEUE, INVENTORY_QUEUE, PAYMENTS_QUEUE, REPLIES_QUEUE];
    assert_eq!(asked(&world), queues);
}

#[tokio::test]
async fn a_backlog_is_logged_and_counts_as_overdue() {
    let world = with_stopped_inventory().await;
    world.clock.set(after(30 + 240));
    let logs = Logs::start();
    world.sweep().await.unwrap();
    let lines = logs.lines();
    let of = |event: &str| {
        let mut lines = lines.iter().filter(|line| line["event"] == event);
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no {event} in {lines:?}"));
        assert!(lines.next().is_none(), "{event} is logged twice");
        line.clone()
    };
    let behind = of("queue_behind");
    assert_eq!(
        (&behind["queue"], &behind["waiting"]),
        (&json!(INVENTORY_QUEUE), &json!(ORDERS as u64))
    );
    let swept = of("swept");
    assert_eq!(
        (&swept["held_back"], &swept["oldest_due_seconds"]),
        (&json!(ORDERS as u64), &json!(240))
    );
}
