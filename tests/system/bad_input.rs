//! Bad input gets the right 4xx, with a problem that says which field and why, and does nothing.

use serde_json::{Value, json};

use crate::world::{Customer, order_body, world};

/// A body, where the problem must point, and a part of what it must say.
fn cases(sku: &str) -> Vec<(String, u16, &'static str, &'static str)> {
    let good = order_body(sku, 1, "pm_card_visa");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body.to_string()
    };
    let quantity = |value: Value| with(&move |body| body["lines"][0]["quantity"] = value.clone());
    let many: Vec<Value> = (0..51)
        .map(|n| json!({"sku": format!("s{n}"), "quantity": 1}))
        .collect();
    vec![
        (String::new(), 400, "", "empty"),
        ("order please".to_owned(), 400, "", "not JSON"),
        ("[]".to_owned(), 400, "", ""),
        (good.to_string() + "x", 400, "", "not JSON"),
        (
            with(&|body| body["colour"] = json!("red")),
            400,
            "/colour",
            "not a known field",
        ),
        (
            with(&|body| body["lines"] = json!([])),
            400,
            "/lines",
            "1 to 50",
        ),
        (
            with(&|body| body["lines"] = json!("tea")),
            400,
            "/lines",
            "array",
        ),
        (
            with(&|body| body["lines"] = json!(many)),
            400,
            "/lines",
            "1 to 50",
        ),
        (
            with(&|body| body["lines"] = json!([good["lines"][0], good["lines"][0]])),
            400,
            "/lines/1/sku",
            "already",
        ),
        (
            with(&|body| body["lines"] = json!([["tea", 2]])),
            400,
            "/lines/0",
            "not an object",
        ),
        (
            with(&|body| body["lines"][0]["price"] = json!(1)),
            400,
            "/lines/0/price",
            "not a known field",
        ),
        (
            with(&|body| body["lines"][0]["sku"] = json!("no spaces")),
            400,
            "/lines/0/sku",
            "not a sku",
        ),
        (quantity(json!(0)), 400, "/lines/0/quantity", "is 0, not a"),
        (quantity(json!(-1)), 400, "/lines/0/quantity", "1 to 10000"),
        (
            quantity(json!(10_001)),
            400,
            "/lines/0/quantity",
            "1 to 10000",
        ),
        (
            quantity(json!(9e99)),
            400,
            "/lines/0/quantity",
            "whole number",
        ),
        // Test builds have a feature of serde_json (`float_roundtrip`) that deployed ones lack.
        (
            good.to_string()
                .replace("\"quantity\":1", "\"quantity\":1e400"),
            400,
            "/lines/0/quantity",
            "is 1e400, not a whole number from 1 to 10000",
        ),
        (
            quantity(json!("2")),
            400,
            "/lines/0/quantity",
            "whole number",
        ),
        (
            quantity(json!(1.5)),
            400,
            "/lines/0/quantity",
            "whole number",
        ),
        (
            with(&|body| body["payment_method"] = json!("4242424242424242")),
            400,
            "/payment_method",
            "not a payment method token",
        ),
        (
            with(&|body| body["expected_total"] = json!({"amount": -1, "currency": "USD"})),
            400,
            "/expected_total/amount",
            "is -1, not an amount",
        ),
        (
            with(&|body| body["expected_total"] = json!({"amount": 1, "currency": "usd"})),
            400,
            "/expected_total/currency",
            "not a currency",
        ),
        (
            with(&|body| body["padding"] = json!("x".repeat(70_000))),
            413,
            "",
            "65536",
        ),
    ]
}

#[test]
fn a_bad_order_is_refused_and_leaves_nothing_behind() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    for (body, status, pointer, says) in cases(&sku) {
        let shown: String = body.chars().take(120).collect();
        let answer = world
            .http
            .send(
                "POST",
                "/api/v1/orders",
                Some(&customer.token),
                &[("content-type", "application/json")],
                Some(body.as_bytes()),
            )
            .unwrap();
        assert_eq!(answer.status, status, "{shown}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{shown}"
        );
        let problem = answer.value();
        if status == 400 {
            assert_eq!(
                problem["errors"][0]["pointer"], pointer,
                "{shown}: {problem}"
            );
        }
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{shown}: {problem}");
    }
    let left = customer.get("/api/v1/orders").value();
    assert_eq!(left["items"], json!([]));
    assert_eq!(world.stock(&sku), (5, 5, 0));
}

#[test]
fn a_malformed_id_or_parameter_is_named() {
    let world = world();
    let _shared = world.shared();
    let customer = Customer::new();
    for (path, field) in [
        ("/api/v1/orders/42", "id"),
        ("/api/v1/orders/42/timeline", "id"),
        ("/api/v1/payments/42", "order_id"),
        ("/api/v1/users/42", "id"),
        ("/api/v1/orders?limit=0", "limit"),
        ("/api/v1/orders?limit=101", "limit"),
        ("/api/v1/orders?limit=many", "limit"),
        ("/api/v1/orders?status=LOST", "status"),
        ("/api/v1/orders?cursor=%25%25", "cursor"),
        ("/api/v1/orders?user_id=42", "user_id"),
        ("/api/v1/orders?email=ada%40example.com", "email"),
        ("/api/v1/orders?limit=1&limit=1", "limit"),
        ("/api/v1/items?q=tea", "q"),
        ("/api/v1/users/me?fields=email", "fields"),
        ("/.well-known/jwks.json?v=1", "v"),
        ("/api/v1/items?limit=-1", "limit"),
        ("/api/v1/items?cursor=bm9uc2Vuc2U", "cursor"),
    ] {
        let answer = customer.get(path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert_eq!(answer.value()["errors"][0]["parameter"], field, "{path}");
    }
    assert_eq!(customer.get("/api/v1/items?cursor=").status, 200);
    let quotes = format!("/api/v1/items?{}", "%22".repeat(3000));
    assert_eq!(customer.get(&quotes).status, 400);
    let key = customer.try_place(Some("two words"), &order_body("tea", 1, "pm_card_visa"));
    assert_eq!(key.status, 400, "{}", key.body);
    assert_eq!(key.value()["errors"][0]["header"], "Idempotency-Key");
}

#[test]
fn a_body_that_is_not_sent_as_json_is_415() {
    let world = world();
    let _shared = world.shared();
    let customer = Customer::new();
    let body = order_body("tea", 1, "pm_card_visa").to_string();
    let json = ("content-type", "application/json");
    for headers in [
        &[("content-type", "text/plain")][..],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[json, ("content-encoding", "gzip")],
        &[],
    ] {
        for path in ["/api/v1/orders", "/api/v1/users", "/api/v1/auth/login"] {
            let token = Some(customer.token.as_str());
            let sent = world
                .http
                .send("POST", path, token, headers, Some(body.as_bytes()));
            let answer = sent.unwrap();
            assert_eq!(answer.status, 415, "{path} {headers:?}: {}", answer.body);
            assert_eq!(answer.header("accept"), Some("application/json"));
        }
    }
}

#[test]
fn a_key_that_is_sent_twice_is_one_order() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let body = order_body(&sku, 1, "pm_card_visa");
    let place = |keys: &[&str]| {
        let headers: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).collect();
        let token = Some(customer.token.as_str());
        let sent = world
            .http
            .json("POST", "/api/v1/orders", token, &headers, &body);
        sent.unwrap()
    };
    let id = |answer: &xtask::http::Response| answer.value()["id"].clone();
    let first = place(&["key-1"]);
    assert_eq!(first.status, 202, "{}", first.body);
    for keys in [&["key-1", "key-1"][..], &["\"key-1\""]] {
        let again = place(keys);
        assert_eq!(id(&again), id(&first), "{keys:?}");
        assert_eq!(
            again.header("idempotent-replayed"),
            Some("true"),
            "{keys:?}"
        );
    }
    let two = place(&["key-1", "key-2"]);
    assert_eq!(two.status, 400, "{}", two.body);
}

#[test]
fn one_answer_has_the_mistakes_of_all_parts() {
    let world = world();
    let _shared = world.shared();
    let customer = Customer::new();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "key-1"),
        ("idempotency-key", "key-2"),
        ("if-match", "\"tag\""),
    ];
    let path = "/api/v1/orders?colour=red";
    let token = Some(customer.token.as_str());
    let answer = world
        .http
        .send("POST", path, token, &headers, Some(b"{\"lines\": 7}"));
    let answer = answer.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.body);
    let errors = answer.value()["errors"].clone();
    let named = ["header", "header", "parameter", "pointer", "pointer"];
    for (error, part) in errors.as_array().unwrap().iter().zip(named) {
        assert!(error[part].is_string(), "{part}: {errors}");
    }
    assert_eq!(errors.as_array().unwrap().len(), named.len(), "{errors}");
}
