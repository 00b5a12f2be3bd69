//! Migrations: slices, leases, kills, throttling, rows that change meanwhile, and the order of releases.

use std::ops::RangeInclusive;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared_lambda::Error;
use shared_lambda::migrate::{Migration, Migrator, Schemas};
use shared_lambda::table::Row;
use test_support::{Aws, Fault, crashable};
use uuid::Uuid;

use crate::{context, now};

const OLGA: Uuid = Uuid::from_u128(1);
const PAUL: Uuid = Uuid::from_u128(2);

const GREETINGS: &[Migration] = &[Migration {
    schema: 2,
    name: "greetings",
    change: greet,
}];

/// Rows with a name get a greeting instead.
fn greet(row: &Row) -> Result<Option<Row>, Error> {
    let mut next = row.clone();
    match next.remove("name") {
        None => Ok(None),
        Some(AttributeValue::S(name)) => {
            let greeting = AttributeValue::S(format!("hello {name}"));
            next.insert("greeting".to_owned(), greeting);
            Ok(Some(next))
        }
        Some(_) => Err("its name is not a text".into()),
    }
}

struct World {
    aws: Aws,
    table: String,
    migrator: Migrator,
}

/// A table with rows to greet and one other row, for a release with these schemas.
async fn world_of(rows: usize, reads: RangeInclusive<u32>, writes: u32) -> World {
    let aws = Aws::new();
    let table = aws.create_table("payments", "PaymentsTable").await;
    for number in 0..rows {
        let row = json!({"pk": format!("ROW#{number}"), "sk": "ROW", "schema": 1, "name": "ann",
                         "tags": [{"at": number}]});
        aws.put_raw(&table, row);
    }
    aws.put_raw(&table, json!({"pk": "OTHER", "sk": "ROW", "schema": 1}));
    let schemas = Schemas {
        reads,
        writes,
        migrations: GREETINGS,
    };
    let migrator = Migrator::new(aws.dynamodb(), table.clone(), schemas);
    World {
        aws,
        table,
        migrator,
    }
}

async fn world(rows: usize) -> World {
    world_of(rows, 1..=2, 2).await
}

fn slice(run: Uuid, rate: u32) -> Value {
    json!({"action": "slice", "schema": 2, "run": run, "by": "olga", "rate": rate})
}

impl World {
    async fn call(&self, request: Value) -> Value {
        self.call_after(0, request).await
    }

    async fn call_after(&self, seconds: i64, request: Value) -> Value {
        let mut context = context();
        context.now = now() + SignedDuration::from_secs(seconds);
        self.migrator.handle(context, request).await.unwrap()
    }

    async fn run(&self) -> Value {
        loop {
            let answer = self.call(slice(OLGA, 1000)).await;
            if answer["outcome"] != "working" {
                return answer;
            }
        }
    }

    fn rows(&self) -> Vec<Value> {
        let rows = self.aws.dump(&self.table).into_iter();
        rows.filter(|row| row["pk"] != "MIGRATIONS").collect()
    }

    fn assert_greeted(&self, rows: usize) {
        let all = self.rows();
        assert_eq!(all.len(), rows + 1);
        for row in all.iter().filter(|row| row["pk"] != "OTHER") {
            let is = (&row["greeting"], &row["schema"], &row["name"]);
            assert_eq!(is, (&json!("hello ann"), &json!(2), &Value::Null), "{row}");
        }
        assert!(all.contains(&json!({"pk": "OTHER", "sk": "ROW", "schema": 1})));
    }
}

#[tokio::test(start_paused = true)]
async fn slices_keep_the_rate_and_end_in_the_history() {
    let world = world(200).await;
    let mut slices = Vec::new();
    loop {
        let answer = world.call(slice(OLGA, 5)).await;
        slices.push(answer["work"]["changed"].as_u64().unwrap());
        if answer["outcome"] == "done" {
            break;
        }
        assert_eq!(answer["outcome"], "working", "{answer}");
    }
    // Five units a second for ten seconds, and a row in each of eight segments.
    let most = slices
        .iter()
        .scan(0, |last, sum| Some(sum - std::mem::replace(last, *sum)));
    assert!(most.max() <= Some(58) && slices.len() >= 4, "{slices:?}");
    world.assert_greeted(200);
    let status = world.call(json!({"action": "status"})).await;
    let done = &status["history"][0];
    let is = (&done["schema"], &done["changed"], &done["by"]);
    assert_eq!(is, (&json!(2), &json!(200), &json!("olga")), "{status}");
    assert!(done["read"].as_u64() >= Some(201), "{status}");
    assert_eq!(
        (&status["done"], &status["lease"]),
        (&json!(2), &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn one_run_holds_the_lease_until_it_ends() {
    let world = world(60).await;
    assert_eq!(world.call(slice(OLGA, 1)).await["outcome"], "working");
    let busy = world.call(slice(PAUL, 1)).await;
    assert_eq!(busy["outcome"], "busy");
    assert_eq!(
        (&busy["by"], &busy["until"]),
        (&json!("olga"), &json!("2026-03-01T12:00:40Z"))
    );
    // Its holder may continue, and another after the lease.
    assert_eq!(world.call(slice(OLGA, 1)).await["outcome"], "working");
    let last = world.call_after(41, slice(PAUL, 1000)).await;
    assert_eq!(
        (&last["outcome"], &last["work"]["changed"]),
        (&json!("done"), &json!(60))
    );
    world.assert_greeted(60);
}

#[tokio::test(start_paused = true)]
async fn a_killed_slice_is_continued_wherever_it_was() {
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        for nth in [0, 1, 17, 31] {
            let world = world(30).await;
            world.aws.fault_at(nth, fault.clone());
            assert!(crashable(world.run()).await.is_none(), "{fault:?} {nth}");
            assert_eq!(world.run().await["outcome"], "done", "{fault:?} {nth}");
            world.assert_greeted(30);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_and_lost_calls_are_repeated() {
    let world = world(30).await;
    for (action, fault) in [
        ("dynamodb:Scan", Fault::Throttle),
        ("dynamodb:UpdateItem", Fault::Throttle),
        ("dynamodb:UpdateItem", Fault::Throttle),
        ("dynamodb:UpdateItem", Fault::AfterEffect),
    ] {
        world.aws.fault_on(action, fault);
    }
    let answer = world.run().await;
    assert_eq!(
        (&answer["outcome"], &answer["work"]["repeated"]),
        (&json!("done"), &json!(4))
    );
    world.assert_greeted(30);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_throttles_everything_keeps_its_checkpoint() {
    let world = world(30).await;
    world
        .aws
        .on_call(|call| async move { (call.action == "UpdateItem").then_some(Fault::Throttle) });
    let answer = world.call(slice(OLGA, 1000)).await;
    assert_eq!(
        (&answer["outcome"], &answer["work"]["changed"]),
        (&json!("working"), &json!(0))
    );
    world.aws.on_call(|_| async { None });
    assert_eq!(world.run().await["outcome"], "done");
    world.assert_greeted(30);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_changed_after_its_read_keeps_the_change() {
    let world = world(3).await;
    let (aws, table) = (world.aws.clone(), world.table.clone());
    world.aws.on_call(move |call| {
        let (aws, table) = (aws.clone(), table.clone());
        async move {
            // Each row once, just before it is migrated.
            if call.action == "UpdateItem" {
                let pk = call.request["Key"]["pk"]["S"].as_str().unwrap();
                let mut row = aws.item(&table, pk, "ROW").unwrap();
                if row["paid"].is_null() {
                    row["paid"] = json!(true);
                    aws.put_raw(&table, row);
                }
            }
            None
        }
    });
    assert_eq!(world.run().await["work"]["changed"], 3);
    world.assert_greeted(3);
    let paid = world.rows().into_iter().filter(|row| row["paid"] == true);
    assert_eq!(paid.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_counts_and_changes_nothing() {
    let world = world(30).await;
    let before = world.rows();
    let mut request = slice(OLGA, 1);
    request["dry_run"] = json!(true);
    let answer = world.call(request).await;
    let work = &answer["work"];
    assert_eq!(
        (&answer["outcome"], &work["changed"]),
        (&json!("done"), &json!(30))
    );
    assert_eq!(world.rows(), before);
    let status = world.call(json!({"action": "status"})).await;
    assert_eq!(
        (&status["done"], &status["work"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn rows_that_cannot_be_changed_are_named() {
    let world = world(2).await;
    world.aws.put_raw(
        &world.table,
        json!({"pk": "BAD", "sk": "ROW", "schema": 1, "name": 7}),
    );
    let answer = world.run().await;
    assert_eq!(
        (&answer["outcome"], &answer["work"]["failed"]),
        (&json!("failed"), &json!(1))
    );
    let named = json!(["BAD, ROW: its name is not a text"]);
    assert_eq!(answer["work"]["failures"], named);
    let status = world.call(json!({"action": "status"})).await;
    assert_eq!(
        (&status["done"], &status["work"]),
        (&Value::Null, &Value::Null)
    );
    // After the repair a run begins again.
    world.aws.put_raw(
        &world.table,
        json!({"pk": "BAD", "sk": "ROW", "schema": 1, "name": "ann"}),
    );
    assert_eq!(world.run().await["work"]["changed"], 1);
    world.assert_greeted(3);
}

#[tokio::test]
async fn a_migration_needs_a_release_that_writes_its_schema() {
    let (before, after) = (world_of(1, 1..=2, 1).await, world(1).await);
    let mut unknown = slice(OLGA, 1);
    unknown["schema"] = json!(1);
    for (world, request, detail) in [
        (
            &before,
            slice(OLGA, 1),
            "deploy a release that writes 2 first",
        ),
        (
            &after,
            unknown,
            "there is no migration to schema 1; there is: 2",
        ),
        (
            &after,
            json!({"action": "undo"}),
            "the request: unknown variant",
        ),
    ] {
        let answer = world.call(request).await;
        assert_eq!(answer["outcome"], "refused");
        let is = answer["detail"].as_str().unwrap();
        assert!(is.contains(detail), "{is}");
        assert_eq!(world.aws.writes(), 0);
    }
}

#[tokio::test]
async fn a_release_is_admitted_beside_the_deployed_one() {
    const ADMITTED: &str = "admitted";
    let old_rows = "the table has rows of schema";
    // The deployed release reads 1 to 2 and writes the first; each admission counts for the next.
    for (deployed, next) in [
        (1, vec![(1, 2, 1, ADMITTED), (1, 1, 1, ADMITTED)]),
        (
            1,
            vec![
                (1, 2, 2, ADMITTED),
                (1, 1, 1, old_rows),
                (1, 2, 1, ADMITTED),
            ],
        ),
        (1, vec![(2, 2, 2, old_rows)]),
        (
            2,
            vec![
                (2, 2, 2, ADMITTED),
                (1, 1, 1, old_rows),
                (3, 3, 3, old_rows),
            ],
        ),
        (
            2,
            vec![(1, 3, 3, "first deploy a release that reads 3 and writes 2")],
        ),
    ] {
        let world = world_of(0, 1..=2, deployed).await;
        for (first, last, writes, expected) in next {
            let request = json!({"action": "admit", "reads": [first, last], "writes": writes});
            let answer = world.call(request.clone()).await;
            let is = answer["detail"].as_str().or(answer["outcome"].as_str());
            assert!(
                is.unwrap().contains(expected),
                "{deployed} {request}: {answer}"
            );
        }
    }
}
