//! The HTTP functions: whole responses, invalid requests, and every answer of the users service.

use std::time::Duration;

use orders::domain::{
    CancelledBy, Decision, Ending, Event, MAX_AMOUNT, Order, OrderId, Participant, State,
    TimelineEvent, UserId, decide, owed,
};
use orders::users_client::policy;
use serde_json::{Value, json};
use shared_lambda::aws::CALL_TIMEOUT;
use shared_lambda::http::{Request, Response};
use test_support::template::Template;
use test_support::{Fault, crashable};
use uuid::Uuid;

use crate::samples::{
    ANN, BOB, STATES, TIMEOUT, after, declined, ends, order_in, placed, sample_reply,
    set_attribute, swept, usd,
};
use crate::world::{
    Answer, INVENTORY_QUEUE, PAYMENTS_QUEUE, TRACE, USERS_QUEUE, World, about, admin, body,
    customer, id_of, posting, problem, reply, user,
};

fn cups() -> Value {
    json!({
        "lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}],
        "payment_method": "pm_card_visa",
    })
}

/// [`cups`] with another value at a JSON pointer; `expected_total` is there.
fn cups_with(pointer: &str, value: Value) -> Value {
    let mut body = cups();
    body["expected_total"] = json!({"amount": 3500, "currency": "USD"});
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

/// Holds a response to a whole problem.
fn assert_problem(response: &Response, status: u16, slug: &str, detail: &str) {
    let title = match slug {
        "fault-switches-refused" => "Production does not inject faults",
        "idempotency-key-reused" => "The Idempotency-Key belongs to another request",
        "too-late" => "The order cannot be cancelled any more",
        "too-many-unpaid-orders" => "Too many unpaid orders",
        "user-not-allowed" => "The account may not place orders",
        "admin-only" => "The caller is not an administrator",
        "not-found" => "There is no such resource",
        "internal" => "Something went wrong here",
        "unavailable" => "The service is busy or not reachable",
        other => panic!("no title of {other}"),
    };
    let expected = json!({
        "type": format!("/problems/{slug}"),
        "urn": format!("urn:waybill:problem:{slug}"),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": format!("urn:waybill:trace:{TRACE}"),
    });
    assert_eq!((body(response), response.status), (expected, status));
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("application/problem+json"));
}

/// Holds a response to the errors of an invalid request: pointers and details.
fn assert_invalid(response: &Response, expected: &[(&str, &str)]) {
    let problem = body(response);
    assert_eq!(problem["type"], "/problems/invalid-request");
    let error = |(name, detail): &(&str, &str)| match name.chars().next() {
        None | Some('/') => json!({"pointer": name, "detail": detail}),
        Some('A'..='Z') => json!({"header": name, "detail": detail}),
        Some(_) => json!({"parameter": name, "detail": detail}),
    };
    let errors: Value = expected.iter().map(error).collect();
    assert_eq!((response.status, &problem["errors"]), (400, &errors));
}

/// The entity tag of the order as the answer shows it.
fn etag_of(response: &Response) -> String {
    let tag = response.header("etag").expect("there is an ETag");
    assert_eq!(response.clone().tagged().header("etag"), Some(tag));
    tag.to_owned()
}

/// Holds a response to a first one that it repeats.
fn assert_replayed(response: &Response, first: &Response) {
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(*response, first.clone().replayed(true));
}

// ---- POST /api/v1/orders

#[tokio::test]
async fn an_order_is_accepted_and_its_stock_requested() {
    let world = World::new();
    let mut request = cups();
    request["expected_total"] = json!({"amount": 3500, "currency": "USD"});
    let response = world.post(ANN, &request, None).await;
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
            ("etag", etag_of(&response)),
            ("retry-after", "1".to_owned()),
            ("location", format!("/api/v1/orders/{id}")),
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
async fn users_gets_the_callers_token_and_trace() {
    let world = World::new();
    world.post(ANN, &cups(), None).await;
    let questions = world.users.questions();
    assert_eq!(questions.len(), 1);
    let question = &questions[0];
    let url = format!("https://users.example/api/v1/users/{ANN}");
    assert_eq!(question.uri, url);
    assert_eq!(question.authorization, format!("Bearer token-of-{ANN}"));
    let parent = &question.traceparent;
    assert!(parent.starts_with(&format!("00-{TRACE}-")), "{parent}");
}

/// A pointer, a wrong value there, and the error at the pointer.
const WRONG_VALUES: &str = r#"
/lines | {} | is an object, not an array
/lines | null | is null, not an array
/lines | [] | has 0 entries; an order has 1 to 50
/lines/0/quantity | 10001 | is 10001, not a whole number from 1 to 10000
/lines/0/quantity | 1.5 | is 1.5, not a whole number
/lines/0/quantity | "2" | is a string, not a whole number
/lines/1/sku | "cup" | is in the order already; add the quantities up in one line
/payment_method | "4242424242424242" | is not a payment method token: pm_ and at most 125 letters and digits, in words joined by '_', each with a letter and at most 11 digits in a row, for example pm_card_visa
/expected_total/amount | 18446744073709551615 | is 18446744073709551615, not an amount: whole minor units from 0 to 9007199254740991
/expected_total/amount | 19.99 | is 19.99, not a whole number
"#;

#[tokio::test]
async fn an_invalid_body_gets_every_error_and_writes_nothing() {
    let world = World::new();
    for row in WRONG_VALUES.trim().lines() {
        let [pointer, value, error] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row} does not have three columns");
        };
        let wrong = cups_with(pointer, serde_json::from_str(value).unwrap());
        let response = world.post(ANN, &wrong, Some("key")).await;
        assert_invalid(&response, &[(pointer, error)]);
    }
    let line = |n: usize| json!({"sku": format!("sku-{n}"), "quantity": 1});
    let too_many = cups_with("/lines", (0..51).map(line).collect());
    let too_many = world.post(ANN, &too_many, None).await;
    assert_invalid(
        &too_many,
        &[("/lines", "has 51 entries; an order has 1 to 50")],
    );
    let null = world.post(ANN, &Value::Null, None).await;
    assert_invalid(&null, &[("", "the body is null, not an object")]);
    let mistyped = json!({
        "lines": [{"sku": "", "quantity": "1"}, {"sku": "cup", "quantity": 0, "note": 1}],
        "payment_method": null,
        "expected_total": {"currency": "", "tax": 0},
        "admin": true,
    });
    let mistyped = world.post(ANN, &mistyped, None).await;
    let known = |fields| format!("is not a known field; known here: {fields}");
    let sku =
        "is not a sku: 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit";
    let currency =
        "is not a currency of ISO 4217 with a minor unit, in capital letters, for example USD";
    let quantity = "is 0, not a whole number from 1 to 10000";
    let errors = [
        ("/admin", &*known("lines, payment_method, expected_total")),
        ("/expected_total/tax", &known("amount, currency")),
        ("/expected_total/amount", "is missing"),
        ("/lines/0/quantity", "is a string, not a whole number"),
        ("/lines/1/note", &known("sku, quantity")),
        ("/payment_method", "is null, not a string"),
        ("/lines/0/sku", sku),
        ("/lines/1/quantity", quantity),
        ("/expected_total/currency", currency),
    ];
    assert_invalid(&mistyped, &errors);
    assert_eq!(world.users.count(), 0);
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn the_largest_order_is_accepted() {
    let line = |n| json!({"sku": format!("{n:0>64}"), "quantity": 10_000});
    let largest = json!({
        "lines": (0..50).map(line).collect::<Vec<_>>(),
        "payment_method": format!("pm_{}", "x".repeat(125)),
        "expected_total": {"amount": MAX_AMOUNT, "currency": "USD"},
    });
    let response = World::new()
        .post(ANN, &largest, Some(&"k".repeat(255)))
        .await;
    assert_eq!(response.status, 202);
}

#[tokio::test]
async fn a_repeat_returns_the_same_order_and_sends_its_command_again() {
    let world = World::new();
    let first = world.post(ANN, &cups(), Some("key-1")).await;
    world.clock.pass(60);
    // The sequence of members, white space and the notation of numbers do not matter.
    let again = r#"{ "payment_method":"pm_card_visa", "expected_total":null,
        "lines":[{"quantity":0.2E1,"sku":"cup"},{"quantity":1.0,"sku":"pot"}] }"#;
    let again = Request::new()
        .with_body(again)
        .with_header("idempotency-key", "key-1");
    let second = world.place(&customer(ANN), again).await;
    assert_replayed(&second, &first);
    assert_eq!(world.aws.dump(&world.table).len(), 1);
    assert_eq!(world.command_types(), ["ReserveStock", "ReserveStock"]);
    assert_eq!(id_of(&first), OrderId::of_key(UserId(ANN), "key-1"));
}

#[tokio::test]
async fn an_order_under_a_legacy_key_is_found() {
    for sent in ["\"key-1\"", "key-1,key-1"] {
        let world = World::new();
        let first = world.post(ANN, &cups(), Some("other")).await;
        let mut order = world.order(id_of(&first)).await;
        order.id = OrderId::of_key(UserId(ANN), sent);
        world.store().insert(&order).await.unwrap();
        let again = world.post(ANN, &cups(), Some(sent)).await;
        assert_eq!(id_of(&again), order.id, "{sent}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        let mut other = cups();
        other["payment_method"] = json!("pm_card_mastercard");
        let other = world.post(ANN, &other, Some(sent)).await;
        assert_eq!(other.status, 422);
        assert_eq!(world.aws.dump(&world.table).len(), 2);
    }
}

#[tokio::test]
async fn a_repeat_returns_the_orders_present_state() {
    for state in STATES {
        let world = World::new();
        let first = world.post(ANN, &cups(), Some("key-1")).await;
        let mut order = order_in(state);
        let before = world.order(id_of(&first)).await;
        (order.id, order.fingerprint, order.version) = (before.id, before.fingerprint, 2);
        world.store().update(&order).await.unwrap();
        world.commands();
        let second = world.post(ANN, &cups(), Some("key-1")).await;
        let truth = if ends(state) {
            (200, None)
        } else {
            (202, Some("1"))
        };
        let told = (second.status, second.header("retry-after"));
        assert_eq!(told, truth, "{state:?}");
        assert_eq!(second.header("idempotent-replayed"), Some("true"));
        assert_eq!(body(&second)["status"], order.status().as_str());
        // This function may not write to payments; the sweeper does.
        let owed: Vec<&str> = owed(&order)
            .filter(|command| command.step().participant != Participant::Payments)
            .map(|command| command.action().message)
            .into_iter()
            .collect();
        assert_eq!(world.command_types(), owed, "{state:?}");
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let world = World::new();
    let first = world.post(ANN, &cups(), Some("key-1")).await;
    let before = world.aws.dump(&world.table);
    world.commands();
    let detail = format!(
        "this Idempotency-Key was used for another request, which became order {}; use a new key for a new order",
        id_of(&first).0
    );
    for (pointer, value) in [
        ("/lines/0/quantity", json!(3)),
        ("/lines/0/sku", json!("mug")),
        ("/payment_method", json!("pm_card_mastercard")),
        ("/expected_total/amount", json!(1)),
    ] {
        let mut other = cups_with(pointer, value);
        if !pointer.starts_with("/expected_total") {
            other["expected_total"] = Value::Null;
        }
        let response = world.post(ANN, &other, Some("key-1")).await;
        assert_problem(&response, 422, "idempotency-key-reused", &detail);
    }
    assert_eq!(world.aws.dump(&world.table), before);
    assert!(world.commands().is_empty());
}

/// A client may repeat a request that it first sent before a deployment.
#[tokio::test]
async fn a_fingerprint_is_the_same_in_every_version() {
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
async fn keys_belong_to_users_and_requests_without_one_are_distinct() {
    let world = World::new();
    world.post(ANN, &cups(), Some("key-1")).await;
    let bobs = world.post(BOB, &cups(), Some("key-1")).await;
    assert_eq!(body(&bobs)["user_id"], json!(BOB));
    world.post(ANN, &cups(), None).await;
    world.post(ANN, &cups(), None).await;
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
        let is_first = |r: &&Response| r.header("idempotent-replayed").is_none();
        let first: Vec<_> = responses.iter().filter(is_first).collect();
        assert_eq!(first.len(), 1, "seed {seed}");
        let replayed = first[0].clone().replayed(true);
        let repeats = responses.iter().filter(|response| **response == replayed);
        assert_eq!((repeats.count(), first[0].status), (19, 202), "seed {seed}");
        assert_eq!(world.aws.dump(&world.table).len(), 1);
        assert_eq!(world.order(id_of(&responses[0])).await.version, 1);
    }
}

// ---- The answers of users

#[tokio::test]
async fn a_refused_user_gets_a_403_and_nothing_is_written() {
    let no = [user(ANN, "deactivated"), problem(403), problem(404)];
    for answer in no {
        let world = World::new();
        world.users.always(answer);
        let response = world.post(ANN, &cups(), Some("key")).await;
        let detail = "this account may not place orders; ask the operator why";
        assert_problem(&response, 403, "user-not-allowed", detail);
        assert!(world.aws.dump(&world.table).is_empty());
        assert!(world.commands().is_empty());
        assert_eq!(world.aws.writes(), 0);
    }
}

#[tokio::test]
async fn a_refused_user_still_gets_an_earlier_order() {
    let world = World::new();
    let first = world.post(ANN, &cups(), Some("key-1")).await;
    world.clock.pass(31);
    world.users.always(user(ANN, "deactivated"));
    let second = world.post(ANN, &cups(), Some("key-1")).await;
    assert_replayed(&second, &first);
    let mut other = cups();
    other["payment_method"] = json!("pm_other");
    let reused = world.post(ANN, &other, Some("key-1")).await;
    assert_eq!(reused.status, 422);
}

#[tokio::test]
async fn another_users_order_under_the_same_id_is_not_revealed() {
    for (user_is, status) in [("active", 500), ("deactivated", 403)] {
        let mut order = order_in(State::Confirmed);
        order.id = OrderId::of_key(UserId(ANN), "key-1");
        order.user_id = UserId(BOB);
        let world = World::with(&order).await;
        let first = world.post(ANN, &cups(), Some("other")).await;
        order.fingerprint = world.order(id_of(&first)).await.fingerprint;
        order.version += 1;
        world.store().update(&order).await.unwrap();
        world.clock.pass(31);
        world.users.always(user(ANN, user_is));
        let response = world.post(ANN, &cups(), Some("key-1")).await;
        assert_eq!(response.status, status);
        assert!(!response.body.unwrap().contains(&BOB.to_string()));
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn without_an_answer_of_users_the_saga_asks_by_queue() {
    let gives = |status, body: &str| Answer::Gives(status, body.to_owned());
    let id = ANN.to_string();
    let unclear = [
        (Answer::Breaks, 2),
        (Answer::NeverComes, 2),
        (problem(401), 1),
        (problem(418), 1),
        (problem(429), 2),
        (problem(503), 2),
        (gives(200, "<html>"), 1),
        (gives(200, &json!({"id": id}).to_string()), 1),
        (gives(200, &" ".repeat(300_000)), 2),
        (user(BOB, "active"), 1),
        (gives(302, ""), 1),
        // The gateway's own answers.
        (gives(404, r#"{"message":"Not Found"}"#), 1),
        (gives(403, r#"{"message":"Forbidden"}"#), 1),
    ];
    for (answer, tries) in unclear {
        let name = format!("{answer:?}").chars().take(80).collect::<String>();
        let world = World::new();
        world.users.always(answer);
        let response = world.post(ANN, &cups(), None).await;
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
async fn a_permission_is_cached_for_thirty_seconds_per_user() {
    let world = World::new();
    world.post(ANN, &cups(), None).await;
    world.clock.pass(29);
    world.post(ANN, &cups(), None).await;
    assert_eq!(world.users.count(), 1);
    world.post(BOB, &cups(), None).await;
    assert_eq!(world.users.count(), 2);
    world.clock.pass(1);
    world.users.always(user(ANN, "deactivated"));
    let response = world.post(ANN, &cups(), None).await;
    assert_eq!((world.users.count(), response.status), (3, 403));
}

#[tokio::test]
async fn a_refusal_and_a_missing_answer_are_not_cached() {
    let world = World::new();
    for answer in [
        user(ANN, "deactivated"),
        problem(404),
        Answer::Gives(200, String::new()),
    ] {
        world.users.next(answer);
        world.post(ANN, &cups(), None).await;
    }
    let response = world.post(ANN, &cups(), None).await;
    assert_eq!(world.users.count(), 4);
    assert_eq!(world.order(id_of(&response)).await.state, State::Reserving);
}

#[tokio::test]
async fn the_sweeper_sends_what_placing_could_not() {
    let faults = [
        Fault::BeforeEffect,
        Fault::Throttle,
        Fault::PartialSend(vec![0]),
    ];
    for fault in faults {
        let world = World::new();
        world.aws.fault_on("sqs:SendMessageBatch", fault);
        let response = world.post(ANN, &cups(), None).await;
        assert_eq!((response.status, world.aws.fired()), (202, 1));
        assert!(world.commands().is_empty());
        world.clock.pass(30);
        assert_eq!(world.sweep().await.unwrap(), swept(1, 1, 0));
        assert_eq!(world.command_types(), ["ReserveStock"]);
    }
}

#[tokio::test]
async fn a_failed_write_is_a_503_and_the_same_key_may_retry() {
    let faults = [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle];
    for fault in faults {
        let world = World::new();
        world.aws.fault_on("dynamodb:PutItem", fault);
        let response = world.post(ANN, &cups(), Some("key")).await;
        let detail =
            "nothing was lost; try again shortly, with the same Idempotency-Key where you sent one";
        assert_problem(&response, 503, "unavailable", detail);
        assert_eq!(response.header("retry-after"), Some("1"));
        assert!(world.commands().is_empty());
        let response = world.post(ANN, &cups(), Some("key")).await;
        assert_eq!(response.status, 202);
        assert_eq!(world.aws.dump(&world.table).len(), 1);
        assert_eq!(world.command_types(), ["ReserveStock"]);
    }
}

#[tokio::test]
async fn a_failed_write_without_a_key_is_an_unknown_outcome() {
    let faults = [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle];
    for fault in faults {
        let world = World::new();
        world.aws.fault_on("dynamodb:PutItem", fault);
        let response = world.post(ANN, &cups(), None).await;
        let problem = body(&response);
        assert_eq!(
            (response.status, &problem["type"]),
            (503, &json!("/problems/outcome-unknown"))
        );
        assert_eq!(response.header("retry-after"), None);
        // The path in the detail shows whether the order was accepted.
        let detail = problem["detail"].as_str().unwrap();
        let id = detail.split("/api/v1/orders/").nth(1).unwrap();
        let id: Uuid = id[..36].parse().unwrap();
        let taken = !world.aws.dump(&world.table).is_empty();
        let asked = world.get(&customer(ANN), about(id)).await;
        assert_eq!(asked.status, if taken { 200 } else { 404 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_customer_waits_two_seconds_for_a_silent_queue() {
    let world = World::new();
    world.never_answer(|call| call.service == "sqs");
    let began = tokio::time::Instant::now();
    let response = world.post(ANN, &cups(), None).await;
    assert_eq!(response.status, 202);
    let response = world
        .cancel(&customer(ANN), about(id_of(&response).0))
        .await;
    assert_eq!(response.status, 202);
    assert_eq!(began.elapsed(), Duration::from_secs(4));
}

/// A function that times out cannot answer whether it accepted the order.
#[tokio::test(start_paused = true)]
async fn all_waits_of_placing_end_before_its_timeout() {
    let users = policy();
    let users = users.timeout * users.attempts + users.backoff;
    let table = 2 * CALL_TIMEOUT;
    let world = World::new();
    world.never_answer(|call| call.service == "sqs");
    let began = tokio::time::Instant::now();
    world.post(ANN, &cups(), None).await;
    let waited = users + table + began.elapsed();
    let template = Template::of_service("orders");
    let function = template.properties("OrdersPlaceFunction", "AWS::Serverless::Function");
    let limit = Duration::from_secs(function["Timeout"].as_u64().unwrap());
    assert!(waited < limit, "{waited:?} of {limit:?}");
}

// ---- The limits on open and unpaid orders

/// Ann's order under a key, of one mug.
async fn mug(world: &World, key: Option<&str>) -> Response {
    let mug = json!({
        "lines": [{"sku": "mug", "quantity": 1}],
        "payment_method": "pm_card_visa",
    });
    world.post(ANN, &mug, key).await
}

#[tokio::test]
async fn one_order_too_many_is_a_429_and_writes_nothing() {
    let world = World::new();
    for key in ["0", "1", "2", "3", "4"] {
        assert_eq!(mug(&world, Some(key)).await.status, 202);
    }
    world.commands();
    let (rows, writes) = (world.aws.dump(&world.table), world.aws.writes());
    world.clock.pass(2);
    for key in [Some("5"), None] {
        let response = mug(&world, key).await;
        let detail = "you have 5 of at most 5 open orders; try again in 2 seconds";
        assert_problem(&response, 429, "too-many-unpaid-orders", detail);
        assert_eq!(response.header("retry-after"), Some("2"));
    }
    assert_eq!(world.aws.dump(&world.table), rows);
    assert_eq!((world.aws.writes(), world.commands().len()), (writes, 0));
    // Other customers have their own limit.
    let bobs = world.post(BOB, &cups(), Some("5")).await;
    assert_eq!(bobs.status, 202);
    // A cancelled order counts as unpaid, which lowers the limit to one.
    let first = OrderId::of_key(UserId(ANN), "0");
    world.cancel(&customer(ANN), about(first.0)).await;
    let released = reply(first, "StockReleased", &json!({}));
    world.deliver(&released).await.unwrap();
    world.clock.pass(2);
    assert_eq!(mug(&world, Some("5")).await.status, 429);
}

#[tokio::test]
async fn a_repeat_is_never_a_429() {
    let world = World::new();
    let mut first = Vec::new();
    for key in ["0", "1", "2", "3", "4"] {
        first.push(mug(&world, Some(key)).await);
    }
    world.commands();
    assert_eq!(mug(&world, Some("5")).await.status, 429);
    assert_replayed(&mug(&world, Some("0")).await, &first[0]);
    assert_eq!(world.command_types(), ["ReserveStock"]);
    let reused = world.post(ANN, &cups(), Some("0")).await;
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
    // Orders older than a day do not count.
    let world = with_declined(50).await;
    world.clock.pass(3_601);
    assert_eq!(mug(&world, None).await.status, 429);
    world.clock.set(after(24 * 3600) + Duration::from_millis(1));
    assert_eq!(mug(&world, None).await.status, 202);
}

#[tokio::test]
async fn a_customer_without_recent_orders_costs_one_read_and_no_write() {
    let world = World::with(&placed(1 << 64)).await;
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
async fn a_failing_or_silent_index_stops_no_order() {
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
        // These ids differ from those of the world.
        world.put(&declined(number << 64)).await;
    }
    world
}

#[tokio::test]
async fn an_unreadable_order_does_not_count() {
    let world = with_declined(4).await;
    assert_eq!(mug(&world, None).await.status, 429);
    let mut row = world.aws.dump(&world.table).remove(0);
    row["state"] = json!("lost");
    world.aws.put_raw(&world.table, row);
    assert_eq!(mug(&world, None).await.status, 202);
}

// ---- GET /api/v1/orders/{id} and /timeline

#[tokio::test]
async fn owner_and_administrator_see_the_whole_order() {
    let mut order = order_in(State::Rejected);
    order.expected_total = Some(usd(3400));
    let world = World::with(&order).await;
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
async fn owner_and_administrator_see_the_whole_timeline() {
    let order = order_in(State::Charging);
    let world = World::with(&order).await;
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
async fn an_order_that_the_client_has_is_not_sent_again() {
    for state in STATES {
        let world = World::with(&order_in(state)).await;
        let id = order_in(state).id;
        let ann = customer(ANN);
        let read = async |tag: &str| {
            let request = about(id.0).with_header("if-none-match", tag);
            world.get(&ann, request).await
        };
        let first = world.get(&ann, about(id.0)).await;
        let told = (first.status, first.header("retry-after"));
        assert_eq!(told, (200, (!ends(state)).then_some("1")), "{state:?}");
        let tag = etag_of(&first);
        let again = read(&tag).await;
        assert_eq!((again.status, &again.body), (304, &None));
        assert_eq!(again.header("etag"), Some(tag.as_str()));
        assert_eq!(again.header("retry-after"), first.header("retry-after"));
        // Owner and administrator see the same order.
        let admins = world.get(&admin(), about(id.0)).await;
        assert_eq!(etag_of(&admins), tag);
        world.clock.pass(5);
        let cancelled = world.cancel(&ann, about(id.0)).await;
        let changed = cancelled.status != 409
            && !body(&first)["status"]
                .as_str()
                .unwrap()
                .starts_with("CANCEL");
        assert_eq!(
            read(&tag).await.status,
            if changed { 200 } else { 304 },
            "{state:?}"
        );
        assert_eq!(read("tag").await.status, 400);
    }
}

#[tokio::test]
async fn another_users_order_is_a_404() {
    let order = order_in(State::Charging);
    let world = World::with(&order).await;
    let before = world.aws.dump(&world.table);
    for (caller, id) in [
        (customer(BOB), order.id.0),
        (customer(ANN), Uuid::from_u128(404)),
        (admin(), Uuid::from_u128(404)),
    ] {
        let detail = format!("there is no order {id}");
        for response in [
            world.get(&caller, about(id)).await,
            world.timeline(&caller, about(id)).await,
            world.cancel(&caller, about(id)).await,
        ] {
            assert_problem(&response, 404, "not-found", &detail);
        }
    }
    assert_eq!(world.aws.dump(&world.table), before);
    assert!(world.commands().is_empty());
}

#[tokio::test]
async fn an_id_must_be_a_uuid() {
    let world = World::new();
    let ann = customer(ANN);
    let detail = "is not a UUID, for example 01890a5d-ac96-774b-bcce-b302099a8057";
    for id in ["", "not-a-uuid", "ORDER#1"] {
        for response in [
            world.get(&ann, about(id)).await,
            world.timeline(&ann, about(id)).await,
            world.cancel(&ann, about(id)).await,
        ] {
            assert_invalid(&response, &[("id", detail)]);
        }
    }
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn a_corrupt_order_is_a_500_without_details() {
    let order = order_in(State::Charging);
    let world = World::with(&order).await;
    set_attribute(&world.aws, &world.table, "state", json!("dreaming"));
    let response = world.get(&customer(ANN), about(order.id.0)).await;
    let detail = "the failure has been logged; name the instance when you report it";
    assert_problem(&response, 500, "internal", detail);
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
async fn a_list_has_whole_orders_newest_first_in_pages() {
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
async fn a_list_filters_by_status() {
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
async fn customers_do_not_see_operators_details() {
    let mut order = order_in(State::Refunding(Ending::Cancelled));
    (order.attempt, order.parked) = (6, true);
    let world = World::with(&order).await;
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
    let refused = world.list(&customer(ANN), of(BOB)).await;
    let detail =
        "only an administrator may list another user's orders; leave user_id out to list your own";
    assert_problem(&refused, 403, "admin-only", detail);
}

#[tokio::test]
async fn an_invalid_list_parameter_is_named() {
    let world = World::new();
    const CURSOR: &str = "is not a cursor of this list; take `next_cursor` from the page before, or leave it out to begin again";
    const KNOWN: &str = "is not a known parameter; known here: status, user_id, limit, cursor";
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
        // Encoded as a cursor, but not a position: "" and "abc".
        ("cursor", "IiI", CURSOR),
        ("cursor", "ImFiYyI", CURSOR),
        // A position with a sort key that DynamoDB does not accept.
        ("cursor", "eyJwbGFjZWQiOiIifQ", CURSOR),
        (
            "user_id",
            "ann",
            "is not a UUID, for example 01890a5d-ac96-774b-bcce-b302099a8057",
        ),
        ("email", "a@example.com", KNOWN),
    ];
    for (name, value, detail) in cases {
        let response = world
            .list(&customer(ANN), Request::new().with_query(name, value))
            .await;
        assert_invalid(&response, &[(name, detail)]);
    }
}

// ---- POST /api/v1/orders/{id}/cancel

#[tokio::test]
async fn the_state_decides_whether_a_cancel_is_too_late() {
    for state in STATES {
        for caller in [customer(ANN), admin()] {
            let order = order_in(state);
            let world = World::with(&order).await;
            let before = world.aws.dump(&world.table);
            world.clock.pass(5);
            let response = world.cancel(&caller, about(order.id.0)).await;
            // The next state and the command; none for a refusal.
            let by = CancelledBy::Customer;
            let event = Event::CancelRequested { by };
            let outcome = match decide(&order, &event, TIMEOUT, after(5)) {
                Decision::Advance(next) => Some((next.state, owed(&next))),
                Decision::Ignore(_) => Some((state, owed(&order))),
                Decision::Refuse(_) => None,
            };
            let Some((becomes, sends)) = outcome else {
                let id = order.id.0;
                let detail =
                    format!("order {id}: the order is rejected; there is nothing left to cancel");
                assert_problem(&response, 409, "too-late", &detail);
                assert_eq!(world.aws.dump(&world.table), before);
                assert!(world.commands().is_empty());
                continue;
            };
            let now = world.order(order.id).await;
            assert_eq!(now.state, becomes, "{state:?}");
            let truth = if ends(becomes) {
                (200, None)
            } else {
                (202, Some("1"))
            };
            let told = (response.status, response.header("retry-after"));
            assert_eq!(told, truth, "{state:?}");
            let shown = world.get(&caller, about(order.id.0)).await;
            assert_eq!(
                (body(&response), etag_of(&response)),
                (body(&shown), etag_of(&shown))
            );
            let sends = sends.map(|command| command.action().message);
            assert_eq!(world.command_types(), Vec::from_iter(sends), "{state:?}");
            if becomes == state {
                assert_eq!(world.aws.dump(&world.table), before);
                continue;
            }
            let mut noted = now.timeline.iter().rev();
            let noted = noted.find(|entry| entry.event == TimelineEvent::CancelRequested);
            let by_another = caller.is_admin().then_some("by an administrator");
            assert_eq!(noted.unwrap().detail.as_deref(), by_another);
        }
    }
}

#[tokio::test]
async fn a_cancel_with_a_key_is_marked_when_it_is_repeated() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
    let cancel = async |key: Option<&str>| {
        let request = about(order.id.0);
        let request = match key {
            Some(key) => request.with_header("idempotency-key", key),
            None => request,
        };
        world.cancel(&customer(ANN), request).await
    };
    let first = cancel(Some("key-1")).await;
    assert_replayed(&cancel(Some("key-1")).await, &first);
    assert_eq!(cancel(None).await, first);
    for reply in ["PaymentRefunded", "StockReleased"] {
        world.deliver(&sample_reply(order.id, reply)).await.unwrap();
    }
    let ended = cancel(Some("key-1")).await;
    assert_eq!(
        (ended.status, &body(&ended)["status"]),
        (200, &json!("CANCELLED"))
    );
    assert_eq!(ended.header("idempotent-replayed"), Some("true"));
    assert_eq!(cancel(Some("k k")).await.status, 400);
}

#[tokio::test]
async fn an_unknown_parameter_changes_nothing() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
    let before = world.aws.dump(&world.table);
    let odd = |request: Request| request.with_query("colour", "red");
    let ann = customer(ANN);
    let placed = world.place(&ann, odd(posting(&cups(), None))).await;
    let cancelled = world.cancel(&ann, odd(about(order.id.0))).await;
    assert_eq!((placed.status, cancelled.status), (400, 400));
    assert_eq!(world.aws.dump(&world.table), before);
    assert_eq!(world.command_types(), [""; 0]);
}

#[tokio::test]
async fn a_wrong_cancel_gets_all_its_mistakes() {
    let world = World::new();
    let request = Request::new()
        .with_path_parameter("id", "seven")
        .with_query("colour", "red")
        .with_header("idempotency-key", "k k")
        .with_body("{}");
    let response = world.cancel(&customer(ANN), request).await;
    assert_eq!(response.status, 400);
    assert_eq!(body(&response)["errors"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_cancel_with_a_body_is_refused() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
    for sent in ["{}", " ", "null", "no JSON"] {
        let request = about(order.id.0).with_body(sent);
        let response = world.cancel(&customer(ANN), request).await;
        let pointer = &body(&response)["errors"][0]["pointer"];
        assert_eq!((response.status, pointer), (400, &json!("")), "{sent:?}");
    }
    assert_eq!(world.order(order.id).await, order);
}

#[tokio::test]
async fn two_cancels_at_once_are_one() {
    for seed in 0..10 {
        let order = order_in(State::Confirmed);
        let world = World::with(&order).await;
        world.aws.interleave(seed);
        // The two rows differ by who cancelled.
        let (ann, admin) = (customer(ANN), admin());
        let request = || about(order.id.0).with_header("idempotency-key", "key-1");
        let answers = futures_util::future::join(
            world.cancel(&ann, request()),
            world.cancel(&admin, request()),
        );
        let (one, other) = answers.await;
        match one.header("idempotent-replayed") {
            None => assert_replayed(&other, &one),
            Some(_) => assert_replayed(&one, &other),
        }
        assert_eq!(world.order(order.id).await.version, order.version + 1);
    }
}

#[tokio::test]
async fn a_killed_cancel_is_finished_by_its_repeat() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
    world.aws.fault_on("dynamodb:PutItem", Fault::KillAfter);
    let cancel = async || {
        let request = about(order.id.0).with_header("idempotency-key", "key-1");
        world.cancel(&customer(ANN), request).await
    };
    assert!(crashable(cancel()).await.is_none());
    assert!(world.commands().is_empty());
    let repeat = cancel().await;
    assert_eq!(
        (repeat.status, repeat.header("idempotent-replayed")),
        (202, Some("true"))
    );
    assert_eq!(world.command_types(), ["RefundPayment"]);
}

#[tokio::test]
async fn the_sweeper_sends_what_cancelling_could_not() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
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
async fn a_cancel_that_races_with_a_reply_owes_the_refund() {
    let mut seen = Vec::new();
    for seed in 0..40 {
        let order = order_in(State::Charging);
        let world = World::with(&order).await;
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
        // Confirmed first or overtaken: either way the charge is refunded.
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
    assert_eq!(seen, [1, 2], "both sequences of events occur");
}

#[tokio::test]
async fn a_cancel_that_is_always_overtaken_is_a_503() {
    let order = order_in(State::Charging);
    let world = World::with(&order).await;
    // Another writer increments the version before every write.
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
