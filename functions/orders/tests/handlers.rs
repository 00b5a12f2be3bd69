//! The HTTP functions: whole answers, every way a request can be wrong, and every way users can
//! answer or not.

use std::time::Duration;

use orders::domain::{Ending, MAX_AMOUNT, Order, OrderId, State, TimelineEvent, UserId};
use orders::store::DuePartition;
use orders::users_client::policy;
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey, Verifier, jwks};
use shared_lambda::aws::CALL_TIMEOUT;
use shared_lambda::http::{Request, Response, authenticate, respond};
use test_support::Fault;
use test_support::template::Template;
use uuid::Uuid;

use crate::samples::{ANN, BOB, STATES, after, declined, ends, order_in, placed, usd};
use crate::world::{
    Answer, INVENTORY_QUEUE, PAYMENTS_QUEUE, Question, TRACE, USERS_QUEUE, World, about, admin,
    body, customer, posting, problem, reply, user,
};

fn cups() -> Value {
    json!({
        "lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}],
        "payment_method": "pm_card_visa",
    })
}

/// A problem, whole.
fn told(status: u16, slug: &str, title: &str, detail: &str) -> Value {
    json!({
        "type": format!("urn:waybill:problem:{slug}"),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": format!("urn:waybill:trace:{TRACE}"),
    })
}

fn assert_problem(response: &Response, expected: &Value) {
    assert_eq!(body(response), *expected);
    assert_eq!(json!(response.status), expected["status"]);
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json")
    );
}

fn id_of(response: &Response) -> OrderId {
    OrderId(body(response)["id"].as_str().unwrap().parse().unwrap())
}

// ---- POST /api/v1/orders

#[tokio::test]
async fn an_order_is_taken_and_its_stock_asked_for() {
    let world = World::new();
    let mut request = cups();
    request["expected_total"] = json!({"amount": 3500, "currency": "USD"});
    let response = world.place(&customer(ANN), posting(&request, None)).await;
    let id = "00000000-0000-0000-0000-000000000001";
    assert_eq!(response.status, 202);
    assert_eq!(
        body(&response),
        json!({
            "id": id,
            "user_id": ANN,
            "status": "PENDING",
            "lines": [
                {"sku": "cup", "quantity": 2, "name": null, "unit_price": null},
                {"sku": "pot", "quantity": 1, "name": null, "unit_price": null},
            ],
            "total": null,
            "expected_total": {"amount": 3500, "currency": "USD"},
            "created_at": "2026-01-02T03:04:05.678Z",
            "updated_at": "2026-01-02T03:04:05.678Z",
        })
    );
    assert_eq!(
        response.headers,
        [
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("location", format!("/api/v1/orders/{id}")),
            ("retry-after", "1".to_owned()),
        ]
    );
    let sent = world.aws.sent(INVENTORY_QUEUE);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (&sent[0]["type"], &sent[0]["order_id"]),
        (&json!("ReserveStock"), &json!(id))
    );
    assert_eq!(
        sent[0]["data"],
        json!({"lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}]})
    );
    assert!(world.commands().is_empty());
    assert_eq!(world.order(id_of(&response)).await.state, State::Reserving);
}

#[tokio::test]
async fn users_are_asked_in_the_callers_own_name_and_trace() {
    let world = World::new();
    world.place(&customer(ANN), posting(&cups(), None)).await;
    let questions = world.users.questions();
    assert_eq!(questions.len(), 1);
    let Question {
        uri,
        authorization,
        traceparent,
    } = &questions[0];
    assert_eq!(uri, &format!("https://users.example/api/v1/users/{ANN}"));
    assert_eq!(authorization, &format!("Bearer token-of-{ANN}"));
    assert!(
        traceparent.starts_with(&format!("00-{TRACE}-")),
        "{traceparent}"
    );
}

/// Each wrong body, and the fields it is told about.
fn wrong_bodies() -> Vec<(Value, Vec<(&'static str, &'static str)>)> {
    const NO_QUANTITY: &str = "is 0, not a whole number from 1 to 10000";
    const SKU: &str =
        "is not a sku: 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit";
    const TOKEN: &str = "is not a payment method token: pm_ and at most 125 letters and digits, in words joined by '_', each with a letter and at most 11 digits in a row, for example pm_card_visa";
    const CURRENCY: &str =
        "is not a currency of ISO 4217 with a minor unit, in capital letters, for example USD";
    let with = |pointer: &str, value: Value| {
        let mut body = cups();
        body["expected_total"] = json!({"amount": 3500, "currency": "USD"});
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let without = |field: &str| {
        let mut body = cups();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let extra = |pointer: &str| {
        let mut body = with("/payment_method", json!("pm_card_visa"));
        body.pointer_mut(pointer).unwrap()["admin"] = json!(true);
        body
    };
    let lines = |count: usize| {
        let line = |n| json!({"sku": format!("sku-{n}"), "quantity": 1});
        with("/lines", (0..count).map(line).collect())
    };
    let units = |quantity: Value| with("/lines/0/quantity", quantity);
    let sku = |sku: &str| with("/lines/1/sku", json!(sku));
    let token = |token: &str| with("/payment_method", json!(token));
    vec![
        (json!([]), vec![("", "the body is an array, not an object")]),
        (
            json!("order"),
            vec![("", "the body is a string, not an object")],
        ),
        (json!(null), vec![("", "the body is null, not an object")]),
        (without("lines"), vec![("/lines", "is missing")]),
        (
            without("payment_method"),
            vec![("/payment_method", "is missing")],
        ),
        (
            extra(""),
            vec![(
                "/admin",
                "is not a known field; known here: lines, payment_method, expected_total",
            )],
        ),
        (
            extra("/lines/1"),
            vec![(
                "/lines/1/admin",
                "is not a known field; known here: sku, quantity",
            )],
        ),
        (
            extra("/expected_total"),
            vec![(
                "/expected_total/admin",
                "is not a known field; known here: amount, currency",
            )],
        ),
        (
            with(
                "/lines/0",
                json!({"sku": "cup", "quantity": 1, "unit_price": 1}),
            ),
            vec![(
                "/lines/0/unit_price",
                "is not a known field; known here: sku, quantity",
            )],
        ),
        (
            with("/lines", json!({})),
            vec![("/lines", "is an object, not an array")],
        ),
        (
            with("/lines", Value::Null),
            vec![("/lines", "is null, not an array")],
        ),
        (
            lines(0),
            vec![("/lines", "has 0 entries; an order has 1 to 50")],
        ),
        (
            lines(51),
            vec![("/lines", "has 51 entries; an order has 1 to 50")],
        ),
        (units(json!(0)), vec![("/lines/0/quantity", NO_QUANTITY)]),
        (
            units(json!(-1)),
            vec![(
                "/lines/0/quantity",
                "is -1, not a whole number from 1 to 10000",
            )],
        ),
        (
            units(json!(10_001)),
            vec![(
                "/lines/0/quantity",
                "is 10001, not a whole number from 1 to 10000",
            )],
        ),
        (
            units(json!(i64::MAX)),
            vec![(
                "/lines/0/quantity",
                "is 9223372036854775807, not a whole number from 1 to 10000",
            )],
        ),
        (
            units(json!(u64::MAX)),
            vec![(
                "/lines/0/quantity",
                "is 18446744073709551615, not a whole number from 1 to 10000",
            )],
        ),
        (
            units(json!(1.5)),
            vec![("/lines/0/quantity", "is 1.5, not a whole number")],
        ),
        (
            units(json!("2")),
            vec![("/lines/0/quantity", "is a string, not a whole number")],
        ),
        (
            units(Value::Null),
            vec![("/lines/0/quantity", "is null, not a whole number")],
        ),
        (
            sku("cup"),
            vec![(
                "/lines/1/sku",
                "is in the order already; add the quantities up in one line",
            )],
        ),
        (sku(""), vec![("/lines/1/sku", SKU)]),
        (sku("-cup"), vec![("/lines/1/sku", SKU)]),
        (sku("a cup"), vec![("/lines/1/sku", SKU)]),
        (sku("tasse\u{301}"), vec![("/lines/1/sku", SKU)]),
        (sku(&"x".repeat(65)), vec![("/lines/1/sku", SKU)]),
        (token(""), vec![("/payment_method", TOKEN)]),
        (token("4242424242424242"), vec![("/payment_method", TOKEN)]),
        (token("pm card"), vec![("/payment_method", TOKEN)]),
        (token(&"x".repeat(129)), vec![("/payment_method", TOKEN)]),
        (
            with("/expected_total/currency", json!("usd")),
            vec![("/expected_total/currency", CURRENCY)],
        ),
        (
            with("/expected_total/amount", json!(-1)),
            vec![(
                "/expected_total/amount",
                "is -1, not an amount: whole minor units from 0 to 9007199254740991",
            )],
        ),
        (
            with("/expected_total/amount", json!(u64::MAX)),
            vec![(
                "/expected_total/amount",
                "is 18446744073709551615, not an amount: whole minor units from 0 to 9007199254740991",
            )],
        ),
        (
            with("/expected_total/amount", json!(19.99)),
            vec![("/expected_total/amount", "is 19.99, not a whole number")],
        ),
        (
            json!({
                "lines": [{"sku": "", "quantity": "1"}, {"sku": "cup", "quantity": 0, "note": 1}],
                "payment_method": null,
                "expected_total": {"currency": ""},
                "admin": true,
            }),
            vec![
                (
                    "/admin",
                    "is not a known field; known here: lines, payment_method, expected_total",
                ),
                ("/expected_total/amount", "is missing"),
                ("/lines/0/quantity", "is a string, not a whole number"),
                (
                    "/lines/1/note",
                    "is not a known field; known here: sku, quantity",
                ),
                ("/payment_method", "is null, not a string"),
                ("/lines/0/sku", SKU),
                ("/lines/1/quantity", NO_QUANTITY),
                ("/expected_total/currency", CURRENCY),
            ],
        ),
        (
            json!({
                "lines": [{"sku": "", "quantity": 0}, {"sku": "cup", "quantity": 99_999}],
                "payment_method": "",
                "expected_total": {"amount": -5, "currency": ""},
            }),
            vec![
                ("/lines/0/sku", SKU),
                ("/lines/0/quantity", NO_QUANTITY),
                (
                    "/lines/1/quantity",
                    "is 99999, not a whole number from 1 to 10000",
                ),
                ("/payment_method", TOKEN),
                (
                    "/expected_total/amount",
                    "is -5, not an amount: whole minor units from 0 to 9007199254740991",
                ),
                ("/expected_total/currency", CURRENCY),
            ],
        ),
    ]
}

fn told_fields(errors: &[(&str, &str)]) -> Value {
    let detail = match errors {
        [("", detail)] => (*detail).to_owned(),
        [(pointer, detail)] => format!("{pointer} {detail}"),
        _ => format!("{} things are wrong; see errors", errors.len()),
    };
    let mut problem = told(400, "invalid-request", "The request is not valid", &detail);
    problem["errors"] = errors
        .iter()
        .map(|(pointer, detail)| json!({"pointer": pointer, "detail": detail}))
        .collect();
    problem
}

#[tokio::test]
async fn a_wrong_body_is_told_every_field_that_is_wrong_and_leaves_nothing() {
    let world = World::new();
    for (wrong, errors) in wrong_bodies() {
        let response = world
            .place(&customer(ANN), posting(&wrong, Some("key")))
            .await;
        assert_problem(&response, &told_fields(&errors));
    }
    assert_eq!(world.users.count(), 0);
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn what_is_not_json_is_said_so() {
    let world = World::new();
    let duplicate =
        br#"{"payment_method":"pm_a","payment_method":"pm_b","lines":[{"sku":"cup","quantity":1}]}"#;
    let huge = br#"{"lines":[{"sku":"cup","quantity":1e400}],"payment_method":"pm"}"#;
    let cases: [(&[u8], &str, &str); 5] = [
        (b"", "", "the body is empty; send a JSON object"),
        (b"order", "", "the body is not JSON"),
        (b"{\"lines\": [", "", "the body is not JSON"),
        (b"\xff\xfe", "", "the body is not UTF-8"),
        (duplicate, "/payment_method", "occurs more than once"),
    ];
    for (bytes, pointer, detail) in cases {
        let request = Request::new().with_body(bytes.to_vec());
        let response = world.place(&customer(ANN), request).await;
        assert_eq!(response.status, 400);
        let errors = &body(&response)["errors"];
        assert_eq!(
            (errors[0]["pointer"].as_str(), errors.get(1)),
            (Some(pointer), None)
        );
        let told = errors[0]["detail"].as_str().unwrap();
        assert!(told.starts_with(detail), "{told}");
    }
    // Where numbers and nesting leave the parser's range is the parser's affair; it refuses them.
    for bytes in [
        huge.to_vec(),
        b"[".repeat(60_000),
        b"{\"lines\":".repeat(6_000),
    ] {
        let response = world
            .place(&customer(ANN), Request::new().with_body(bytes))
            .await;
        assert_eq!(response.status, 400);
    }
    let mut trailing = cups().to_string();
    trailing.push_str("{}");
    let response = world
        .place(&customer(ANN), Request::new().with_body(trailing))
        .await;
    assert_eq!(response.status, 400);
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn a_body_over_64_kib_is_too_large_and_the_largest_order_is_not() {
    let world = World::new();
    let mut text = cups().to_string();
    text.push_str(&" ".repeat(65_536 - text.len()));
    let response = world
        .place(&customer(ANN), Request::new().with_body(text.clone()))
        .await;
    assert_eq!(response.status, 202);
    text.push(' ');
    let response = world
        .place(&customer(ANN), Request::new().with_body(text))
        .await;
    assert_problem(
        &response,
        &told(
            413,
            "payload-too-large",
            "The request body is too large",
            "a request body has at most 65536 bytes",
        ),
    );

    let line = |n| json!({"sku": format!("{n:0>64}"), "quantity": 10_000});
    let largest = json!({
        "lines": (0..50).map(line).collect::<Vec<_>>(),
        "payment_method": format!("pm_{}", "x".repeat(125)),
        "expected_total": {"amount": MAX_AMOUNT, "currency": "USD"},
    });
    let key = "k".repeat(255);
    let response = world
        .place(&customer(ANN), posting(&largest, Some(&key)))
        .await;
    assert_eq!(response.status, 202);
}

#[tokio::test]
async fn an_idempotency_key_that_is_none_is_refused() {
    let world = World::new();
    let long = "k".repeat(256);
    for key in ["", "a key", "sch\u{fc}ssel", "\"\"", long.as_str()] {
        let response = world
            .place(&customer(ANN), posting(&cups(), Some(key)))
            .await;
        assert_problem(
            &response,
            &told_fields(&[(
                "Idempotency-Key",
                "is not 1 to 255 visible ASCII characters, in quotes if there is a comma among them; a fresh UUID per request is a good key",
            )]),
        );
    }
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn the_same_key_and_body_is_the_same_order_and_sends_what_it_owes_again() {
    let world = World::new();
    let first = world
        .place(&customer(ANN), posting(&cups(), Some("key-1")))
        .await;
    world.clock.pass(60);
    // The same request, written differently: order of members and white space do not matter.
    let again = r#"{ "payment_method":"pm_card_visa", "expected_total":null,
        "lines":[{"quantity":2,"sku":"cup"},{"quantity":1,"sku":"pot"}] }"#;
    let again = Request::new()
        .with_body(again)
        .with_header("idempotency-key", "key-1");
    let second = world.place(&customer(ANN), again).await;
    assert_eq!(second, first);
    assert_eq!(world.aws.dump(&world.table).len(), 1);
    assert_eq!(world.command_types(), ["ReserveStock", "ReserveStock"]);
    assert_eq!(id_of(&first), OrderId::of_key(UserId(ANN), "key-1"));
}

#[tokio::test]
async fn a_key_that_comes_twice_or_in_quotes_is_the_same_key() {
    for sent in [
        "key-1,key-1",
        "key-1, key-1",
        "\"key-1\"",
        "\"key-1\",\"key-1\"",
    ] {
        let world = World::new();
        let first = world
            .place(&customer(ANN), posting(&cups(), Some(sent)))
            .await;
        assert_eq!(id_of(&first), OrderId::of_key(UserId(ANN), "key-1"));
        let second = world
            .place(&customer(ANN), posting(&cups(), Some("key-1")))
            .await;
        assert_eq!(second, first, "{sent}");
        assert_eq!(world.aws.dump(&world.table).len(), 1);
    }
}

#[tokio::test]
async fn two_keys_in_one_request_are_refused() {
    let world = World::new();
    let response = world
        .place(&customer(ANN), posting(&cups(), Some("key-1,key-2")))
        .await;
    let detail = "occurs more than once, with different values; send it once, in double quotes if the key has a comma";
    assert_problem(&response, &told_fields(&[("Idempotency-Key", detail)]));
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn an_order_under_a_key_as_it_was_once_read_is_found() {
    for sent in ["\"key-1\"", "key-1,key-1"] {
        let world = World::new();
        let first = world
            .place(&customer(ANN), posting(&cups(), Some("other")))
            .await;
        let mut order = world.order(id_of(&first)).await;
        order.id = OrderId::of_key(UserId(ANN), sent);
        world.store().insert(&order).await.unwrap();
        let again = world
            .place(&customer(ANN), posting(&cups(), Some(sent)))
            .await;
        assert_eq!(id_of(&again), order.id, "{sent}");
        let mut other = cups();
        other["payment_method"] = json!("pm_card_mastercard");
        let other = world
            .place(&customer(ANN), posting(&other, Some(sent)))
            .await;
        assert_eq!(other.status, 422);
        assert_eq!(world.aws.dump(&world.table).len(), 2);
    }
}

#[tokio::test]
async fn a_quantity_written_as_a_decimal_is_the_same_order() {
    let world = World::new();
    let first = world
        .place(&customer(ANN), posting(&cups(), Some("key-1")))
        .await;
    for two in ["2.0", "2e0", "0.2E1"] {
        let text = cups()
            .to_string()
            .replace("\"quantity\":2", &format!("\"quantity\":{two}"));
        assert!(text.contains(two));
        let request = Request::new()
            .with_body(text)
            .with_header("idempotency-key", "key-1");
        assert_eq!(world.place(&customer(ANN), request).await, first);
    }
}

#[tokio::test]
async fn a_query_is_refused_where_none_is_taken() {
    let world = World::new();
    let response = world
        .place(
            &customer(ANN),
            posting(&cups(), None).with_query("user_id", "1"),
        )
        .await;
    let detail = "is not a known parameter; none is known here";
    assert_problem(&response, &told_fields(&[("user_id", detail)]));
    let response = world
        .list(
            &customer(ANN),
            Request::new().with_query("email", "a@example.com"),
        )
        .await;
    let detail = "is not a known parameter; known here: status, user_id, limit, cursor";
    assert_problem(&response, &told_fields(&[("email", detail)]));
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn an_order_that_a_form_sends_is_not_taken() {
    let world = World::new();
    let form = posting(&cups(), None).with_header("content-type", "text/plain");
    let response = world.place(&customer(ANN), form).await;
    assert_problem(
        &response,
        &told(
            415,
            "unsupported-media-type",
            "The type of the request body is not supported",
            "the body is not declared as JSON in UTF-8; send Content-Type: application/json",
        ),
    );
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn the_same_key_answers_with_the_order_as_it_now_is_and_sends_only_what_it_owes() {
    for state in STATES {
        let world = World::new();
        let first = world
            .place(&customer(ANN), posting(&cups(), Some("key-1")))
            .await;
        let mut order = order_in(state);
        let before = world.order(id_of(&first)).await;
        (order.id, order.fingerprint, order.version) = (before.id, before.fingerprint, 2);
        world.store().update(&order).await.unwrap();
        world.commands();
        let second = world
            .place(&customer(ANN), posting(&cups(), Some("key-1")))
            .await;
        assert_eq!(second.status, 202);
        assert_eq!(
            second.header("retry-after"),
            (!ends(state)).then_some("1"),
            "{state:?}"
        );
        assert_eq!(body(&second)["status"], order.status().as_str());
        let owed: &[&str] = match state {
            State::Verifying => &["VerifyUser"],
            State::Reserving => &["ReserveStock"],
            State::Releasing(_) => &["ReleaseStock"],
            // This function may not write to payments; the sweeper does.
            State::Charging | State::Refunding(_) => &[],
            State::Confirmed | State::Rejected | State::Cancelled => &[],
        };
        assert_eq!(world.command_types(), owed, "{state:?}");
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused_and_changes_nothing() {
    let world = World::new();
    let first = world
        .place(&customer(ANN), posting(&cups(), Some("key-1")))
        .await;
    let before = world.aws.dump(&world.table);
    world.commands();
    let change = |pointer: &str, value: Value| {
        let mut body = cups();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let mut with_total = cups();
    with_total["expected_total"] = json!({"amount": 1, "currency": "USD"});
    let others = [
        change("/lines/0/quantity", json!(3)),
        change("/lines/0/sku", json!("mug")),
        change("/payment_method", json!("pm_card_mastercard")),
        with_total,
    ];
    for other in others {
        let response = world
            .place(&customer(ANN), posting(&other, Some("key-1")))
            .await;
        assert_problem(
            &response,
            &told(
                422,
                "idempotency-key-reused",
                "The request cannot be carried out as it stands",
                &format!(
                    "this Idempotency-Key was used for another request, which became order {}; use a new key for a new order",
                    id_of(&first).0
                ),
            ),
        );
    }
    assert_eq!(world.aws.dump(&world.table), before);
    assert!(world.commands().is_empty());
}

/// A client may try again what it first sent before a deployment.
#[tokio::test]
async fn the_fingerprint_of_a_request_is_the_same_in_every_version() {
    let world = World::new();
    let body = r#"{"lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}],
                   "payment_method": "pm_card_visa"}"#;
    let request = posting(&serde_json::from_str(body).unwrap(), Some("key-1"));
    let placed = world.place(&customer(ANN), request).await;
    let order = world.order(id_of(&placed)).await;
    assert_eq!(
        order.fingerprint.to_string(),
        "5d570342-7e37-547a-896b-ba8b0d35e4a5"
    );
}

#[tokio::test]
async fn two_users_may_choose_the_same_key_and_one_user_may_order_twice_without() {
    let world = World::new();
    world
        .place(&customer(ANN), posting(&cups(), Some("key-1")))
        .await;
    let bobs = world
        .place(&customer(BOB), posting(&cups(), Some("key-1")))
        .await;
    assert_eq!(body(&bobs)["user_id"], json!(BOB));
    world.place(&customer(ANN), posting(&cups(), None)).await;
    world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(world.aws.dump(&world.table).len(), 4);
}

#[tokio::test]
async fn twenty_identical_requests_at_once_are_one_order() {
    for seed in 0..5 {
        let world = World::new();
        world.aws.interleave(seed);
        let ann = customer(ANN);
        let request = cups();
        let requests = (0..20).map(|_| world.place(&ann, posting(&request, Some("key-1"))));
        let responses = futures_util::future::join_all(requests).await;
        assert!(
            responses.iter().all(|response| response == &responses[0]),
            "seed {seed}"
        );
        assert_eq!(responses[0].status, 202);
        assert_eq!(world.aws.dump(&world.table).len(), 1);
        assert_eq!(world.order(id_of(&responses[0])).await.version, 1);
    }
}

// ---- users, when an order is placed

fn not_allowed() -> Value {
    told(
        403,
        "user-not-allowed",
        "The caller may not do this",
        "this account may not place orders; ask the operator why",
    )
}

#[tokio::test]
async fn a_user_who_may_not_order_is_told_so_and_nothing_is_written() {
    let no = [user(ANN, "deactivated"), problem(403), problem(404)];
    for answer in no {
        let world = World::new();
        world.users.always(answer);
        let response = world
            .place(&customer(ANN), posting(&cups(), Some("key")))
            .await;
        assert_problem(&response, &not_allowed());
        assert!(world.aws.dump(&world.table).is_empty());
        assert!(world.commands().is_empty());
        assert_eq!(world.aws.writes(), 0);
    }
}

#[tokio::test]
async fn an_order_taken_before_its_user_was_refused_is_still_answered_with_itself() {
    let world = World::new();
    let first = world
        .place(&customer(ANN), posting(&cups(), Some("key-1")))
        .await;
    world.clock.pass(31);
    world.users.always(user(ANN, "deactivated"));
    let second = world
        .place(&customer(ANN), posting(&cups(), Some("key-1")))
        .await;
    assert_eq!(second, first);
    let mut other = cups();
    other["payment_method"] = json!("pm_other");
    let reused = world
        .place(&customer(ANN), posting(&other, Some("key-1")))
        .await;
    assert_eq!(reused.status, 422);
}

#[tokio::test]
async fn another_users_order_under_the_same_id_is_never_answered() {
    for (user_is, status) in [("active", 500), ("deactivated", 403)] {
        let world = World::new();
        let mut order = order_in(State::Confirmed);
        order.id = OrderId::of_key(UserId(ANN), "key-1");
        order.user_id = UserId(BOB);
        world.put(&order).await;
        let first = world
            .place(&customer(ANN), posting(&cups(), Some("other")))
            .await;
        order.fingerprint = world.order(id_of(&first)).await.fingerprint;
        order.version += 1;
        world.store().update(&order).await.unwrap();
        world.clock.pass(31);
        world.users.always(user(ANN, user_is));
        let response = world
            .place(&customer(ANN), posting(&cups(), Some("key-1")))
            .await;
        assert_eq!(response.status, status);
        assert!(!response.body.unwrap().contains(&BOB.to_string()));
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn users_out_of_reach_do_not_stop_an_order_the_saga_asks_instead() {
    let gives = |status, body: &str| Answer::Gives(status, body.to_owned());
    let id = ANN.to_string();
    let unclear = [
        ("refused connection", Answer::Breaks, 2),
        ("no answer", Answer::NeverComes, 2),
        ("500", gives(500, "{}"), 2),
        ("503", problem(503), 2),
        ("401", problem(401), 1),
        ("429", problem(429), 2),
        ("not JSON", gives(200, "<html>"), 1),
        ("empty", gives(200, ""), 1),
        ("no status", gives(200, &json!({"id": id}).to_string()), 1),
        ("somebody else", user(BOB, "active"), 1),
        ("a redirect", gives(302, ""), 1),
        ("no content", gives(204, ""), 1),
        ("teapot", problem(418), 1),
        (
            "the gateway's own 404",
            gives(404, r#"{"message":"Not Found"}"#),
            1,
        ),
        (
            "the gateway's own 403",
            gives(403, r#"{"message":"Forbidden"}"#),
            1,
        ),
        ("too long", gives(200, &" ".repeat(300_000)), 2),
    ];
    for (name, answer, tries) in unclear {
        let world = World::new();
        world.users.always(answer);
        let response = world.place(&customer(ANN), posting(&cups(), None)).await;
        assert_eq!(response.status, 202, "{name}");
        assert_eq!(body(&response)["status"], "PENDING");
        assert_eq!(world.users.count(), tries, "{name}");
        assert_eq!(world.order(id_of(&response)).await.state, State::Verifying);
        let sent = world.aws.sent(USERS_QUEUE);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0]["type"], "VerifyUser");
        assert_eq!(sent[0]["data"], json!({"user_id": ANN}));
        assert!(world.commands().is_empty());
    }
}

#[tokio::test]
async fn a_try_that_fails_is_made_again_before_the_queue_is_used() {
    for answer in [Answer::Breaks, Answer::NeverComes, problem(503)] {
        let world = World::new();
        world.users.next(answer);
        let response = world.place(&customer(ANN), posting(&cups(), None)).await;
        assert_eq!(world.users.count(), 2);
        assert_eq!(world.order(id_of(&response)).await.state, State::Reserving);
    }
}

#[tokio::test]
async fn users_that_keep_failing_are_left_alone_for_a_moment() {
    let world = World::new();
    world.users.always(Answer::Breaks);
    for _ in 0..5 {
        world.place(&customer(BOB), posting(&cups(), None)).await;
    }
    assert_eq!(world.users.count(), 10);
    let response = world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(world.users.count(), 10, "the breaker is open");
    assert_eq!(world.order(id_of(&response)).await.state, State::Verifying);

    world.clock.pass(10);
    world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(
        world.users.count(),
        12,
        "one question is let through after the pause"
    );
    world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(world.users.count(), 12);

    world.clock.pass(10);
    world.users.always(user(ANN, "active"));
    let response = world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(world.users.count(), 13);
    assert_eq!(world.order(id_of(&response)).await.state, State::Reserving);
}

#[tokio::test]
async fn a_permission_is_believed_for_thirty_seconds_and_only_for_its_user() {
    let world = World::new();
    world.place(&customer(ANN), posting(&cups(), None)).await;
    world.clock.pass(29);
    world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(world.users.count(), 1);
    world.place(&customer(BOB), posting(&cups(), None)).await;
    assert_eq!(world.users.count(), 2);
    world.clock.pass(1);
    world.users.always(user(ANN, "deactivated"));
    let response = world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!((world.users.count(), response.status), (3, 403));
}

#[tokio::test]
async fn a_no_and_a_silence_are_not_remembered() {
    let world = World::new();
    for answer in [
        user(ANN, "deactivated"),
        problem(404),
        Answer::Gives(200, String::new()),
    ] {
        world.users.next(answer);
        world.place(&customer(ANN), posting(&cups(), None)).await;
    }
    let response = world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(world.users.count(), 4);
    assert_eq!(world.order(id_of(&response)).await.state, State::Reserving);
}

#[tokio::test]
async fn an_order_whose_message_cannot_be_sent_is_taken_and_the_sweeper_sends_it() {
    let faults = [
        Fault::BeforeEffect,
        Fault::Throttle,
        Fault::PartialSend(vec![0]),
    ];
    for fault in faults {
        let world = World::new();
        world.aws.fault_on("sqs:SendMessageBatch", fault);
        let response = world.place(&customer(ANN), posting(&cups(), None)).await;
        assert_eq!((response.status, world.aws.fired()), (202, 1));
        assert!(world.commands().is_empty());
        world.clock.pass(30);
        assert_eq!(
            world.sweep().await.unwrap(),
            json!({
                "due": 1,
                "sent": 1,
                "parked": 0,
                "given_up": 0,
                "unreadable": 0,
                "cut_short": false,
                "parked_now": 0,
                "held_back": 0,
            })
        );
        assert_eq!(world.command_types(), ["ReserveStock"]);
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_written_is_503_and_the_same_key_tries_again() {
    let faults = [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle];
    for fault in faults {
        let world = World::new();
        world.aws.fault_on("dynamodb:PutItem", fault);
        let response = world
            .place(&customer(ANN), posting(&cups(), Some("key")))
            .await;
        assert_problem(
            &response,
            &told(
                503,
                "unavailable",
                "The service is busy or not reachable",
                "nothing was lost; try again shortly, with the same Idempotency-Key where you sent one",
            ),
        );
        assert_eq!(response.header("retry-after"), Some("1"));
        assert!(world.commands().is_empty());
        let response = world
            .place(&customer(ANN), posting(&cups(), Some("key")))
            .await;
        assert_eq!(response.status, 202);
        assert_eq!(world.aws.dump(&world.table).len(), 1);
        assert_eq!(world.command_types(), ["ReserveStock"]);
    }
}

#[tokio::test]
async fn without_a_key_nobody_is_told_to_just_try_again_what_may_have_been_taken() {
    let faults = [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle];
    for fault in faults {
        let world = World::new();
        world.aws.fault_on("dynamodb:PutItem", fault);
        let response = world.place(&customer(ANN), posting(&cups(), None)).await;
        let problem = body(&response);
        assert_eq!(
            (response.status, &problem["type"]),
            (503, &json!("urn:waybill:problem:outcome-unknown"))
        );
        assert_eq!(response.header("retry-after"), None);
        // What it says to ask for answers the question.
        let detail = problem["detail"].as_str().unwrap();
        let id = detail.split("/api/v1/orders/").nth(1).unwrap();
        let id: Uuid = id[..36].parse().unwrap();
        let taken = !world.aws.dump(&world.table).is_empty();
        let asked = world.get(&customer(ANN), about(id)).await;
        assert_eq!(asked.status, if taken { 200 } else { 404 });
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_queue_that_does_not_answer() {
    let world = World::new();
    world.never_answer(|call| call.service == "sqs");
    let began = tokio::time::Instant::now();
    let response = world.place(&customer(ANN), posting(&cups(), None)).await;
    assert_eq!(response.status, 202);
    let response = world
        .cancel(&customer(ANN), about(id_of(&response).0))
        .await;
    assert_eq!(response.status, 202);
    assert_eq!(began.elapsed(), Duration::from_secs(4));
}

/// One that is stopped cannot say whether the order was taken, and without a key nobody may then
/// just ask again.
#[tokio::test(start_paused = true)]
async fn whatever_placing_waits_for_ends_before_its_function_does() {
    let users = policy();
    let users = users.timeout * users.attempts + users.backoff;
    // The order, and the one that was there before.
    let table = 2 * CALL_TIMEOUT;
    let world = World::new();
    world.never_answer(|call| call.service == "sqs");
    let began = tokio::time::Instant::now();
    world.place(&customer(ANN), posting(&cups(), None)).await;
    let waited = users + table + began.elapsed();
    let template = Template::of_service("orders");
    let function = template.properties("OrdersPlaceFunction", "AWS::Serverless::Function");
    let limit = Duration::from_secs(function["Timeout"].as_u64().unwrap());
    assert!(waited < limit, "{waited:?} of {limit:?}");
}

// ---- how much a customer may have open

/// Ann's order under a key, of one mug.
async fn mug(world: &World, key: Option<&str>) -> Response {
    let mug = json!({
        "lines": [{"sku": "mug", "quantity": 1}],
        "payment_method": "pm_card_visa",
    });
    world.place(&customer(ANN), posting(&mug, key)).await
}

#[tokio::test]
async fn one_order_too_many_is_429_and_leaves_nothing() {
    let world = World::new();
    for key in ["0", "1", "2", "3", "4"] {
        assert_eq!(mug(&world, Some(key)).await.status, 202);
    }
    world.commands();
    let (rows, writes) = (world.aws.dump(&world.table), world.aws.writes());
    world.clock.pass(2);
    for key in [Some("5"), None] {
        let response = mug(&world, key).await;
        assert_problem(
            &response,
            &told(
                429,
                "too-many-unpaid-orders",
                "Too many requests",
                "5 of your orders are not paid for yet, and 5 may be open at once; try again in 2 seconds",
            ),
        );
        assert_eq!(response.header("retry-after"), Some("2"));
    }
    assert_eq!(world.aws.dump(&world.table), rows);
    assert_eq!((world.aws.writes(), world.commands().len()), (writes, 0));
    // It is nobody else's limit.
    let bobs = world
        .place(&customer(BOB), posting(&cups(), Some("5")))
        .await;
    assert_eq!(bobs.status, 202);
    // Once one of the five has ended, there is room again.
    let first = OrderId::of_key(UserId(ANN), "0");
    world.cancel(&customer(ANN), about(first.0)).await;
    let released = reply(first, "StockReleased", &json!({}));
    world.deliver(&released).await.unwrap();
    world.clock.pass(2);
    assert_eq!(
        mug(&world, Some("5")).await.status,
        429,
        "one is unpaid now"
    );
}

#[tokio::test]
async fn a_repeat_is_never_429_and_sends_what_the_order_owes() {
    let world = World::new();
    let mut first = Vec::new();
    for key in ["0", "1", "2", "3", "4"] {
        first.push(mug(&world, Some(key)).await);
    }
    world.commands();
    assert_eq!(mug(&world, Some("5")).await.status, 429);
    assert_eq!(mug(&world, Some("0")).await, first[0]);
    assert_eq!(world.command_types(), ["ReserveStock"]);
    let reused = world
        .place(&customer(ANN), posting(&cups(), Some("0")))
        .await;
    assert_eq!(reused.status, 422);
    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    assert_eq!(mug(&world, Some("0")).await.status, 503);
    assert_eq!(mug(&world, Some("0")).await.status, 202);
}

#[tokio::test]
async fn after_four_declined_orders_the_next_one_waits() {
    let world = with_declined(4).await;
    world.clock.pass(12);
    let response = mug(&world, None).await;
    assert_eq!(
        (response.status, response.header("retry-after")),
        (429, Some("20"))
    );
    world.clock.pass(19);
    assert_eq!(mug(&world, None).await.status, 429);
    world.clock.pass(1);
    assert_eq!(mug(&world, None).await.status, 202);
    // What is older than a day is forgotten.
    let world = with_declined(50).await;
    world.clock.pass(3_601);
    assert_eq!(mug(&world, None).await.status, 429);
    world.clock.set(after(24 * 3600) + Duration::from_millis(1));
    assert_eq!(mug(&world, None).await.status, 202);
}

#[tokio::test]
async fn a_customer_without_recent_orders_costs_one_read_and_no_write() {
    let world = World::new();
    world.put(&placed(1 << 64)).await;
    world.clock.pass(25 * 3600);
    world.aws.clear_calls();
    mug(&world, Some("key")).await;
    let calls = |world: &World| {
        let calls = world.aws.calls();
        calls.iter().map(|call| call.name()).collect::<Vec<_>>()
    };
    assert_eq!(
        calls(&world),
        ["dynamodb:Query", "dynamodb:PutItem", "sqs:SendMessageBatch"]
    );
    let query = &world.aws.calls()[0].request;
    assert_eq!(
        (&query["IndexName"], &query["Limit"]),
        (&json!("by_user"), &json!(50))
    );
    world.aws.clear_calls();
    mug(&world, Some("another")).await;
    assert_eq!(
        calls(&world),
        [
            "dynamodb:Query",
            "dynamodb:BatchGetItem",
            "dynamodb:PutItem",
            "sqs:SendMessageBatch"
        ]
    );
    let read = &world.aws.calls()[1].request["RequestItems"][&world.table]["Keys"];
    assert_eq!(read.as_array().unwrap().len(), 1, "{read}");
}

#[tokio::test(start_paused = true)]
async fn an_index_that_fails_or_does_not_answer_stops_no_order() {
    for action in ["dynamodb:Query", "dynamodb:BatchGetItem"] {
        for fault in [Fault::BeforeEffect, Fault::Throttle] {
            let world = with_declined(50).await;
            assert_eq!(mug(&world, None).await.status, 429);
            world.aws.fault_on(action, fault);
            assert_eq!(mug(&world, None).await.status, 202, "{action}");
            assert_eq!(world.aws.fired(), 1);
        }
    }
    let world = with_declined(50).await;
    world.never_answer(|call| call.action == "Query");
    let began = tokio::time::Instant::now();
    assert_eq!(mug(&world, None).await.status, 202);
    assert_eq!(began.elapsed(), Duration::from_millis(1500));
}

async fn with_declined(count: u128) -> World {
    let world = World::new();
    for number in 0..count {
        // Away from the ids that the world gives.
        world.put(&declined(number << 64)).await;
    }
    world
}

#[tokio::test]
async fn an_order_that_cannot_be_read_counts_for_nothing() {
    let world = with_declined(4).await;
    assert_eq!(mug(&world, None).await.status, 429);
    let mut row = world.aws.dump(&world.table).remove(0);
    row["state"] = json!("lost");
    world.aws.put_raw(&world.table, row);
    assert_eq!(mug(&world, None).await.status, 202);
}

// ---- GET /api/v1/orders/{id} and /timeline

#[tokio::test]
async fn an_order_is_shown_whole_to_its_owner_and_to_an_administrator() {
    let world = World::new();
    let mut order = order_in(State::Rejected);
    order.expected_total = Some(usd(3400));
    world.put(&order).await;
    for caller in [customer(ANN), admin()] {
        let response = world.get(&caller, about(order.id.0)).await;
        assert_eq!(response.status, 200);
        assert_eq!(
            body(&response),
            json!({
                "id": order.id.0,
                "user_id": ANN,
                "status": "REJECTED",
                "lines": [
                    {"sku": "cup", "quantity": 2, "name": null,
                     "unit_price": {"amount": 1250, "currency": "USD"}},
                    {"sku": "pot", "quantity": 1, "name": null,
                     "unit_price": {"amount": 1000, "currency": "USD"}},
                ],
                "total": {"amount": 3500, "currency": "USD"},
                "expected_total": {"amount": 3400, "currency": "USD"},
                "failure": {
                    "code": "timed_out",
                    "detail": "no answer about the payment after 5 attempts",
                },
                "created_at": "2026-01-02T03:04:05.678Z",
                "updated_at": "2026-01-02T03:04:08.678Z",
            })
        );
    }
}

#[tokio::test]
async fn a_timeline_is_shown_whole_to_its_owner_and_to_an_administrator() {
    let world = World::new();
    let order = order_in(State::Charging);
    world.put(&order).await;
    for caller in [customer(ANN), admin()] {
        let response = world.timeline(&caller, about(order.id.0)).await;
        assert_eq!(response.status, 200);
        let at = "2026-01-02T03:04:05.678Z";
        assert_eq!(
            body(&response),
            json!({
                "items": [
                    {"at": at, "event": "order_placed"},
                    {"at": at, "event": "user_verified"},
                    {"at": at, "event": "reserve_stock_requested", "attempt": 1},
                    {
                        "at": "2026-01-02T03:04:08.678Z",
                        "event": "price_changed",
                        "detail": "a line with words",
                    },
                ],
                "next_cursor": null,
            })
        );
    }
}

#[tokio::test]
async fn an_orders_status_hides_the_finer_steps() {
    let world = World::new();
    let expected = [
        "PENDING",
        "PENDING",
        "PENDING",
        "CONFIRMED",
        "PENDING",
        "CANCELLING",
        "PENDING",
        "CANCELLING",
        "REJECTED",
        "CANCELLED",
    ];
    for (state, status) in STATES.into_iter().zip(expected) {
        let order = order_in(state);
        world.put(&order).await;
        let response = world.get(&customer(ANN), about(order.id.0)).await;
        assert_eq!(body(&response)["status"], status, "{state:?}");
    }
}

#[tokio::test]
async fn somebody_elses_order_and_none_are_the_same_404() {
    let world = World::new();
    let order = order_in(State::Charging);
    world.put(&order).await;
    let before = world.aws.dump(&world.table);
    for (caller, id) in [
        (customer(BOB), order.id.0),
        (customer(ANN), Uuid::from_u128(404)),
        (admin(), Uuid::from_u128(404)),
    ] {
        let expected = told(
            404,
            "not-found",
            "There is no such resource",
            &format!("there is no order {id}"),
        );
        assert_problem(&world.get(&caller, about(id)).await, &expected);
        assert_problem(&world.timeline(&caller, about(id)).await, &expected);
        assert_problem(&world.cancel(&caller, about(id)).await, &expected);
    }
    assert_eq!(world.aws.dump(&world.table), before);
    assert!(world.commands().is_empty());
}

#[tokio::test]
async fn an_id_that_is_no_uuid_is_said_so() {
    let world = World::new();
    for id in [
        "",
        "1",
        "not-a-uuid",
        "00000000-0000-0000-0000-00000000000g",
        "ORDER#1",
    ] {
        let expected = told_fields(&[(
            "id",
            "is not a UUID, for example 01890a5d-ac96-774b-bcce-b302099a8057",
        )]);
        assert_problem(&world.get(&customer(ANN), about(id)).await, &expected);
        assert_problem(&world.timeline(&customer(ANN), about(id)).await, &expected);
        assert_problem(&world.cancel(&customer(ANN), about(id)).await, &expected);
    }
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn a_corrupt_order_is_a_500_that_tells_the_caller_nothing_of_it() {
    let world = World::new();
    let order = order_in(State::Charging);
    world.put(&order).await;
    let mut row = world.aws.dump(&world.table).remove(0);
    row["state"] = json!("dreaming");
    world.aws.put_raw(&world.table, row);
    let response = world.get(&customer(ANN), about(order.id.0)).await;
    assert_problem(
        &response,
        &told(
            500,
            "internal",
            "Something went wrong here",
            "the failure has been logged; name the instance when you report it",
        ),
    );
}

#[tokio::test]
async fn a_caller_without_a_good_token_gets_no_further() {
    let world = World::new();
    let order = placed(1);
    world.put(&order).await;
    let key = SigningKey::generate();
    let (issuer, audience) = ("https://auth.example", "waybill-api");
    let verifier = Verifier::new(&jwks(&[key.public_jwk()]), issuer, audience).unwrap();
    let issue = |key: &SigningKey, audience: &str, now| {
        Issuer::new(key, issuer, audience)
            .issue(ANN, Role::Customer, now, Uuid::from_u128(1))
            .token
    };
    let good = issue(&key, audience, world.clock.now());
    let bad = [
        None,
        Some("Basic YW5uOmFubg==".to_owned()),
        Some("Bearer nonsense".to_owned()),
        Some(format!(
            "Bearer {}",
            issue(&key, "another-api", world.clock.now())
        )),
        Some(format!(
            "Bearer {}",
            issue(&SigningKey::generate(), audience, world.clock.now())
        )),
        Some(format!("Bearer {}", issue(&key, audience, after(-901)))),
    ];
    let store = world.store();
    let get = async |authorization: Option<String>| {
        let mut request = about(order.id.0);
        if let Some(value) = authorization {
            request = request.with_header("authorization", value);
        }
        respond(&world.origin, request, async |context, request| {
            let caller = authenticate(&verifier, &request, context.now)?;
            orders::handlers::get::handle(&store, caller, context, request).await
        })
        .await
    };
    world.aws.clear_calls();
    for authorization in bad {
        let response = get(authorization.clone()).await;
        assert_eq!(response.status, 401, "{authorization:?}");
        assert_eq!(body(&response)["type"], "urn:waybill:problem:unauthorized");
        let challenge = match authorization {
            None => "Bearer realm=\"waybill\"",
            Some(_) => "Bearer realm=\"waybill\", error=\"invalid_token\"",
        };
        assert_eq!(response.header("www-authenticate"), Some(challenge));
    }
    assert!(world.aws.calls().is_empty());
    assert_eq!(get(Some(format!("Bearer {good}"))).await.status, 200);
}

// ---- GET /api/v1/orders

async fn with_listed(world: &World) -> Vec<Order> {
    let states = [State::Confirmed, State::Charging, State::Cancelled];
    let mut orders = Vec::new();
    for (number, state) in states.into_iter().enumerate() {
        let mut order = order_in(state);
        order.created_at = after(i64::try_from(number).unwrap());
        world.put(&order).await;
        orders.insert(0, order);
    }
    let mut bobs = order_in(State::Rejected);
    bobs.user_id = UserId(BOB);
    world.put(&bobs).await;
    orders
}

fn ids(response: &Response) -> Vec<OrderId> {
    let id = |item: &Value| OrderId(item["id"].as_str().unwrap().parse().unwrap());
    body(response)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(id)
        .collect()
}

#[tokio::test]
async fn a_list_shows_whole_orders_newest_first_page_by_page() {
    let world = World::new();
    let orders = with_listed(&world).await;
    let whole = world.list(&customer(ANN), Request::new()).await;
    assert_eq!(whole.status, 200);
    let mut expected = Vec::new();
    for order in &orders {
        expected.push(body(&world.get(&customer(ANN), about(order.id.0)).await));
    }
    assert_eq!(
        body(&whole),
        json!({"items": expected, "next_cursor": null})
    );

    let page = Request::new().with_query("limit", "2");
    let first = world.list(&customer(ANN), page.clone()).await;
    assert_eq!(ids(&first), [orders[0].id, orders[1].id]);
    let cursor = body(&first)["next_cursor"].as_str().unwrap().to_owned();
    let second = world
        .list(&customer(ANN), page.with_query("cursor", cursor))
        .await;
    assert_eq!(
        body(&second),
        json!({"items": [expected[2]], "next_cursor": null})
    );
}

#[tokio::test]
async fn a_list_can_be_of_one_status() {
    let world = World::new();
    let orders = with_listed(&world).await;
    let of = async |status: &str| {
        world
            .list(&customer(ANN), Request::new().with_query("status", status))
            .await
    };
    assert_eq!(ids(&of("PENDING").await), [orders[1].id]);
    assert_eq!(ids(&of("CANCELLED").await), [orders[0].id]);
    assert_eq!(ids(&of("REJECTED").await), []);
}

#[tokio::test]
async fn an_order_that_cannot_be_read_does_not_hide_the_others_of_its_list() {
    let world = World::new();
    let orders = with_listed(&world).await;
    for mut row in world.aws.dump(&world.table) {
        if row["id"] == orders[1].id.0.to_string() {
            row["lines"] = json!("none of your business");
            world.aws.put_raw(&world.table, row);
        }
    }
    let listed = world.list(&customer(ANN), Request::new()).await;
    assert_eq!(ids(&listed), [orders[0].id, orders[2].id]);
    let first = Request::new().with_query("limit", "2");
    let first = world.list(&customer(ANN), first).await;
    assert_eq!(ids(&first), [orders[0].id, orders[2].id]);
}

#[tokio::test]
async fn what_an_operator_did_is_on_the_timeline_and_their_words_are_not_the_customers() {
    let world = World::new();
    let mut order = order_in(State::Refunding(Ending::Cancelled));
    (order.attempt, order.parked) = (6, true);
    world.put(&order).await;
    let id = order.id.0;
    let abandon = json!({"action": "abandon", "order_id": id, "step": "refund",
                         "reason": "paid back by bank transfer", "by": "olga"});
    world.admin(abandon).await.unwrap();
    let entry = async |caller| {
        let timeline = body(&world.timeline(&caller, about(id)).await);
        let items = timeline["items"].as_array().unwrap().clone();
        let found = items
            .iter()
            .find(|item| item["event"] == "refund_abandoned");
        found.unwrap().clone()
    };
    assert_eq!(
        entry(admin()).await["detail"],
        "by olga: paid back by bank transfer"
    );
    assert_eq!(entry(customer(ANN)).await.get("detail"), None);
}

#[tokio::test]
async fn only_an_administrator_lists_another_users_orders() {
    let world = World::new();
    with_listed(&world).await;
    let of = |user: Uuid| Request::new().with_query("user_id", user.to_string());
    assert_eq!(ids(&world.list(&customer(ANN), of(ANN)).await).len(), 3);
    assert_eq!(ids(&world.list(&admin(), of(BOB)).await).len(), 1);
    assert_eq!(ids(&world.list(&admin(), Request::new()).await).len(), 0);
    assert_problem(
        &world.list(&customer(ANN), of(BOB)).await,
        &told(
            403,
            "admin-only",
            "The caller may not do this",
            "only an administrator may list another user's orders; leave user_id out to list your own",
        ),
    );
}

#[tokio::test]
async fn a_wrong_parameter_of_a_list_is_named() {
    let world = World::new();
    const CURSOR: &str = "is not a cursor of this list; take `next_cursor` from the page before, or leave it out to begin again";
    const STATUS: &str = "is not one of PENDING, CONFIRMED, REJECTED, CANCELLING, CANCELLED";
    let cases = [
        ("status", "pending", STATUS),
        ("status", "", STATUS),
        ("limit", "0", "is 0, not a whole number from 1 to 100"),
        ("limit", "101", "is 101, not a whole number from 1 to 100"),
        ("limit", "-1", "is -1, not a whole number from 1 to 100"),
        ("limit", "ten", "is not a whole number from 1 to 100"),
        ("cursor", "!!!", CURSOR),
        ("cursor", "e30", CURSOR),
        // A cursor of ours in form, but a place no list has: "", and one that is not a place.
        ("cursor", "IiI", CURSOR),
        ("cursor", "ImFiYyI", CURSOR),
        // The form of ours, and a sort key that DynamoDB does not take.
        ("cursor", "eyJwbGFjZWQiOiIifQ", CURSOR),
        ("user_id", "ann", "is not a UUID"),
    ];
    for (name, value, detail) in cases {
        let response = world
            .list(&customer(ANN), Request::new().with_query(name, value))
            .await;
        assert_problem(&response, &told_fields(&[(name, detail)]));
    }
}

// ---- POST /api/v1/orders/{id}/cancel

#[tokio::test]
async fn a_cancel_is_carried_out_or_too_late_depending_on_the_state() {
    for state in STATES {
        for caller in [customer(ANN), admin()] {
            let world = World::new();
            let order = order_in(state);
            world.put(&order).await;
            let before = world.aws.dump(&world.table);
            world.clock.pass(5);
            let response = world.cancel(&caller, about(order.id.0)).await;
            // What becomes of it, and what is sent for that.
            let outcome: Option<(State, &[&str])> = match state {
                State::Verifying => Some((State::Cancelled, &[])),
                State::Reserving => Some((State::Releasing(Ending::Cancelled), &["ReleaseStock"])),
                State::Charging | State::Confirmed => {
                    Some((State::Refunding(Ending::Cancelled), &["RefundPayment"]))
                }
                // Asked for again: the answer again, and the message again.
                State::Refunding(Ending::Cancelled) => Some((state, &["RefundPayment"])),
                State::Releasing(Ending::Cancelled) => Some((state, &["ReleaseStock"])),
                State::Cancelled => Some((state, &[])),
                State::Refunding(Ending::Rejected)
                | State::Releasing(Ending::Rejected)
                | State::Rejected => None,
            };
            let Some((becomes, sends)) = outcome else {
                assert_problem(
                    &response,
                    &told(
                        409,
                        "too-late",
                        "The resource does not allow this now",
                        &format!(
                            "order {}: the order is rejected; there is nothing left to cancel",
                            order.id.0
                        ),
                    ),
                );
                assert_eq!(world.aws.dump(&world.table), before);
                assert!(world.commands().is_empty());
                continue;
            };
            let now = world.order(order.id).await;
            assert_eq!(now.state, becomes, "{state:?}");
            assert_eq!(response.status, 202);
            let moves = becomes != State::Cancelled;
            assert_eq!(
                response.header("retry-after"),
                moves.then_some("1"),
                "{state:?}"
            );
            let mut shown = world.get(&caller, about(order.id.0)).await;
            assert_eq!(body(&response), body(&shown));
            shown.headers.clear();
            assert_eq!(world.command_types(), sends, "{state:?}");
            if becomes == state {
                assert_eq!(world.aws.dump(&world.table), before);
                continue;
            }
            // Whoever reads the timeline sees when it was not the customer.
            let mut noted = now.timeline.iter().rev();
            let noted = noted.find(|entry| entry.event == TimelineEvent::CancelRequested);
            let by_another = caller.is_admin().then_some("by an administrator");
            assert_eq!(noted.unwrap().detail.as_deref(), by_another);
        }
    }
}

#[tokio::test]
async fn a_cancelled_order_is_shown_whole() {
    let world = World::new();
    let order = placed(7);
    world.put(&order).await;
    world.clock.pass(5);
    let response = world.cancel(&customer(ANN), about(order.id.0)).await;
    assert_eq!(
        body(&response),
        json!({
            "id": order.id.0,
            "user_id": ANN,
            "status": "CANCELLING",
            "lines": [
                {"sku": "cup", "quantity": 2, "name": null, "unit_price": null},
                {"sku": "pot", "quantity": 1, "name": null, "unit_price": null},
            ],
            "total": null,
            "created_at": "2026-01-02T03:04:05.678Z",
            "updated_at": "2026-01-02T03:04:10.678Z",
        })
    );
}

#[tokio::test]
async fn a_cancel_whose_message_cannot_be_sent_is_taken_and_the_sweeper_sends_it() {
    let world = World::new();
    let order = order_in(State::Confirmed);
    world.put(&order).await;
    world
        .aws
        .fault_on("sqs:SendMessageBatch", Fault::BeforeEffect);
    let response = world.cancel(&customer(ANN), about(order.id.0)).await;
    assert_eq!((response.status, world.aws.fired()), (202, 1));
    assert!(world.commands().is_empty());
    world.clock.pass(30);
    world.sweep().await.unwrap();
    assert_eq!(world.command_types(), ["RefundPayment"]);
}

#[tokio::test]
async fn a_cancel_that_races_with_a_reply_ends_one_way_and_owes_the_right_thing() {
    let mut seen = Vec::new();
    for seed in 0..40 {
        let world = World::new();
        let order = order_in(State::Charging);
        world.put(&order).await;
        let charged = json!({"payment_id": "p", "amount": {"amount": 3500, "currency": "USD"}});
        let charged = reply(order.id, "PaymentCharged", &charged);
        world.aws.interleave(seed);
        world.aws.clear_calls();
        let ann = customer(ANN);
        let (response, delivered) = futures_util::future::join(
            world.cancel(&ann, about(order.id.0)),
            world.deliver(&charged),
        )
        .await;
        delivered.unwrap();
        assert_eq!(response.status, 202);
        let after = world.order(order.id).await;
        // Confirmed first or overtaken: either way the charge is to be taken back.
        assert_eq!(
            after.state,
            State::Refunding(Ending::Cancelled),
            "seed {seed}"
        );
        let refunds = world.aws.sent(PAYMENTS_QUEUE);
        assert!(
            refunds
                .iter()
                .all(|command| command["type"] == "RefundPayment")
        );
        assert!(!refunds.is_empty());
        seen.push(after.version - order.version);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2], "both orders of events were to be seen");
}

#[tokio::test]
async fn a_cancel_that_is_overtaken_again_and_again_says_try_later() {
    let world = World::new();
    let order = order_in(State::Charging);
    world.put(&order).await;
    // Every write but a foreign one meets a version that has just moved on.
    let (aws, table) = (world.aws.clone(), world.table.clone());
    world.aws.on_call(move |call| {
        if call.name() == "dynamodb:PutItem" {
            let mut row = aws.dump(&table).remove(0);
            row["version"] = json!(row["version"].as_u64().unwrap() + 1);
            aws.put_raw(&table, row);
        }
        async { None }
    });
    let response = world.cancel(&customer(ANN), about(order.id.0)).await;
    assert_eq!(response.status, 503);
    assert_eq!(world.aws.writes(), 9, "the first write and eight tries");
    assert!(world.commands().is_empty());
}

#[tokio::test]
async fn a_parked_orders_customer_still_reads_it_and_may_ask_again() {
    let world = World::new();
    let mut order = order_in(State::Releasing(Ending::Cancelled));
    (order.parked, order.attempt) = (true, 6);
    world.put(&order).await;
    let response = world.cancel(&customer(ANN), about(order.id.0)).await;
    assert_eq!(response.status, 202);
    assert_eq!(world.command_types(), ["ReleaseStock"]);
    let parked = world
        .store()
        .due(DuePartition::Parked, Some(after(60)), 9, None)
        .await
        .unwrap();
    let parked: Vec<OrderId> = parked.entries.iter().map(|due| due.id).collect();
    assert_eq!(parked, [order.id]);
    assert!(!ends(order.state));
}
