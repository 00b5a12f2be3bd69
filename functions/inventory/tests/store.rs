//! The access patterns, each with its conditions.

use inventory::domain::*;
use inventory::store::{Adjusted, ChangedItem, Created, Read, Written};
use serde_json::json;
use shared_lambda::telemetry::chain;
use test_support::Fault;

use crate::world::{World, id};

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn price(amount: i64, currency: &str) -> Price {
    Price {
        amount: PriceAmount::parse(amount).unwrap(),
        currency: Currency::parse(currency).unwrap(),
    }
}

fn held(text: &str, quantity: i64, unit_price: Price) -> ReservedLine {
    ReservedLine {
        sku: sku(text),
        name: Some(ItemName::parse("Mug").unwrap()),
        quantity: Quantity::parse(quantity).unwrap(),
        unit_price,
    }
}

fn item(world: &World, text: &str, units: i64) -> Item {
    let now = world.context().now;
    Item {
        sku: sku(text),
        name: ItemName::parse("Mug").unwrap(),
        price: price(1250, "USD"),
        levels: Levels::initial(InitialStock::parse(units).unwrap()),
        created_at: now,
        updated_at: now,
    }
}

fn adjustment(world: &World, number: u64, text: &str, delta: i64) -> Adjustment {
    Adjustment {
        id: id(number),
        sku: sku(text),
        delta: Delta::parse(delta).unwrap(),
        reason: Reason::parse("Stocktaking").unwrap(),
        made_by: id(1),
        created_at: world.context().now,
    }
}

async fn adjust(world: &World, adjustment: &Adjustment) -> Adjusted {
    world.store.adjust(adjustment, id(7)).await.unwrap()
}

async fn reserve(world: &World, order: u64, lines: Vec<ReservedLine>) -> Written {
    let now = world.context().now;
    let outcome = Outcome::Reserved(lines);
    world.store.reserve(id(order), &outcome, now).await.unwrap()
}

fn out_of_stock() -> Outcome {
    Outcome::Refused(Refusal {
        code: RefusalCode::OutOfStock,
        detail: "the order wants 1 of MUG; 0 are available".to_owned(),
        sku: Some(sku("MUG")),
    })
}

#[tokio::test]
async fn an_item_is_read_back_as_written() {
    let world = World::new().await;
    let mug = item(&world, "MUG", 5);
    assert_eq!(world.store.item(&mug.sku).await.unwrap(), None);
    let created = world.store.create(&mug, id(7)).await.unwrap();
    assert_eq!(created, Created::Done);
    assert_eq!(world.store.item(&mug.sku).await.unwrap(), Some(mug));
}

#[tokio::test]
async fn a_change_does_not_create_a_missing_item() {
    let world = World::new().await;
    let change = ItemChange::new(None, Some(price(1, "USD"))).unwrap();
    let context = world.context();
    let changed = world
        .store
        .change(&sku("NOPE"), &change, None, context.now, context.fresh_id)
        .await
        .unwrap();
    assert_eq!(changed, ChangedItem::NoSuchItem);
    assert_eq!(world.dump(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn an_adjustment_never_takes_more_than_is_available() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    let _ = reserve(&world, 9, vec![held("MUG", 2, price(100, "USD"))]).await;
    let before = world.dump();
    let adjusted = adjust(&world, &adjustment(&world, 1, "MUG", -4)).await;
    assert_eq!(adjusted, Adjusted::Insufficient { available: 3 });
    assert_eq!(world.dump(), before);
    let adjusted = adjust(&world, &adjustment(&world, 1, "MUG", -3)).await;
    assert_eq!(adjusted, Adjusted::Done);
    assert_eq!(world.levels("MUG"), (2, 0, 2));
}

#[tokio::test]
async fn an_adjustment_of_a_missing_item_changes_nothing() {
    let world = World::new().await;
    for delta in [1, -1] {
        let adjusted = adjust(&world, &adjustment(&world, 1, "NOPE", delta)).await;
        assert_eq!(adjusted, Adjusted::NoSuchItem);
    }
    assert_eq!(world.dump(), Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn an_adjustment_of_one_id_is_made_once() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    let first = adjustment(&world, 1, "MUG", -3);
    assert_eq!(adjust(&world, &first).await, Adjusted::Done);
    let after = world.dump();
    for delta in [-3, -2, 5] {
        let again = adjustment(&world, 1, "MUG", delta);
        let adjusted = adjust(&world, &again).await;
        assert_eq!(adjusted, Adjusted::Before(first.clone()));
    }
    assert_eq!(world.dump(), after);
}

#[tokio::test]
async fn a_reservation_moves_units_and_is_read_back() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    world.stock("TEE", 200, 5).await;
    let lines = vec![
        held("MUG", 2, price(100, "USD")),
        held("TEE", 5, price(200, "USD")),
    ];
    assert_eq!(reserve(&world, 9, lines.clone()).await, Written::Done);
    assert_eq!(world.levels("MUG"), (5, 3, 2));
    assert_eq!(world.levels("TEE"), (5, 0, 5));
    let record = world.store.reservation(id(9)).await.unwrap();
    assert_eq!(record, Some(Reservation::Reserved(lines)));
}

#[tokio::test]
async fn a_second_reservation_of_an_order_takes_nothing() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    let lines = || vec![held("MUG", 2, price(100, "USD"))];
    let _ = reserve(&world, 9, lines()).await;
    let before = world.dump();
    assert_eq!(reserve(&world, 9, lines()).await, Written::Overtaken);
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn one_unavailable_line_reserves_nothing() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    world.stock("TEE", 200, 1).await;
    let before = world.dump();
    let mug = || held("MUG", 2, price(100, "USD"));
    let short = vec![mug(), held("TEE", 2, price(200, "USD"))];
    assert_eq!(reserve(&world, 9, short).await, Written::Overtaken);
    let unknown = vec![mug(), held("NOPE", 2, price(200, "USD"))];
    assert_eq!(reserve(&world, 9, unknown).await, Written::Overtaken);
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_changed_price_reserves_nothing() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    let before = world.dump();
    for stale in [price(99, "USD"), price(100, "EUR")] {
        let written = reserve(&world, 9, vec![held("MUG", 1, stale)]).await;
        assert_eq!(written, Written::Overtaken);
    }
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_refusal_never_replaces_a_reservation() {
    let world = World::new().await;
    world.stock("MUG", 100, 1).await;
    let _ = reserve(&world, 9, vec![held("MUG", 1, price(100, "USD"))]).await;
    let before = world.dump();
    let now = world.context().now;
    let written = world.store.reserve(id(9), &out_of_stock(), now).await;
    assert_eq!(written.unwrap(), Written::Overtaken);
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_tombstone_never_replaces_a_reservation() {
    let world = World::new().await;
    world.stock("MUG", 100, 1).await;
    let _ = reserve(&world, 9, vec![held("MUG", 1, price(100, "USD"))]).await;
    let before = world.dump();
    let written = world.store.put_tombstone(id(9), world.context().now).await;
    assert_eq!(written.unwrap(), Written::Overtaken);
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_refusal_is_read_back_unchanged() {
    let world = World::new().await;
    let Outcome::Refused(refusal) = out_of_stock() else {
        unreachable!()
    };
    let now = world.context().now;
    let _ = world
        .store
        .reserve(id(9), &out_of_stock(), now)
        .await
        .unwrap();
    let record = world.store.reservation(id(9)).await.unwrap();
    assert_eq!(record, Some(Reservation::Refused(refusal)));
}

#[tokio::test]
async fn units_are_returned_once_beside_another_reservation() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    let lines = vec![held("MUG", 2, price(100, "USD"))];
    let _ = reserve(&world, 8, lines.clone()).await;
    let _ = reserve(&world, 9, lines.clone()).await;
    let now = world.context().now;
    let first = world.store.release(id(9), &lines, now).await.unwrap();
    let second = world.store.release(id(9), &lines, now).await.unwrap();
    assert_eq!((first, second), (Written::Done, Written::Overtaken));
    assert_eq!(world.levels("MUG"), (5, 3, 2));
    world.check_books(5);
}

#[tokio::test]
async fn only_held_units_are_returned() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    let lines = vec![held("MUG", 2, price(100, "USD"))];
    let _ = reserve(&world, 9, lines).await;
    let before = world.dump();
    let now = world.context().now;
    for wrong in [
        held("MUG", 3, price(100, "USD")),
        held("NOPE", 1, price(100, "USD")),
    ] {
        let written = world.store.release(id(9), &[wrong], now).await.unwrap();
        assert_eq!(written, Written::Overtaken);
    }
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_transaction_conflict_is_not_a_failed_condition() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    for action in ["dynamodb:TransactWriteItems", "dynamodb:PutItem"] {
        world.aws.fault_on(action, Fault::TransactionConflict);
    }
    let now = world.context().now;
    let lines = vec![held("MUG", 1, price(100, "USD"))];
    assert_eq!(reserve(&world, 9, lines).await, Written::Contended);
    let written = world.store.reserve(id(9), &out_of_stock(), now).await;
    assert_eq!(written.unwrap(), Written::Contended);
    assert_eq!(world.aws.fired(), 2);
}

#[tokio::test]
async fn an_endless_batch_is_an_error() {
    let world = World::new().await;
    let skus: Vec<Sku> = (0..20).map(|n| sku(&format!("S{n}"))).collect();
    for _ in 0..8 {
        world
            .aws
            .fault_on("dynamodb:BatchGetItem", Fault::Unprocessed);
    }
    assert!(
        world
            .store
            .items(&skus, Read::Current, id(7))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn decisions_use_consistent_reads_and_no_scans() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    world.aws.clear_calls();
    world.reserve(9, &[("MUG", 1)]).await;
    world.release(9).await;
    for call in world.aws.calls() {
        let consistent = match call.action.as_str() {
            "GetItem" => call.request["ConsistentRead"] == json!(true),
            "BatchGetItem" => call.request["RequestItems"][&world.table]["ConsistentRead"] == true,
            _ => true,
        };
        assert!(consistent && call.action != "Scan", "{call:?}");
    }
}

#[tokio::test]
async fn changes_of_stock_never_write_to_the_index() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    let keys = |world: &World| {
        let item = world.dump().into_iter().find(|row| row["sk"] == "ITEM");
        let item = item.unwrap();
        ["pk", "sk", "catalogue", "sku"].map(|name| item[name].clone())
    };
    let before = keys(&world);
    world.reserve(9, &[("MUG", 1)]).await;
    adjust(&world, &adjustment(&world, 1, "MUG", 3)).await;
    assert_eq!(keys(&world), before);
    let indexed = world
        .dump()
        .into_iter()
        .filter(|row| !row["catalogue"].is_null());
    assert_eq!(indexed.count(), 1, "only items are in the catalogue");
}

#[tokio::test]
async fn every_row_names_its_schema() {
    let world = World::new().await;
    world.stock("MUG", 100, 5).await;
    world.reserve(9, &[("MUG", 1)]).await;
    adjust(&world, &adjustment(&world, 1, "MUG", 3)).await;
    let rows = world.dump();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!(row["schema"], 1, "{row}");
    }
}

#[tokio::test]
async fn an_unreadable_row_is_an_error() {
    let world = World::new().await;
    let row = json!({
        "pk": format!("ORDER#{}", id(9)), "sk": "RESERVATION", "schema": 1, "order_id": id(9),
        "status": "REFUSED", "created_at": "x", "updated_at": "x",
    });
    world.aws.put_raw(&world.table, row);
    let error = world.store.reservation(id(9)).await.unwrap_err();
    let why = format!(
        "the row ORDER#{}, RESERVATION: a refusal without a reason",
        id(9)
    );
    assert!(chain(&error).ends_with(&why), "{error:?}");

    // A read of several items names the unreadable one.
    world.stock("MUG-01", 1250, 5).await;
    world.stock("MUG-02", 1250, 5).await;
    let mut row = world.aws.item(&world.table, "ITEM#MUG-02", "ITEM").unwrap();
    row.as_object_mut().unwrap().remove("name");
    world.aws.put_raw(&world.table, row);
    let skus = [sku("MUG-01"), sku("MUG-02")];
    let items = world.store.items(&skus, Read::Current, id(1)).await;
    let error = items.unwrap_err();
    let cause = chain(&error);
    assert!(
        cause.contains("the row ITEM#MUG-02, ITEM: ") && cause.contains("name"),
        "{cause}"
    );
}
