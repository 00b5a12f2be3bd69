//! The queue: repeats, crashes and any order of arrival do no harm, and no item is oversold.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use inventory::messages::ReleaseStock;
use proptest::prelude::*;
use serde_json::{Value, json};
use test_support::{Fault, crashable};

use crate::world::{REPLIES, World, id, refusal, reserve, reserved};

const FAULTS: [Fault; 4] = [
    Fault::BeforeEffect,
    Fault::AfterEffect,
    Fault::KillBefore,
    Fault::KillAfter,
];

fn released() -> Value {
    json!({"type": "StockReleased", "data": {}})
}

fn refused_as_released() -> Value {
    json!({"type": "StockRefused", "data": {
        "code": "released",
        "detail": "the order has already released its reservation",
    }})
}

/// Two items of five units.
async fn mugs_and_tees() -> World {
    let world = World::new().await;
    world.stock("MUG", 1250, 5).await;
    world.stock("TEE", 2000, 5).await;
    world
}

#[tokio::test]
async fn a_reserve_holds_every_line_at_inventorys_prices() {
    let world = mugs_and_tees().await;
    let reply = world.reserve(9, &[("TEE", 1), ("MUG", 5)]).await;
    assert_eq!(reply, reserved(&[("TEE", 1, 2000), ("MUG", 5, 1250)]));
    assert_eq!(world.levels("MUG"), (5, 0, 5));
    assert_eq!(world.levels("TEE"), (5, 4, 1));
    world.check_books(5);
}

#[tokio::test]
async fn a_refused_reserve_has_a_reason_and_holds_nothing() {
    let world = mugs_and_tees().await;
    world.stock_in("HAT", 900, "EUR", 5).await;
    let levels = |world: &World| ["MUG", "TEE", "HAT"].map(|sku| world.levels(sku));
    let before = levels(&world);
    let refusals = [
        (
            vec![("MUG", 1), ("NOPE", 1)],
            json!({"code": "unknown_item", "detail": "there is no item NOPE", "sku": "NOPE"}),
        ),
        (
            vec![("MUG", 1), ("HAT", 1)],
            json!({"code": "mixed_currency", "detail":
                "an order has one currency, but these items are priced in EUR and USD"}),
        ),
        (
            vec![("MUG", 1), ("TEE", 6)],
            json!({"code": "out_of_stock", "detail": "the order wants 6 of TEE; 5 are available", "sku": "TEE"}),
        ),
    ];
    for (order, (lines, data)) in (10..).zip(refusals) {
        let reply = world.reserve(order, &lines).await;
        assert_eq!(reply, json!({"type": "StockRefused", "data": data}));
    }
    assert_eq!(levels(&world), before);
}

#[tokio::test]
async fn a_repeated_command_has_one_effect_and_the_same_reply() {
    for (name, prepared, command) in scenarios() {
        let world = prepare(prepared).await;
        let command = command(&world);
        let first = reply(&world, &command).await;
        let once = world.dump();
        world.advance(60);
        assert_eq!(reply(&world, &command).await, first, "{name}");
        assert_eq!(world.dump(), once, "{name}");
    }
}

#[tokio::test]
async fn a_redelivery_repairs_a_fault_at_any_write() {
    for (name, prepared, command) in scenarios() {
        let clean = prepare(prepared).await;
        let body = command(&clean);
        let before = clean.aws.writes();
        assert!(clean.deliver(&body).await);
        let writes = clean.aws.writes() - before;
        assert!(writes >= 1, "{name}: at least the reply is sent");
        let replies = sent(&clean);

        for nth in 0..writes {
            for fault in FAULTS {
                let case = format!("{name}: {fault:?} at write {nth}");
                let world = prepare(prepared).await;
                let body = command(&world);
                world.aws.fault_at(nth, fault);
                let acknowledged = crashable(world.deliver(&body)).await;
                assert_eq!(world.aws.fired(), 1, "{case}");
                assert_ne!(acknowledged, Some(true), "{case}");
                assert!(world.deliver(&body).await, "{case}");
                assert_eq!(world.dump(), clean.dump(), "{case}");
                assert_eq!(sent(&world), replies, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_transaction_conflict_is_retried() {
    for (name, prepared, command) in scenarios() {
        let clean = prepare(prepared).await;
        assert!(clean.deliver(&command(&clean)).await);
        let world = prepare(prepared).await;
        let body = command(&world);
        for action in ["dynamodb:TransactWriteItems", "dynamodb:PutItem"] {
            world.aws.fault_on(action, Fault::TransactionConflict);
        }
        assert!(world.deliver(&body).await, "{name}");
        assert_eq!(world.dump(), clean.dump(), "{name}");
        assert_eq!(sent(&world), sent(&clean), "{name}");
    }
}

#[tokio::test]
async fn a_lasting_conflict_is_retried_later() {
    let world = mugs_and_tees().await;
    let before = world.dump();
    for _ in 0..8 {
        world
            .aws
            .fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
    }
    let failure = world.command(9, &reserve(&[("MUG", 1)])).await.unwrap_err();
    assert!(failure.is_retried());
    assert_eq!((world.dump(), world.aws.fired()), (before, 8));
    assert_eq!(
        world.reserve(9, &[("MUG", 1)]).await,
        reserved(&[("MUG", 1, 1250)])
    );
}

#[tokio::test]
async fn a_throttled_table_is_retried_later() {
    for action in ["GetItem", "BatchGetItem", "TransactWriteItems"] {
        let world = mugs_and_tees().await;
        world
            .aws
            .fault_on(&format!("dynamodb:{action}"), Fault::Throttle);
        let failure = world.command(9, &reserve(&[("MUG", 1)])).await.unwrap_err();
        assert!(failure.is_retried(), "{action}");
    }
}

#[tokio::test]
async fn a_release_before_its_reserve_refuses_the_reserve() {
    let world = mugs_and_tees().await;
    assert_eq!(world.release(9).await, released());
    let before = world.dump();
    assert_eq!(world.reserve(9, &[("MUG", 1)]).await, refused_as_released());
    assert_eq!(world.release(9).await, released());
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_repeated_reserve_after_the_release_is_refused() {
    let world = mugs_and_tees().await;
    let stocked = world.levels("MUG");
    world.reserve(9, &[("MUG", 3)]).await;
    assert_eq!(world.release(9).await, released());
    assert_eq!(world.levels("MUG"), stocked);
    let before = world.dump();
    assert_eq!(world.reserve(9, &[("MUG", 3)]).await, refused_as_released());
    assert_eq!(world.release(9).await, released());
    assert_eq!(world.dump(), before);
    world.check_books(5);
}

#[tokio::test]
async fn a_reservation_keeps_its_price_and_name() {
    let world = mugs_and_tees().await;
    let first = world.reserve(9, &[("MUG", 1)]).await;
    assert_eq!(first["data"]["lines"][0]["name"], "Item MUG");
    let change = json!({"name": "Steel mug", "price": {"amount": 9999, "currency": "EUR"}});
    let request = world.as_admin().with_path_parameter("sku", "MUG");
    world.update(request.with_body(change.to_string())).await;
    assert_eq!(world.reserve(9, &[("MUG", 1)]).await, first);
    let other = &world.reserve(10, &[("MUG", 1)]).await["data"]["lines"][0];
    assert_eq!(other["name"], change["name"]);
    assert_eq!(other["unit_price"], change["price"]);
}

#[tokio::test]
async fn an_older_reservation_without_names_is_replayed() {
    let world = mugs_and_tees().await;
    let first = world.reserve(9, &[("MUG", 2)]).await;
    let pk = format!("ORDER#{}", id(9));
    let mut row = world.aws.item(&world.table, &pk, "RESERVATION").unwrap();
    row["lines"][0].as_object_mut().unwrap().remove("name");
    world.aws.put_raw(&world.table, row);
    let mut nameless = first;
    let line = nameless["data"]["lines"][0].as_object_mut().unwrap();
    line.remove("name");
    let replayed = world.reserve(9, &[("MUG", 2)]).await;
    test_support::contracts::assert_valid("inventory", "StockReserved", &replayed["data"]);
    assert_eq!(replayed, nameless);
    assert_eq!(world.release(9).await, released());
    world.check_books(5);
}

#[tokio::test]
async fn a_refusal_stays_after_new_stock() {
    let world = mugs_and_tees().await;
    let first = world.reserve(9, &[("MUG", 6)]).await;
    assert_eq!(refusal(&first), "out_of_stock");
    adjust(&world, "MUG", 10, None).await;
    assert_eq!(world.reserve(9, &[("MUG", 6)]).await, first);
    assert_eq!(world.levels("MUG"), (15, 15, 0));
}

#[tokio::test]
async fn a_price_change_before_the_write_is_decided_again() {
    let world = mugs_and_tees().await;
    let table = world.table.clone();
    let aws = world.aws.clone();
    let changed = std::sync::atomic::AtomicBool::new(false);
    world.aws.on_call(move |call| {
        if call.action == "TransactWriteItems"
            && !changed.swap(true, std::sync::atomic::Ordering::Relaxed)
        {
            let rows = aws.dump(&table).into_iter();
            let mut mug = rows.clone().find(|row| row["sku"] == "MUG").unwrap();
            mug["amount"] = json!(1300);
            aws.put_raw(&table, mug);
        }
        std::future::ready(None)
    });
    let reply = world.reserve(9, &[("MUG", 1)]).await;
    assert_eq!(reply, reserved(&[("MUG", 1, 1300)]));
    world.check_books(5);
}

#[tokio::test]
async fn forty_concurrent_orders_never_oversell() {
    for seed in 0..6 {
        let world = World::new().await;
        world.stock("MUG", 1250, 7).await;
        world.aws.interleave(seed);
        let orders = (100..140).map(|order| {
            let body = world.envelope(order, &reserve(&[("MUG", 1)]));
            let world = &world;
            async move { reply(world, &body).await }
        });
        let replies = join_all(orders).await;
        let count = |code| {
            replies
                .iter()
                .filter(|reply| refusal(reply) == code)
                .count()
        };
        let counts = (count("StockReserved"), count("out_of_stock"));
        assert_eq!(counts, (7, 33), "seed {seed}");
        assert_eq!(world.levels("MUG"), (7, 0, 7), "seed {seed}");
        world.check_books(7);
    }
}

#[tokio::test]
async fn forty_concurrent_deliveries_have_one_effect_and_answer() {
    for seed in 0..6 {
        // One unit: a second delivery finds none, but must repeat the first answer.
        let world = World::new().await;
        world.stock("MUG", 1250, 1).await;
        world.aws.interleave(seed);
        let body = world.envelope(9, &reserve(&[("MUG", 1)]));
        let replies = join_all((0..40).map(|_| reply(&world, &body))).await;
        let expected = reserved(&[("MUG", 1, 1250)]);
        assert!(
            replies.iter().all(|reply| *reply == expected),
            "seed {seed}"
        );
        assert_eq!(world.levels("MUG"), (1, 0, 1), "seed {seed}");
        world.check_books(1);
    }
}

#[tokio::test]
async fn a_concurrent_reserve_and_release_leave_nothing_held() {
    for seed in 0..40 {
        let world = mugs_and_tees().await;
        world.reserve(8, &[("MUG", 2)]).await;
        world.aws.interleave(seed);
        let reserve = world.envelope(9, &reserve(&[("MUG", 2)]));
        let release = world.envelope(9, &ReleaseStock {});
        let bodies = [&reserve, &release, &release, &reserve];
        join_all(bodies.map(|body| reply(&world, body))).await;
        assert_eq!(world.levels("MUG"), (5, 3, 2), "seed {seed}");
        world.check_books(5);
        let after = reply(&world, &reserve).await;
        assert_eq!(after, refused_as_released(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_malformed_command_is_a_dead_letter_and_changes_nothing() {
    let world = mugs_and_tees().await;
    let before = world.dump();
    let line = |sku: &str, quantity: i64| json!({"sku": sku, "quantity": quantity});
    let many: Vec<Value> = (0..51).map(|n| line(&format!("S{n}"), 1)).collect();
    let lines = |lines: Vec<Value>| json!({"lines": lines});
    let cases = [
        (json!({}), "/data/lines is missing"),
        (json!({"lines": "MUG"}), "/data/lines"),
        (lines(vec![]), "/data/lines is empty"),
        (lines(many), "/data/lines has 51 entries"),
        (lines(vec![line("MUG", 1); 2]), "has MUG more than once"),
        (lines(vec![line("MUG", 0)]), "/data/lines/0/quantity"),
        (lines(vec![line("A", 1), line("B", -1)]), "/1/quantity"),
        (lines(vec![line("MUG", 10_001)]), "/0/quantity"),
        (lines(vec![line("", 1)]), "/data/lines/0/sku"),
        (
            lines(vec![json!({"sku": "A", "quantity": 1.5})]),
            "/0/quantity",
        ),
        (lines(vec![json!({"sku": "A"})]), "/0/quantity"),
        (lines(vec![json!({"sku": 7, "quantity": 1})]), "/0/sku"),
    ];
    for (data, named) in cases {
        let body = message("ReserveStock", 1, &data);
        let failure = world.handle(&body).await.unwrap_err();
        assert!(!failure.is_retried(), "{data}");
        let detail = failure.detail();
        assert!(detail.contains(named), "{data}: {detail}");
    }
    let unknown = [
        message("ShipStock", 1, &json!({})),
        message("ReleaseStock", 2, &json!({})),
    ];
    for body in unknown {
        let failure = world.handle(&body).await.unwrap_err();
        assert!(!failure.is_retried(), "{body}");
    }
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_reserve_with_other_lines_than_recorded_is_a_dead_letter() {
    let world = mugs_and_tees().await;
    world.reserve(9, &[("MUG", 2), ("TEE", 1)]).await;
    let before = world.dump();
    for (lines, asked) in [
        (vec![("MUG", 2)], "2 MUG"),
        (vec![("MUG", 1), ("TEE", 1)], "1 MUG, 1 TEE"),
        (
            vec![("TEE", 1), ("MUG", 2), ("HAT", 1)],
            "1 HAT, 2 MUG, 1 TEE",
        ),
    ] {
        let failure = world.command(9, &reserve(&lines)).await.unwrap_err();
        assert!(!failure.is_retried(), "{asked}");
        let expected = format!(
            "ReserveStock for order {} asks for {asked}, but the order's reservation holds 2 MUG, 1 TEE;",
            id(9)
        );
        assert!(
            failure.detail().starts_with(&expected),
            "{}",
            failure.detail()
        );
    }
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_recorded_refusal_answers_other_lines_too() {
    let world = mugs_and_tees().await;
    let first = world.reserve(9, &[("MUG", 6)]).await;
    world.release(10).await;
    let before = world.dump();
    assert_eq!(world.reserve(9, &[("TEE", 1)]).await, first);
    assert_eq!(
        world.reserve(10, &[("TEE", 1)]).await,
        refused_as_released()
    );
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn an_unreadable_item_stops_only_its_own_orders() {
    let world = mugs_and_tees().await;
    let mut row = world.aws.item(&world.table, "ITEM#TEE", "ITEM").unwrap();
    row["amount"] = json!("free");
    world.aws.put_raw(&world.table, row);
    let failure = world
        .command(9, &reserve(&[("MUG", 1), ("TEE", 1)]))
        .await
        .unwrap_err();
    assert!(!failure.is_retried());
    let cause = shared_lambda::telemetry::chain(failure.cause().unwrap());
    assert!(cause.contains("the row ITEM#TEE, ITEM: "), "{cause}");
    assert_eq!(world.levels("MUG"), (5, 5, 0));
    assert_eq!(
        world.reserve(10, &[("MUG", 1)]).await,
        reserved(&[("MUG", 1, 1250)])
    );
}

#[tokio::test]
async fn a_refusals_detail_is_bounded_and_printable() {
    let world = mugs_and_tees().await;
    world.reserve(9, &[("MUG", 6)]).await;
    let pk = format!("ORDER#{}", id(9));
    let mut row = world.aws.item(&world.table, &pk, "RESERVATION").unwrap();
    row["refusal"]["detail"] = json!(format!("\u{1b}[31mred\n{}", "x".repeat(215_000)));
    world.aws.put_raw(&world.table, row);
    let reply = world.reserve(9, &[("MUG", 6)]).await;
    let detail = reply["data"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("[31mredxxx"), "{detail}");
    assert_eq!(detail.len(), 500);
    test_support::contracts::assert_valid("inventory", "StockRefused", &reply["data"]);
}

#[tokio::test]
async fn unknown_fields_of_a_newer_sender_are_ignored() {
    let world = mugs_and_tees().await;
    let data = json!({"lines": [{"sku": "MUG", "quantity": 1, "gift": true}], "priority": 1});
    let body = message("ReserveStock", 1, &data);
    assert_eq!(world.handle(&body).await.unwrap().len(), 1);
    assert_eq!(world.levels("MUG"), (5, 4, 1));
    let data = json!({"why": "cancelled"});
    let body = message("ReleaseStock", 1, &data);
    assert_eq!(world.handle(&body).await.unwrap().len(), 1);
    assert_eq!(world.levels("MUG"), (5, 5, 0));
}

#[tokio::test]
async fn fifty_lines_fit_into_one_transaction() {
    let world = World::new().await;
    let skus: Vec<String> = (0..50).map(|n| format!("S{n:02}")).collect();
    for sku in &skus {
        world.stock(sku, 10, 1).await;
    }
    let lines: Vec<(&str, i64)> = skus.iter().map(|sku| (sku.as_str(), 1)).collect();
    let reply = world.reserve(9, &lines).await;
    assert_eq!(refusal(&reply), "StockReserved");
    world.check_books(1);
    world.release(9).await;
    world.check_books(1);
    assert_eq!(world.levels("S49"), (1, 1, 0));
}

/// The state before the tested command.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Reserved,
    Refused,
    Released,
}

type Command = fn(&World) -> String;

/// Every state of a reservation with every command.
fn scenarios() -> Vec<(String, Before, Command)> {
    let reserves: Command = |world| world.envelope(9, &reserve(&[("MUG", 2), ("TEE", 1)]));
    let too_much: Command = |world| world.envelope(9, &reserve(&[("MUG", 2), ("TEE", 6)]));
    let reordered: Command = |world| world.envelope(9, &reserve(&[("TEE", 1), ("MUG", 2)]));
    let releases: Command = |world| world.envelope(9, &ReleaseStock {});
    let commands = [
        ("reserve", reserves),
        ("reserve too much", too_much),
        ("reserve in another order of lines", reordered),
        ("release", releases),
    ];
    let states = [
        Before::Nothing,
        Before::Reserved,
        Before::Refused,
        Before::Released,
    ];
    let mut scenarios = Vec::new();
    for before in states {
        for (name, command) in commands {
            // Lines other than the held ones are a dead letter, which another test covers.
            let has_answer = !matches!((name, before), ("reserve too much", Before::Reserved));
            if has_answer {
                scenarios.push((format!("{name} after {before:?}"), before, command));
            }
        }
    }
    scenarios
}

async fn prepare(before: Before) -> World {
    let world = mugs_and_tees().await;
    world.reserve(8, &[("MUG", 2)]).await;
    match before {
        Before::Nothing => {}
        Before::Reserved => drop(world.reserve(9, &[("MUG", 2), ("TEE", 1)]).await),
        Before::Refused => drop(world.reserve(9, &[("TEE", 6)]).await),
        Before::Released => drop(world.release(9).await),
    }
    world
}

/// The reply to one delivery.
async fn reply(world: &World, body: &str) -> Value {
    let replies = world.handle(body).await.unwrap();
    let reply: Value = serde_json::from_str(replies[0].body()).unwrap();
    json!({"type": reply["type"], "data": reply["data"]})
}

/// The different replies on the queue, by id, type and data.
fn sent(world: &World) -> BTreeSet<String> {
    let sent = world.aws.sent(REPLIES);
    let content = |reply: &Value| json!([reply["id"], reply["type"], reply["data"]]).to_string();
    let different: BTreeSet<String> = sent.iter().map(content).collect();
    assert_eq!(different.len(), 1, "one command has one answer: {sent:?}");
    different
}

fn message(kind: &str, version: u32, data: &Value) -> String {
    json!({
        "id": id(77), "type": kind, "version": version, "order_id": id(9),
        "time": "2026-11-23T12:00:00.000Z", "data": data,
    })
    .to_string()
}

async fn adjust(world: &World, sku: &str, delta: i64, key: Option<&str>) -> u16 {
    let body = json!({"delta": delta, "reason": "Stocktaking"});
    let mut request = world.as_admin().with_path_parameter("sku", sku);
    if let Some(key) = key {
        request = request.with_header("idempotency-key", key);
    }
    world
        .adjust(request.with_body(body.to_string()))
        .await
        .status
}

const SKUS: [&str; 3] = ["S0", "S1", "S2"];
const INITIAL: i64 = 6;

#[derive(Clone, Debug)]
enum Op {
    Reserve { order: u64, quantities: [i64; 3] },
    Release { order: u64 },
    Adjust { item: usize, delta: i64, key: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let order = 100u64..106;
    prop_oneof![
        4 => (order.clone(), [0i64..4, 0i64..4, 0i64..4]).prop_map(|(order, mut quantities)| {
            quantities[order as usize % 3] += 1;
            Op::Reserve { order, quantities }
        }),
        3 => order.prop_map(|order| Op::Release { order }),
        2 => (0usize..3, prop_oneof![-6i64..0, 1i64..5], 0u64..5)
            .prop_map(|(item, delta, key)| Op::Adjust { item, delta, key }),
    ]
}

async fn run(world: &World, op: &Op) -> Option<(u64, Value)> {
    match op {
        Op::Reserve { order, quantities } => {
            let lines: Vec<(&str, i64)> = SKUS
                .into_iter()
                .zip(*quantities)
                .filter(|(_, quantity)| *quantity > 0)
                .collect();
            let reply = world.command(*order, &reserve(&lines)).await;
            // Contention that outlasts the tries is retried later, like any other fault.
            reply.ok().map(|reply| (*order, reply))
        }
        Op::Release { order } => {
            let reply = world.command(*order, &ReleaseStock {}).await;
            reply.ok().map(|reply| (*order, reply))
        }
        Op::Adjust { item, delta, key } => {
            let status = adjust(world, SKUS[*item], *delta, Some(&format!("key-{key}"))).await;
            assert!(matches!(status, 201 | 409 | 422 | 503), "{status}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Rounds of concurrent operations, interleaved by a seed. The stock is consistent after each
    /// round. At the end, a redelivery of every message changes nothing.
    #[test]
    fn the_stock_stays_consistent_under_concurrent_operations(
        rounds in prop::collection::vec(prop::collection::vec(op(), 1..7), 1..5),
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            for sku in SKUS {
                world.stock(sku, 100, INITIAL).await;
            }
            world.aws.interleave(seed);
            let mut released = BTreeSet::new();
            for round in &rounds {
                let replies = join_all(round.iter().map(|op| run(&world, op))).await;
                world.check_books(INITIAL);
                for (order, reply) in replies.iter().flatten() {
                    // Released in an earlier round: never reserved again.
                    assert!(!released.contains(order) || refusal(reply) != "StockReserved");
                }
                let ended = replies.iter().flatten();
                released.extend(
                    ended.filter(|(_, reply)| reply["type"] == "StockReleased").map(|(order, _)| *order),
                );
            }
            let orders = |world: &World| -> Vec<Value> {
                world.dump().into_iter().filter(|row| row["sk"] == "RESERVATION").collect()
            };
            for op in rounds.iter().flatten() {
                if let Op::Reserve { .. } | Op::Release { .. } = op {
                    run(&world, op).await;
                }
            }
            // By now every command has taken effect; a repeat must change nothing.
            let before = (orders(&world), SKUS.map(|sku| world.levels(sku)));
            world.advance(60);
            for op in rounds.iter().flatten() {
                if let Op::Reserve { .. } | Op::Release { .. } = op {
                    run(&world, op).await;
                }
            }
            assert_eq!((orders(&world), SKUS.map(|sku| world.levels(sku))), before);
            world.check_books(INITIAL);
        });
    }
}
