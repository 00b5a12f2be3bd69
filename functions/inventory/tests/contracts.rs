//! Contracts and code agree: the service reads what the schemas allow, its replies are valid, and the
//! API answers as described.

use inventory::messages::{ReleaseStock, ReserveStock, StockRefused, StockReleased, StockReserved};
use serde_json::{Value, json};
use shared_lambda::envelope::Payload;
use shared_lambda::http::Request;
use test_support::contracts;
use test_support::template::{Template, workspace_root};

use crate::handlers::{bad_adjustments, bad_changes, bad_items};
use crate::world::{World, id};

#[test]
fn every_message_has_a_contract_and_every_contract_a_message() {
    let mut messages = [
        ReserveStock::TYPE,
        ReleaseStock::TYPE,
        StockReserved::TYPE,
        StockRefused::TYPE,
        StockReleased::TYPE,
    ];
    messages.sort_unstable();
    assert_eq!(contracts::types("inventory"), messages);
}

#[test]
fn the_examples_are_valid() {
    for kind in contracts::types("inventory") {
        let schema = contracts::schema("inventory", &kind);
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{kind}");
        for example in examples {
            contracts::assert_valid("inventory", &kind, example);
        }
    }
}

fn command(kind: &str, data: &Value) -> String {
    json!({"id": id(77), "type": kind, "version": 1, "order_id": id(9),
           "time": "2026-11-23T12:00:00.000Z", "data": data})
    .to_string()
}

#[tokio::test]
async fn commands_are_read_exactly_as_their_contracts_allow() {
    let world = World::new().await;
    for kind in ["ReserveStock", "ReleaseStock"] {
        let schema = contracts::schema("inventory", kind);
        for example in schema["examples"].as_array().unwrap() {
            assert!(
                world.handle(&command(kind, example)).await.is_ok(),
                "{kind} {example}"
            );
        }
    }
    let line = |sku: Value, quantity: Value| json!({"lines": [{"sku": sku, "quantity": quantity}]});
    let many: Vec<Value> = (0..51)
        .map(|n| json!({"sku": format!("S{n}"), "quantity": 1}))
        .collect();
    let bad = [
        json!({}),
        json!({"lines": []}),
        json!({"lines": many}),
        json!({"lines": [{"sku": "MUG"}]}),
        json!({"lines": [{"quantity": 1}]}),
        line(json!("MUG"), json!(0)),
        line(json!("MUG"), json!(10_001)),
        line(json!("MUG"), json!(1.5)),
        line(json!("MUG"), json!("1")),
        line(json!(""), json!(1)),
        line(json!("-MUG"), json!(1)),
        line(json!("x".repeat(65)), json!(1)),
    ];
    for data in bad {
        let allowed = contracts::is_valid("inventory", "ReserveStock", &data);
        assert!(!allowed, "the contract allows {data}");
        let outcome = world.handle(&command("ReserveStock", &data)).await;
        assert!(
            outcome.is_err_and(|failure| !failure.is_retried()),
            "{data}"
        );
    }
    let newer = json!({"lines": [{"sku": "MUG", "quantity": 1, "new": 1}], "new": 1});
    contracts::assert_valid("inventory", "ReserveStock", &newer);
    contracts::assert_valid("inventory", "ReleaseStock", &json!({"new": 1}));
}

#[tokio::test]
async fn every_reply_is_valid() {
    let world = World::new().await;
    world.stock("MUG", 1250, 5).await;
    world.stock_in("HAT", 900, "EUR", 5).await;
    let replies = [
        world.reserve(10, &[("MUG", 1)]).await,
        world.reserve(11, &[("NOPE", 1)]).await,
        world.reserve(12, &[("MUG", 1), ("HAT", 1)]).await,
        world.reserve(13, &[("MUG", 9)]).await,
        world.release(10).await,
        world.reserve(10, &[("MUG", 1)]).await,
        world.release(14).await,
        world.reserve(14, &[("MUG", 1)]).await,
    ];
    for reply in replies {
        contracts::assert_valid("inventory", reply["type"].as_str().unwrap(), &reply["data"]);
    }
}

#[test]
fn reply_contracts_refuse_invalid_replies() {
    let bad = [
        ("StockReserved", json!({})),
        ("StockReserved", json!({"lines": []})),
        (
            "StockReserved",
            json!({"lines": [{"sku": "MUG", "quantity": 1}]}),
        ),
        (
            "StockReserved",
            json!({"lines": [{"sku": "MUG", "quantity": 1,
                              "unit_price": {"amount": 12.5, "currency": "USD"}}]}),
        ),
        ("StockRefused", json!({"code": "out_of_stock"})),
        ("StockRefused", json!({"code": "because", "detail": "x"})),
        (
            "StockRefused",
            json!({"code": "unknown_item", "detail": "x"}),
        ),
    ];
    for (kind, data) in bad {
        let allowed = contracts::is_valid("inventory", kind, &data);
        assert!(!allowed, "{kind} allows {data}");
    }
}

/// A document of this service's description.
fn document(name: &str) -> Value {
    let path = workspace_root().join("functions/inventory").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    Template::parse(name, &text).document().clone()
}

/// A body's mistakes by a schema of the API's description.
fn violations(api: &Value, schema: &str, body: &Value) -> Vec<String> {
    let schema = json!({
        "$ref": format!("#/components/schemas/{schema}"),
        "components": api["components"],
    });
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    validator
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[tokio::test]
async fn the_api_answers_as_described() {
    let api = document("openapi.yaml");
    let world = World::new().await;
    let item = json!({"sku": "MUG", "name": "Mug", "stock": 5,
                      "price": {"amount": 1250, "currency": "USD"}});
    let change = json!({"name": "Steel mug"});
    let adjustment = json!({"delta": -1, "reason": "Lost"});
    for (schema, body) in [
        ("NewItem", &item),
        ("ItemChange", &change),
        ("NewAdjustment", &adjustment),
    ] {
        assert_eq!(
            violations(&api, schema, body),
            Vec::<String>::new(),
            "{schema}"
        );
    }
    let of_mug = |request: Request| request.with_path_parameter("sku", "MUG");
    let managed = || of_mug(world.as_admin());
    let answers = [
        (
            "ManagedItem",
            world
                .create(world.as_admin().with_body(item.to_string()))
                .await,
        ),
        (
            "ManagedItem",
            world.update(managed().with_body(change.to_string())).await,
        ),
        (
            "Adjustment",
            world
                .adjust(managed().with_body(adjustment.to_string()))
                .await,
        ),
        ("Item", world.get(of_mug(Request::new())).await),
        ("ManagedItem", world.get(managed()).await),
        ("ItemList", world.list(Request::new()).await),
        (
            "Problem",
            world
                .create(world.as_admin().with_body(item.to_string()))
                .await,
        ),
        (
            "Problem",
            world.create(world.as_admin().with_body("{}")).await,
        ),
        (
            "Problem",
            world
                .get(Request::new().with_path_parameter("sku", "NOPE"))
                .await,
        ),
        ("Problem", world.create(Request::new()).await),
    ];
    for (schema, answer) in answers {
        assert_eq!(
            violations(&api, schema, &answer.body),
            Vec::<String>::new(),
            "{schema}"
        );
    }
    let public = world.get(of_mug(Request::new())).await;
    assert!(!violations(&api, "ManagedItem", &public.body).is_empty());
}

#[test]
fn openapi_refuses_the_bodies_that_functions_refuse() {
    let api = document("openapi.yaml");
    let cases = [
        ("NewItem", bad_items()),
        ("ItemChange", bad_changes()),
        ("NewAdjustment", bad_adjustments()),
    ];
    for (schema, bodies) in cases {
        for (body, _) in bodies {
            assert!(
                !violations(&api, schema, &body).is_empty(),
                "{schema} allows {body}"
            );
        }
    }
}
