//! Rows from earlier rules: each stays readable, and a write changes only its own attributes.

use proptest::prelude::*;
use serde_json::{Value, json};
use shared_lambda::http::Request;

use crate::world::{NOON, World, id};

/// An item's row as the first release wrote it.
fn item_row(sku: &str, name: &str, amount: i64, currency: &str, units: i64) -> Value {
    json!({
        "pk": format!("ITEM#{sku}"), "sk": "ITEM", "schema": 1, "catalogue": "ITEM", "sku": sku,
        "name": name, "amount": amount, "currency": currency,
        "stocked": units, "available": units, "held": 0,
        "created_at": NOON, "updated_at": NOON, "created_by_request": id(7),
    })
}

fn of(sku: &str) -> Request {
    Request::new().with_path_parameter("sku", sku)
}

async fn listed(world: &World) -> Vec<Value> {
    let list = world.list(Request::new()).await;
    assert_eq!(list.status, 200, "{:?}", list.body);
    let items = list.body["items"].as_array().unwrap().iter();
    items.map(|item| item["sku"].clone()).collect()
}

#[tokio::test]
async fn a_list_leaves_out_an_unreadable_item() {
    let needed = [
        "name",
        "amount",
        "currency",
        "stocked",
        "available",
        "held",
        "created_at",
        "updated_at",
    ];
    for attribute in needed {
        for broken in [Value::Null, json!(["odd"])] {
            let world = World::new().await;
            for sku in ["A", "B", "C"] {
                let mut row = item_row(sku, "Mug", 1250, "USD", 5);
                if sku == "B" {
                    row[attribute] = broken.clone();
                }
                world.aws.put_raw(&world.table, row);
            }
            assert_eq!(listed(&world).await, ["A", "C"], "{attribute} is {broken}");
            assert_eq!(
                world.get(of("B")).await.status,
                500,
                "{attribute} is {broken}"
            );
        }
    }
}

#[tokio::test]
async fn unused_attributes_may_be_missing() {
    for attribute in ["schema", "created_by_request"] {
        for odd in [None, Some(json!(["odd"]))] {
            let world = World::new().await;
            let mut row = item_row("A", "Mug", 1250, "USD", 5);
            match odd {
                None => drop(row.as_object_mut().unwrap().remove(attribute)),
                Some(odd) => row[attribute] = odd,
            }
            world.aws.put_raw(&world.table, row);
            assert_eq!(listed(&world).await, ["A"], "{attribute}");
            assert_eq!(world.get(of("A")).await.status, 200, "{attribute}");
            let reply = world.reserve(9, &[("A", 1)]).await;
            assert_eq!(reply["type"], "StockReserved", "{attribute}");
        }
    }
}

#[tokio::test]
async fn a_list_continues_after_an_unreadable_item() {
    let world = World::new().await;
    for sku in ["A", "B", "C"] {
        let mut row = item_row(sku, "Mug", 1250, "USD", 5);
        if sku == "B" {
            row["amount"] = json!("free");
        }
        world.aws.put_raw(&world.table, row);
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let mut request = Request::new().with_query("limit", "1");
        if let Some(cursor) = &cursor {
            request = request.with_query("cursor", cursor);
        }
        let page = world.list(request).await.body;
        let items = page["items"].as_array().unwrap().iter();
        seen.extend(items.map(|item| item["sku"].clone()));
        match page["next_cursor"].as_str() {
            None => break,
            Some(next) => cursor = Some(next.to_owned()),
        }
    }
    assert_eq!(seen, ["A", "C"]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_old_item_is_sold_unchanged(
        sku in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        name in prop_oneof!["\\PC{0,30}x\\PC{0,30}", Just("ab\u{200D}cd".to_owned())],
        amount in prop_oneof![1i64..=100_000_000, Just(1), Just(100_000_000)],
        currency in "[A-Z]{3}",
        units in 1i64..=1_000_000_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let row = item_row(&sku, &name, amount, &currency, units);
            world.aws.put_raw(&world.table, row.clone());
            let shown = world.get(of(&sku)).await;
            assert_eq!(shown.status, 200);
            let price = json!({"amount": amount, "currency": currency});
            let member = |name: &str| shown.body[name].clone();
            assert_eq!((member("name"), member("price")), (json!(name), price.clone()));
            assert_eq!(listed(&world).await, [json!(sku)]);

            let held = world.reserve(9, &[(&sku, 1)]).await;
            let line = json!({"sku": sku, "name": name, "quantity": 1, "unit_price": price});
            assert_eq!(held["data"]["lines"], json!([line]));
            assert_eq!(world.reserve(9, &[(&sku, 1)]).await, held);
            world.release(9).await;
            let found = json!({"delta": 1, "reason": "Found"}).to_string();
            let adjusted = world.adjust(of(&sku).with_header("authorization", world.admin()).with_body(found));
            assert_eq!(adjusted.await.status, 201);

            let mut expected = row;
            expected["stocked"] = json!(units + 1);
            expected["available"] = json!(units + 1);
            let pk = format!("ITEM#{sku}");
            assert_eq!(world.aws.item(&world.table, &pk, "ITEM"), Some(expected));
        });
    }

    #[test]
    fn an_old_reservation_is_replayed_and_released(
        sku in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        quantity in 1i64..=10_000,
        amount in 1i64..=100_000_000,
        currency in "[A-Z]{3}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut item = item_row(&sku, "Mug", amount, &currency, 10_000);
            item["available"] = json!(10_000 - quantity);
            item["held"] = json!(quantity);
            world.aws.put_raw(&world.table, item);
            let pk = format!("ORDER#{}", id(9));
            let mut row = json!({
                "pk": pk, "sk": "RESERVATION", "schema": 1, "order_id": id(9), "status": "RESERVED",
                "lines": [{"sku": sku, "quantity": quantity, "amount": amount, "currency": currency}],
                "created_at": NOON, "updated_at": NOON,
            });
            world.aws.put_raw(&world.table, row.clone());
            let line = json!({"sku": sku, "quantity": quantity,
                              "unit_price": {"amount": amount, "currency": currency}});
            let replayed = world.reserve(9, &[(&sku, quantity)]).await;
            assert_eq!(replayed["data"]["lines"], json!([line]));
            world.release(9).await;
            row["status"] = json!("RELEASED");
            assert_eq!(world.aws.item(&world.table, &pk, "RESERVATION"), Some(row));
            world.check_books(10_000);
        });
    }

    #[test]
    fn an_old_adjustment_answers_its_key(
        delta in prop_oneof![-1_000_000i64..=-1, 1i64..=1_000_000],
        reason in "[ -~À-ɏ]{0,60}x",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            world.stock("A", 100, 1_000_000).await;
            let body = json!({"delta": delta, "reason": reason}).to_string();
            let ask = || {
                let request = of("A").with_header("authorization", world.admin());
                let keyed = request.with_header("idempotency-key", "key-1");
                world.adjust(keyed.with_body(body.clone()))
            };
            let first = ask().await;
            assert_eq!(first.status, 201, "{:?}", first.body);
            let again = ask().await;
            assert_eq!((again.status, again.body), (201, first.body));
        });
    }
}
