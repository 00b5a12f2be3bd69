//! Rows and messages of every release are read; those of this code are recorded.

use inventory::domain::Sku;
use serde_json::{Value, json};
use shared_lambda::http::Request;
use test_support::released::{
    self, assert_messages_are_read, assert_recorded, assert_rows_are_read,
};
use uuid::Uuid;

use crate::world::{World, reserve};

async fn written() -> Vec<Value> {
    let world = World::new().await;
    let mut rows = Vec::new();
    let mut replies = Vec::new();
    world.stock("MUG", 1250, 5).await;
    world.stock_in("HAT", 900, "EUR", 5).await;
    let cup = json!({"sku": "CUP", "name": "Cup", "price": {"amount": 900, "currency": "EUR"}, "stock": 1});
    let cup = world.as_admin().with_body(cup.to_string());
    let created = world.create(cup.with_header("idempotency-key", "key-1"));
    assert_eq!(created.await.status, 201);
    let of_mug = || world.as_admin().with_path_parameter("sku", "MUG");
    rows.extend(world.dump());
    let change = of_mug().with_body(json!({"name": "Steel mug"}).to_string());
    assert_eq!(world.update(change).await.status, 200);
    let adjustment = json!({"delta": -1, "reason": "Lost"});
    let adjustment = of_mug().with_body(adjustment.to_string());
    assert_eq!(world.adjust(adjustment).await.status, 201);
    rows.extend(world.dump());
    let envelope = |order, lines| world.envelope(order, &reserve(lines));
    let release = |order| world.envelope(order, &inventory::messages::ReleaseStock {});
    for command in [
        envelope(10, &[("MUG", 1)]),
        envelope(11, &[("NOPE", 1)]),
        envelope(12, &[("MUG", 1), ("HAT", 1)]),
        envelope(13, &[("MUG", 9)]),
        release(10),
        envelope(10, &[("MUG", 1)]),
        release(14),
    ] {
        for reply in world.handle(&command).await.unwrap() {
            replies.push(released::message("orders", reply.body()));
        }
        rows.extend(world.dump());
    }
    let mut lines: Vec<Value> = Vec::new();
    for row in rows {
        let line = released::row(&row, &read(&row).await.unwrap());
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    [lines, replies].concat()
}

/// The values of an item or an adjustment, or the reply that a reservation repeats.
async fn read(row: &Value) -> Result<Value, String> {
    let world = World::new().await;
    world.aws.put_raw(&world.table, row.clone());
    let [pk, sk] = ["pk", "sk"].map(|name| row[name].as_str().unwrap_or_default());
    if let Some(order) = pk.strip_prefix("ORDER#") {
        let order: Uuid = order.parse().map_err(|_| "its key has no order id")?;
        let lines = row["lines"].as_array().into_iter().flatten();
        let mut lines: Vec<(&str, i64)> = lines
            .map(|line| {
                (
                    line["sku"].as_str().unwrap(),
                    line["quantity"].as_i64().unwrap(),
                )
            })
            .collect();
        if lines.is_empty() {
            lines.push(("MUG", 1));
        }
        let mut command: Value =
            serde_json::from_str(&world.envelope(0, &reserve(&lines))).unwrap();
        command["order_id"] = json!(order);
        let replies = world.handle(&command.to_string()).await;
        let replies = replies.map_err(|failure| failure.detail().to_owned())?;
        let reply: Value = serde_json::from_str(replies[0].body()).unwrap();
        return Ok(json!({"type": reply["type"], "data": reply["data"]}));
    }
    if let Some(key) = pk.strip_prefix("KEY#") {
        let key: Uuid = key.parse().map_err(|_| "its key has no id")?;
        let found = world.store.created_under(key).await;
        let found = found.map_err(|error| error.to_string())?;
        let (sku, fingerprint) = found.ok_or("it is not found")?;
        return Ok(json!({"sku": sku.as_str(), "fingerprint": fingerprint}));
    }
    let sku = pk.strip_prefix("ITEM#").ok_or("its key is of no kind")?;
    if let Some(id) = sk.strip_prefix("ADJUSTMENT#") {
        let id: Uuid = id.parse().map_err(|_| "its key has no id")?;
        let found = world.store.adjustment(&Sku::parse(sku).unwrap(), id).await;
        let found = found
            .map_err(|error| error.to_string())?
            .ok_or("it is not found")?;
        return Ok(json!({
            "delta": found.delta.get(), "reason": found.reason.as_str(), "made_by": found.made_by,
            "created_at": found.created_at,
        }));
    }
    let get = world
        .get(world.as_admin().with_path_parameter("sku", sku))
        .await;
    let list = world.list(Request::new()).await;
    if (get.status, list.status) != (200, 200) {
        return Err(format!("{get:?} {list:?}"));
    }
    let listed = list.body["items"].as_array().map(Vec::len);
    Ok(json!({"item": get.body, "listed": listed}))
}

#[tokio::test]
async fn what_inventory_writes_is_recorded() {
    assert_recorded("inventory", &written().await);
}

#[tokio::test]
async fn rows_of_each_release_are_read() {
    assert_rows_are_read("inventory", read).await;
}

#[tokio::test]
async fn commands_of_each_release_are_read() {
    let world = World::new().await;
    assert_messages_are_read("inventory", async |body| {
        let handled = world.handle(body).await;
        handled
            .map(|_| ())
            .map_err(|failure| failure.detail().to_owned())
    })
    .await;
}
