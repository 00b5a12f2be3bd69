//! Rows of every schema that is read, and their migrations under traffic.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use expect_test::expect_file;
use jiff::SignedDuration;
use orders::domain::{Ending, Event, Order, OrderId, ReservedLine, State, place};
use orders::migrations::SCHEMAS;
use orders::store::DUE_SHARDS;
use serde_json::{Value, json};
use shared_lambda::migrate::Migrator;
use test_support::{Fault, crashable};
use uuid::Uuid;

use crate::samples::{
    ANN, DRAFT_TOTAL, STATES, TIMEOUT, draft, line, order_in, reserved, start, through, usd,
};
use crate::world::{World, about, customer};

/// A row as a release of schema 1 wrote it: its timeline has maps.
fn in_schema_1(mut row: Value, order: &Order) -> Value {
    let entries = order.timeline.iter().map(|entry| {
        let mut map = json!({"at": entry.at, "what": entry.event.as_str()});
        if let Some(attempt) = entry.attempt {
            map["attempt"] = json!(attempt);
        }
        if let Some(detail) = &entry.detail {
            map["detail"] = json!(detail);
        }
        map
    });
    row["timeline"] = entries.collect();
    row["schema"] = json!(1);
    row
}

/// A row as a release of schema 2 writes it: its timeline has texts.
fn in_schema_2(mut row: Value, order: &Order) -> Value {
    let entries = order.timeline.iter().map(|entry| {
        let millis = entry.at.duration_since(order.created_at).as_millis();
        let attempt = entry.attempt.map(|attempt| format!("#{attempt}"));
        let detail = entry.detail.as_ref().map(|detail| format!(": {detail}"));
        let [attempt, detail] = [attempt, detail].map(Option::unwrap_or_default);
        json!(format!(
            "{millis} {}{attempt}{detail}",
            entry.event.as_str()
        ))
    });
    row["timeline"] = entries.collect();
    row["schema"] = json!(2);
    row
}

#[tokio::test]
async fn rows_of_both_schemas_are_read() {
    for state in STATES {
        let mut order = order_in(state);
        // Another computer's clock may be behind, and a detail may look like the end of an entry.
        order.timeline[1].at = order.created_at - SignedDuration::from_millis(3);
        order.timeline[0].detail = Some("#7: a detail".to_owned());
        order.timeline[2].detail = Some(String::new());
        let world = World::with(&order).await;
        let row = world.aws.dump(&world.table).remove(0);
        for row in [in_schema_1(row.clone(), &order), in_schema_2(row, &order)] {
            world.aws.put_raw(&world.table, row);
            assert_eq!(world.order(order.id).await, order);
        }
    }
}

fn slice(run: u128) -> Value {
    json!({"action": "slice", "schema": 2, "run": Uuid::from_u128(run), "by": "olga", "rate": 1_000_000})
}

fn migrator(world: &World) -> Migrator {
    Migrator::new(world.aws.dynamodb(), world.table.clone(), SCHEMAS)
}

#[tokio::test]
async fn a_migrated_row_equals_a_written_one() {
    for state in STATES {
        let order = order_in(state);
        let world = World::with(&order).await;
        let written = world.aws.dump(&world.table).remove(0);
        let old = in_schema_1(written.clone(), &order);
        world.aws.put_raw(&world.table, old);
        let answer = migrator(&world)
            .handle(world.context(), slice(1))
            .await
            .unwrap();
        assert_eq!(answer["work"]["changed"], 1, "{answer}");
        let key = (
            written["pk"].as_str().unwrap(),
            written["sk"].as_str().unwrap(),
        );
        assert_eq!(world.aws.item(&world.table, key.0, key.1), Some(written));
    }
}

/// A row's size (DynamoDB developer guide, "DynamoDB item sizes and formats").
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.to_string().len().div_ceil(2) + 1,
        Value::String(text) => text.len(),
        Value::Array(values) => 3 + values.iter().map(|value| 1 + size(value)).sum::<usize>(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| 1 + name.len() + size(value));
            3 + members.sum::<usize>()
        }
    }
}

fn size_of_row(row: &Value) -> usize {
    let members = row.as_object().unwrap().iter();
    members.map(|(name, value)| name.len() + size(value)).sum()
}

/// One write unit is 1,024 bytes.
#[tokio::test]
async fn a_confirmed_order_costs_the_reviewed_write_units() {
    let mut written = String::new();
    for lines in 1..=5 {
        let mut draft = draft(7);
        let sku = |number: usize| format!("espresso-beans-{number}kg");
        draft.lines = (1..=lines).map(|number| line(&sku(number), 2)).collect();
        let reserved = (1..=lines).map(|number| ReservedLine {
            name: Some("Espresso beans, 1 kg".to_owned()),
            ..reserved(&sku(number), 2, usd(1250))
        });
        let lines = reserved.collect();
        let amount = usd(2500 * draft.lines.len() as i64);
        let events = [
            Event::StockReserved { lines },
            Event::PaymentCharged { amount },
        ];
        let order = through(place(draft, true, TIMEOUT, start()), &events);
        let world = World::with(&order).await;
        let row = world.aws.dump(&world.table).remove(0);
        let [before, after] = [in_schema_1(row.clone(), &order), row].map(|row| size_of_row(&row));
        let count = order.lines.len();
        for (schema, bytes) in [(1, before), (2, after)] {
            let units = bytes.div_ceil(1024);
            writeln!(
                written,
                "{count} lines, schema {schema}: {bytes} bytes, {units} units"
            )
            .unwrap();
        }
    }
    expect_file!["golden/write-units.txt"].assert_eq(&written);
}

/// As many as the environment says, for a measurement.
fn rows() -> u128 {
    let rows = std::env::var("WAYBILL_MIGRATED_ROWS").ok();
    rows.map_or(3_000, |text| text.parse().unwrap())
}

/// The order of a state under another id, and its row in schema 1.
fn copies(world: &World, orders: &[(Order, Value)], number: u128) -> Order {
    let (order, row) = &orders[number as usize % orders.len()];
    let id = Uuid::from_u128(1 << 64 | number);
    let mut row = row.clone();
    row["id"] = json!(id);
    row["pk"] = json!(format!("ORDER#{id}"));
    row["placed"] = json!(format!("{:.3}#{id}", order.created_at));
    if row["due_shard"].is_string() && row["due_shard"] != "PARKED" {
        row["due_shard"] = json!(format!("DUE#{}", number % u128::from(DUE_SHARDS)));
    }
    world.aws.put_raw(&world.table, row);
    Order {
        id: OrderId(id),
        ..order.clone()
    }
}

/// Brings an order on with the production handlers, and returns its expected state.
async fn travel(world: &World, order: &Order) -> State {
    let expected = match order.state {
        State::Reserving | State::Charging => State::Confirmed,
        State::Confirmed => {
            let answer = world.cancel(&customer(ANN), about(order.id.0)).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            State::Cancelled
        }
        State::Releasing(Ending::Cancelled) => State::Cancelled,
        state => state,
    };
    if expected != order.state {
        world.answer_until(order.id, expected).await;
    }
    let answer = world.get(&customer(ANN), about(order.id.0)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    expected
}

/// Real time, because paused time stands still while traffic goes on.
#[tokio::test]
async fn rows_migrate_under_traffic_killed_twice_and_throttled() {
    let count = rows();
    let world = World::new();
    world.aws.keep_no_calls();
    let mut of_states = Vec::new();
    for state in STATES {
        let order = order_in(state);
        world.put(&order).await;
        let pk = format!("ORDER#{}", order.id.0);
        let row = world.aws.item(&world.table, &pk, "ORDER").unwrap();
        of_states.push((order.clone(), in_schema_1(row, &order)));
    }
    let before: Vec<Order> = (1..=count)
        .map(|number| copies(&world, &of_states, number))
        .collect();
    for order in &before {
        assert_eq!(world.order(order.id).await, *order);
    }
    // Only the migration updates items; handlers put them.
    let (updates, fired) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
    let [third, half, two_thirds] = [count / 3, count / 2, count * 2 / 3].map(|at| at as u64);
    let faults = Arc::clone(&fired);
    world.aws.on_call(move |call| {
        let nth = match call.action.as_str() {
            "UpdateItem" => updates.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let fault = match nth {
            0 => None,
            nth if nth == third => Some(Fault::KillAfter),
            nth if nth == half => Some(Fault::Throttle),
            nth if nth == two_thirds => Some(Fault::KillBefore),
            _ => None,
        };
        faults.fetch_add(fault.iter().len() as u64, Ordering::Relaxed);
        async move { fault }
    });
    world.aws.interleave(7);
    let migrator = migrator(&world);
    let migrate = async {
        let mut run = 1;
        loop {
            let call = migrator.handle(world.context(), slice(run));
            let Some(answer) = crashable(call).await else {
                // Another run continues after the lease.
                run += 1;
                world.clock.pass(41);
                continue;
            };
            let answer = answer.unwrap();
            if answer["outcome"] != "working" {
                return (run, answer);
            }
        }
    };
    let traffic = async {
        let mut expected = BTreeMap::new();
        for order in before.iter().step_by(7) {
            expected.insert(order.id.0, travel(&world, order).await);
        }
        expected
    };
    let ((runs, answer), expected) = futures_util::join!(migrate, traffic);
    let fired = fired.load(Ordering::Relaxed);
    assert_eq!((runs, fired), (3, 3), "killed twice and throttled once");
    assert_eq!(answer["outcome"], "done", "{answer}");

    for order in &before {
        let now = world.order(order.id).await;
        match expected.get(&order.id.0) {
            Some(state) if *state != order.state => {
                assert_eq!(now.state, *state);
                assert!(now.timeline.starts_with(&order.timeline), "{now:?}");
                assert_eq!((&now.lines.len(), now.total), (&2, Some(usd(DRAFT_TOTAL))));
            }
            Some(_) | None => assert_eq!(now, *order),
        }
    }
    let rows = world.aws.dump(&world.table);
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row["pk"] != "MIGRATIONS")
        .collect();
    assert_eq!(rows.len(), before.len() + STATES.len());
    assert!(rows.iter().all(|row| row["schema"] == 2));
    let (changed, seconds) = (&answer["work"]["changed"], &answer["work"]["seconds"]);
    println!(
        "rows migrated: {count} rows of schema 1, {changed} changed in the last run of {seconds} s, {} orders \
         advanced meanwhile, 2 kills, 1 throttled call, no row lost",
        expected.len()
    );
}
