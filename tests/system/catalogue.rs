//! Items: what is for sale, and how many there are.

use serde_json::json;
use uuid::Uuid;

use crate::world::world;

#[test]
fn an_item_is_created_once_changed_and_listed() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(7, 700);
    let again = json!({"sku": sku, "name": "Another", "stock": 70,
                       "price": {"amount": 1, "currency": "USD"}});
    let answer = world
        .http
        .post("/api/v1/items", Some(&world.admin()), &again)
        .unwrap();
    assert_eq!(answer.status, 409, "{}", answer.body);

    let path = format!("/api/v1/items/{sku}");
    let change = json!({"name": "Renamed", "price": {"amount": 750, "currency": "USD"}});
    let answer = world
        .http
        .patch(&path, Some(&world.admin()), &change)
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let item = world
        .http
        .get(&path, None)
        .unwrap()
        .expect(200, "item")
        .unwrap();
    assert_eq!(item["name"], "Renamed");
    assert_eq!(item["price"], json!({"amount": 750, "currency": "USD"}));
    assert_eq!(item["available"], 7);
    assert!(
        item.get("held").is_none(),
        "the public does not see what is held: {item}"
    );

    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/items?limit=100{cursor}");
        let page = world
            .http
            .get(&path, None)
            .unwrap()
            .expect(200, "items")
            .unwrap();
        let items = page["items"].as_array().unwrap();
        if items.iter().any(|item| item["sku"] == sku.as_str()) {
            break;
        }
        let next = page["next_cursor"]
            .as_str()
            .expect("the item is in the list");
        cursor = format!("&cursor={next}");
    }
    let missing = world.http.get("/api/v1/items/no-such-sku", None).unwrap();
    assert_eq!(missing.status, 404, "{}", missing.body);
}

#[test]
fn an_adjustment_applies_once_per_key_and_never_below_zero() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let path = format!("/api/v1/items/{sku}/adjustments");
    let adjust = |delta: i64, key: Option<&str>| {
        let headers: Vec<_> = key
            .map(|key| ("idempotency-key", key))
            .into_iter()
            .collect();
        let body = json!({"delta": delta, "reason": "stocktaking"});
        world
            .http
            .json("POST", &path, Some(&world.admin()), &headers, &body)
            .unwrap()
    };
    assert_eq!(adjust(3, None).status, 201);
    assert_eq!(world.stock(&sku), (8, 8, 0));
    let key = Uuid::new_v4().to_string();
    let first = adjust(-6, Some(&key));
    let second = adjust(-6, Some(&key));
    assert_eq!((first.status, second.status), (201, 201), "{}", second.body);
    assert_eq!(world.stock(&sku), (2, 2, 0));
    assert_eq!(adjust(-5, Some(&key)).status, 422);
    let below = adjust(-3, None);
    assert_eq!(below.status, 409, "{}", below.body);
    assert_eq!(world.stock(&sku), (2, 2, 0));
}
