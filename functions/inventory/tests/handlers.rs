//! The endpoints: their answers, for each caller and for invalid requests.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared_lambda::aws::CALL_TIMEOUT;
use shared_lambda::http::Request;
use test_support::Fault;
use test_support::template::Template;

use crate::world::{Answer, NOON, World, id};
use inventory::domain::{Adjustment, Delta, Reason, Sku};

fn mug() -> Value {
    json!({"sku": "MUG-01", "name": "Enamel mug",
           "price": {"amount": 1250, "currency": "USD"}, "stock": 5})
}

fn public_mug() -> Value {
    json!({"sku": "MUG-01", "name": "Enamel mug",
           "price": {"amount": 1250, "currency": "USD"}, "available": 5,
           "created_at": NOON, "updated_at": NOON})
}

fn managed_mug() -> Value {
    let mut mug = public_mug();
    mug["stocked"] = json!(5);
    mug["held"] = json!(0);
    mug
}

/// A world with one mug in it.
async fn shop() -> World {
    let world = World::new().await;
    let created = post(&world, &mug()).await;
    assert_eq!(created.status, 201);
    world
}

fn of(sku: &str) -> Request {
    Request::new().with_path_parameter("sku", sku)
}

async fn post(world: &World, body: &Value) -> Answer {
    let request = world.as_admin().with_body(body.to_string());
    world.create(request).await
}

async fn patch(world: &World, sku: &str, body: &Value) -> Answer {
    let request = world.as_admin().with_path_parameter("sku", sku);
    world.update(request.with_body(body.to_string())).await
}

async fn adjust(world: &World, sku: &str, body: &Value, key: Option<&str>) -> Answer {
    let mut request = world.as_admin().with_path_parameter("sku", sku);
    if let Some(key) = key {
        request = request.with_header("Idempotency-Key", key);
    }
    world.adjust(request.with_body(body.to_string())).await
}

/// An adjustment by so many units.
fn by(delta: i64) -> Value {
    let reason = if delta > 0 { "Found" } else { "Lost" };
    json!({"delta": delta, "reason": reason})
}

fn problem(status: u16, slug: &str, fields: &[&str]) -> (u16, String, Vec<String>) {
    let fields = fields.iter().map(|field| (*field).to_owned());
    (status, slug.to_owned(), fields.collect())
}

/// The next calls of an action fail.
fn fail(world: &World, times: usize, action: &str, fault: Fault) {
    for _ in 0..times {
        world.aws.fault_on(action, fault.clone());
    }
}

fn invalid(fields: &[&str]) -> (u16, String, Vec<String>) {
    problem(400, "invalid-request", fields)
}

#[tokio::test]
async fn a_creation_answers_the_location_and_the_whole_item() {
    let world = World::new().await;
    let created = post(&world, &mug()).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), Some("/api/v1/items/MUG-01"));
    assert_eq!(created.body, managed_mug());
    world.check_books(5);
}

#[tokio::test]
async fn a_taken_sku_is_a_conflict_and_the_item_stays() {
    let world = shop().await;
    let before = world.dump();
    let mut body = mug();
    body["name"] = json!("Another mug");
    let created = post(&world, &body).await;
    assert_eq!(created.problem(), problem(409, "sku-taken", &[]));
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn forty_concurrent_creations_of_a_sku_make_one_item() {
    let world = World::new().await;
    world.aws.interleave(7);
    let body = mug().to_string();
    let created = (0..40).map(|_| world.create(world.as_admin().with_body(body.clone())));
    let created = join_all(created).await;
    let count = |status| {
        created
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(201), count(409)), (1, 39));
}

#[tokio::test]
async fn a_lost_answer_does_not_make_a_new_item_a_conflict() {
    let world = World::with_attempts(2).await;
    world.aws.fault_on("dynamodb:PutItem", Fault::AfterEffect);
    let created = post(&world, &mug()).await;
    assert_eq!((created.status, world.aws.fired()), (201, 1));
    assert_eq!(created.body, managed_mug());
}

#[tokio::test]
async fn only_administrators_see_stocked_and_held() {
    let world = shop().await;
    world.reserve(9, &[("MUG-01", 2)]).await;
    let mut public = public_mug();
    public["available"] = json!(3);
    let mut managed = public.clone();
    managed["stocked"] = json!(5);
    managed["held"] = json!(2);
    let customer = world.customer();
    let admin = world.admin();
    for (token, expected) in [
        (None, &public),
        (Some(customer), &public),
        (Some(admin), &managed),
    ] {
        let with_token = |request: Request| match &token {
            None => request,
            Some(token) => request.with_header("authorization", token.clone()),
        };
        let one = world.get(with_token(of("MUG-01"))).await;
        assert_eq!((one.status, &one.body), (200, expected));
        let all = world.list(with_token(Request::new())).await;
        assert_eq!(all.status, 200);
        assert_eq!(all.body, json!({"items": [expected], "next_cursor": null}));
    }
}

#[tokio::test]
async fn an_invalid_token_is_refused_on_public_routes_too() {
    let world = shop().await;
    let expired = world.admin();
    world.advance(15 * 60);
    for token in [expired.as_str(), "Bearer nonsense", "Basic dTpw", ""] {
        let one = world
            .get(of("MUG-01").with_header("authorization", token))
            .await;
        assert_eq!(one.problem(), problem(401, "unauthorized", &[]), "{token}");
        assert!(one.header("www-authenticate").is_some());
        let all = world
            .list(Request::new().with_header("authorization", token))
            .await;
        assert_eq!(all.problem(), problem(401, "unauthorized", &[]), "{token}");
    }
}

#[tokio::test]
async fn the_role_is_checked_before_the_request() {
    let world = shop().await;
    let before = world.dump();
    let anonymous = || of("NOPE").with_body("not json");
    let customer = || anonymous().with_header("authorization", world.customer());
    for answer in [
        world.create(anonymous()).await,
        world.update(anonymous()).await,
        world.adjust(anonymous()).await,
    ] {
        assert_eq!(answer.problem(), problem(401, "unauthorized", &[]));
    }
    for answer in [
        world.create(customer()).await,
        world.update(customer()).await,
        world.adjust(customer()).await,
    ] {
        assert_eq!(answer.problem(), problem(403, "admin-only", &[]));
    }
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn an_item_that_does_not_exist_is_not_found() {
    let world = shop().await;
    let gone = problem(404, "not-found", &[]);
    assert_eq!(world.get(of("NOPE")).await.problem(), gone);
    assert_eq!(
        patch(&world, "NOPE", &json!({"name": "x"})).await.problem(),
        gone
    );
    let body = json!({"delta": 1, "reason": "found"});
    assert_eq!(adjust(&world, "NOPE", &body, None).await.problem(), gone);
    assert_eq!(
        adjust(&world, "NOPE", &body, Some("k")).await.problem(),
        gone
    );
}

#[tokio::test]
async fn an_invalid_sku_in_the_path_is_named() {
    let world = shop().await;
    let wrong = invalid(&["sku"]);
    assert_eq!(world.get(of("no spaces")).await.problem(), wrong);
    assert_eq!(
        patch(&world, "a#b", &json!({"name": "x"})).await.problem(),
        wrong
    );
    let body = json!({"delta": 1, "reason": "found"});
    assert_eq!(adjust(&world, "", &body, None).await.problem(), wrong);
}

#[tokio::test]
async fn a_change_affects_only_the_named_fields() {
    let world = shop().await;
    let mut expected = managed_mug();
    let changes = [
        json!({"name": "Steel mug"}),
        json!({"price": {"amount": 1300, "currency": "EUR"}}),
        json!({"name": "Tin mug", "price": {"amount": 1, "currency": "USD"}}),
    ];
    for change in changes {
        world.advance(1);
        let changed = patch(&world, "MUG-01", &change).await;
        for (field, value) in change.as_object().unwrap() {
            expected[field] = value.clone();
        }
        expected["updated_at"] = json!(format!("{:.3}", world.context().now));
        assert_eq!((changed.status, &changed.body), (200, &expected));
    }
    assert_eq!(
        world
            .get(world.as_admin().with_path_parameter("sku", "MUG-01"))
            .await
            .body,
        expected
    );
}

#[tokio::test]
async fn a_price_is_in_a_currency_of_iso_4217() {
    let world = shop().await;
    for currency in ["UDS", "XXX", "XTS", "XAU", "XDR"] {
        let price = json!({"amount": 1, "currency": currency});
        let body = with(&mug(), "/price", price.clone());
        let created = world.create(world.as_admin().with_body(body.to_string()));
        let wrong = invalid(&["/price/currency"]);
        assert_eq!(created.await.problem(), wrong, "{currency}");
        let changed = patch(&world, "MUG-01", &json!({"price": price})).await;
        assert_eq!(changed.problem(), wrong, "{currency}");
    }
}

#[tokio::test]
async fn a_price_has_the_same_bound_in_every_currency() {
    let world = shop().await;
    for (amount, currency) in [
        (150_000_000_i64, "VND"),
        (999_999_999_999, "IDR"),
        (999_999_999_999, "USD"),
        (1_400, "KWD"),
    ] {
        let price = json!({"amount": amount, "currency": currency});
        let changed = patch(&world, "MUG-01", &json!({"price": price})).await;
        assert_eq!((changed.status, &changed.body["price"]), (200, &price));
    }
}

#[tokio::test]
async fn capitals_in_a_sku_make_another_item() {
    let world = World::new().await;
    for (sku, amount) in [("ABC", 1), ("abc", 2), ("Abc", 3)] {
        world.stock(sku, amount, 5).await;
    }
    for (sku, amount) in [("ABC", 1), ("abc", 2), ("Abc", 3)] {
        let item = world.get(of(sku)).await;
        assert_eq!(item.body["sku"], sku);
        assert_eq!(item.body["price"]["amount"], amount);
    }
    assert_eq!(world.get(of("aBC")).await.status, 404);
    let reply = world.reserve(9, &[("abc", 2)]).await;
    assert_eq!(reply["data"]["lines"][0]["unit_price"]["amount"], 2);
    assert_eq!(world.levels("ABC"), (5, 5, 0));
    assert_eq!(world.levels("abc"), (5, 3, 2));
}

#[tokio::test]
async fn a_refused_key_is_decided_again() {
    let world = shop().await;
    let body = by(-8);
    for _ in 0..2 {
        let refused = adjust(&world, "MUG-01", &body, Some("key-1")).await;
        assert_eq!(refused.problem(), problem(409, "insufficient-stock", &[]));
    }
    let unknown = adjust(&world, "TEE", &body, Some("key-2")).await;
    assert_eq!(unknown.problem(), problem(404, "not-found", &[]));
    let found = by(3);
    adjust(&world, "MUG-01", &found, None).await;
    world.stock("TEE", 100, 9).await;
    let first = adjust(&world, "MUG-01", &body, Some("key-1")).await;
    assert_eq!(first.status, 201);
    let tea = adjust(&world, "TEE", &body, Some("key-2")).await;
    assert_eq!(tea.status, 201);
    // From now on it is made.
    let again = adjust(&world, "MUG-01", &body, Some("key-1")).await;
    assert_eq!((again.status, again.body), (201, first.body));
    assert_eq!(world.levels("MUG-01"), (0, 0, 0));
}

#[tokio::test]
async fn a_change_waits_for_the_transactions_of_orders() {
    let world = shop().await;
    fail(&world, 3, "dynamodb:UpdateItem", Fault::TransactionConflict);
    let changed = patch(&world, "MUG-01", &json!({"name": "Steel mug"})).await;
    assert_eq!((changed.status, world.aws.fired()), (200, 3));
    fail(&world, 8, "dynamodb:UpdateItem", Fault::TransactionConflict);
    let changed = patch(&world, "MUG-01", &json!({"name": "Tin mug"})).await;
    assert_eq!(changed.problem(), problem(503, "unavailable", &[]));
}

#[tokio::test]
async fn an_adjustment_changes_the_stock_and_is_stored() {
    let world = shop().await;
    world.advance(5);
    let found = adjust(&world, "MUG-01", &by(3), None).await;
    assert_eq!(found.status, 201);
    let adjustment = found.body["id"].clone();
    let at = "2026-11-23T12:00:05.000Z";
    assert_eq!(
        found.body,
        json!({"id": adjustment, "sku": "MUG-01", "delta": 3, "reason": "Found", "created_at": at})
    );
    let lost = adjust(&world, "MUG-01", &by(-8), None).await;
    assert_eq!(lost.status, 201);
    assert_eq!(world.levels("MUG-01"), (0, 0, 0));
    world.check_books(5);
    let row = world
        .dump()
        .into_iter()
        .find(|row| row["id"] == adjustment)
        .unwrap();
    assert_eq!(
        row,
        json!({"pk": "ITEM#MUG-01", "sk": format!("ADJUSTMENT#{}", adjustment.as_str().unwrap()), "schema": 1,
               "id": adjustment, "sku": "MUG-01", "delta": 3, "reason": "Found",
               "made_by": id(1), "created_at": at})
    );
    let item = world.get(of("MUG-01")).await;
    assert_eq!(item.body["updated_at"], at);
}

#[tokio::test]
async fn an_adjustment_removes_only_available_units() {
    let world = shop().await;
    world.reserve(9, &[("MUG-01", 3)]).await;
    let before = world.dump();
    let lost = adjust(&world, "MUG-01", &by(-3), None).await;
    assert_eq!(lost.problem(), problem(409, "insufficient-stock", &[]));
    assert_eq!(
        lost.body["detail"],
        "only 2 units of MUG-01 are available; this adjustment removes 3"
    );
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn an_adjustment_with_a_key_is_made_once() {
    let world = shop().await;
    let body = by(-4);
    let first = adjust(&world, "MUG-01", &body, Some("key-1")).await;
    assert_eq!(first.status, 201);
    let after = world.dump();
    world.advance(60);
    // One unit is left, so a second adjustment would be refused.
    let again = adjust(&world, "MUG-01", &body, Some("key-1")).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(world.dump(), after);
    for other in [by(-1), json!({"delta": -4, "reason": "Sold"})] {
        let refused = adjust(&world, "MUG-01", &other, Some("key-1")).await;
        assert_eq!(
            refused.problem(),
            problem(422, "idempotency-key-reused", &[])
        );
    }
    assert_eq!(world.dump(), after);
}

#[tokio::test]
async fn a_repeated_or_quoted_key_adjusts_once() {
    for sent in ["key-1,key-1", "key-1, key-1", "\"key-1\""] {
        let world = shop().await;
        let body = by(-4);
        let first = adjust(&world, "MUG-01", &body, Some(sent)).await;
        let again = adjust(&world, "MUG-01", &body, Some("key-1")).await;
        assert_eq!((again.status, &again.body), (201, &first.body), "{sent}");
        assert_eq!(world.levels("MUG-01"), (1, 1, 0));
    }
    let world = shop().await;
    let body = by(1);
    let two = adjust(&world, "MUG-01", &body, Some("key-1,key-2")).await;
    assert_eq!(two.problem(), invalid(&["Idempotency-Key"]));
    assert_eq!(world.levels("MUG-01"), (5, 5, 0));
}

#[tokio::test]
async fn an_adjustment_with_a_former_form_of_its_key_is_found() {
    for sent in ["\"key-1\"", "key-1,key-1"] {
        let world = shop().await;
        let name = format!("adjustment MUG-01 {sent}");
        let before = Adjustment {
            id: uuid::Uuid::new_v5(&id(1), name.as_bytes()),
            sku: Sku::parse("MUG-01").unwrap(),
            delta: Delta::parse(-4).unwrap(),
            reason: Reason::parse("Lost").unwrap(),
            made_by: id(1),
            created_at: world.context().now,
        };
        world.store.adjust(&before, id(9)).await.unwrap();
        let body = by(-4);
        let again = adjust(&world, "MUG-01", &body, Some(sent)).await;
        assert_eq!(again.body["id"], json!(before.id), "{sent}");
        let other = by(-1);
        let refused = adjust(&world, "MUG-01", &other, Some(sent)).await;
        assert_eq!(refused.status, 422);
        assert_eq!(world.levels("MUG-01"), (1, 1, 0));
    }
}

#[tokio::test]
async fn an_unknown_parameter_changes_nothing() {
    let world = shop().await;
    let before = world.dump();
    let odd = |body: Value| {
        let request = world.as_admin().with_path_parameter("sku", "MUG-01");
        request
            .with_query("colour", "red")
            .with_body(body.to_string())
    };
    let mut other = mug();
    other["sku"] = json!("CUP");
    for answer in [
        world.create(odd(other)).await,
        world.update(odd(json!({"name": "Cup"}))).await,
        world.adjust(odd(by(1))).await,
    ] {
        assert_eq!(answer.problem(), invalid(&["colour"]));
    }
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn mistakes_are_reported_beside_unknown_fields() {
    let world = shop().await;
    let body = r#"{"sku": "", "name": 7, "price": {"amount": 1.5, "currency": "USD"},
                   "stock": 3.0, "colour": "red"}"#;
    let answer = world.create(world.as_admin().with_body(body)).await;
    let fields = ["/colour", "/name", "/price/amount", "/sku"];
    assert_eq!(answer.problem(), invalid(&fields));
    let body = json!({"delta": "1", "reason": "", "note": 1});
    let answer = adjust(&world, "MUG-01", &body, Some("a key")).await;
    let fields = ["Idempotency-Key", "/delta", "/note", "/reason"];
    assert_eq!(answer.problem(), invalid(&fields));
    assert_eq!(world.levels("MUG-01"), (5, 5, 0));
}

#[tokio::test]
async fn a_key_belongs_to_one_administrator_and_one_item() {
    let world = shop().await;
    world.stock("TEE", 100, 5).await;
    let body = by(1);
    let mine = adjust(&world, "MUG-01", &body, Some("key-1")).await;
    let other_item = adjust(&world, "TEE", &body, Some("key-1")).await;
    let other_admin = world
        .adjust(
            of("MUG-01")
                .with_header(
                    "authorization",
                    world.token(id(3), shared_auth::Role::Admin),
                )
                .with_header("idempotency-key", "key-1")
                .with_body(body.to_string()),
        )
        .await;
    assert_ne!(mine.body["id"], other_item.body["id"]);
    assert_ne!(mine.body["id"], other_admin.body["id"]);
    assert_eq!(world.levels("MUG-01"), (7, 7, 0));
}

#[tokio::test]
async fn an_adjustment_without_a_key_is_made_each_time() {
    let world = shop().await;
    for _ in 0..3 {
        adjust(&world, "MUG-01", &by(1), None).await;
    }
    assert_eq!(world.levels("MUG-01"), (8, 8, 0));
    world.check_books(5);
}

#[tokio::test]
async fn one_key_used_forty_times_at_once_adjusts_once() {
    for seed in 0..4 {
        let world = shop().await;
        world.aws.interleave(seed);
        let body = by(-3);
        let answers = (0..40).map(|_| adjust(&world, "MUG-01", &body, Some("key-1")));
        let answers = join_all(answers).await;
        let first = &answers[0].body;
        assert!(
            answers
                .iter()
                .all(|answer| answer.status == 201 && answer.body == *first)
        );
        assert_eq!(world.levels("MUG-01"), (2, 2, 0), "seed {seed}");
        world.check_books(5);
    }
}

#[tokio::test]
async fn a_lost_answer_of_the_table_does_not_adjust_twice() {
    let world = World::with_attempts(2).await;
    world.stock("MUG-01", 100, 5).await;
    world
        .aws
        .fault_on("dynamodb:TransactWriteItems", Fault::AfterEffect);
    let body = by(-4);
    let answer = adjust(&world, "MUG-01", &body, None).await;
    assert_eq!((answer.status, world.aws.fired()), (201, 1));
    assert_eq!(world.levels("MUG-01"), (1, 1, 0));
}

#[tokio::test]
async fn a_retry_with_the_key_finishes_an_interrupted_adjustment() {
    let body = by(-4);
    for fault in [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle] {
        let world = shop().await;
        world
            .aws
            .fault_on("dynamodb:TransactWriteItems", fault.clone());
        let failed = adjust(&world, "MUG-01", &body, Some("key-1")).await;
        assert_eq!(
            failed.problem(),
            problem(503, "unavailable", &[]),
            "{fault:?}"
        );
        assert_eq!(failed.header("retry-after"), Some("1"));
        let again = adjust(&world, "MUG-01", &body, Some("key-1")).await;
        assert_eq!(again.status, 201, "{fault:?}");
        assert_eq!(world.levels("MUG-01"), (1, 1, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_without_a_key_is_outcome_unknown() {
    let body = by(-4);
    for fault in [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle] {
        let world = shop().await;
        world.aws.fault_on("dynamodb:TransactWriteItems", fault);
        let failed = adjust(&world, "MUG-01", &body, None).await;
        assert_eq!(failed.problem(), problem(503, "outcome-unknown", &[]));
        assert_eq!(failed.header("retry-after"), None);
    }
}

/// A function that times out cannot say whether the adjustment was made, and a retry without a key is
/// not safe.
#[test]
fn all_calls_of_an_adjustment_fit_its_timeout() {
    // The adjustment, its earlier record and the item.
    let waited = 3 * CALL_TIMEOUT;
    let template = Template::of_service("inventory");
    let function = template.properties("InventoryAdjustFunction", "AWS::Serverless::Function");
    let limit = Duration::from_secs(function["Timeout"].as_u64().unwrap());
    assert!(waited < limit, "{waited:?} of {limit:?}");
}

#[tokio::test]
async fn an_adjustment_waits_for_the_transactions_of_orders() {
    let world = shop().await;
    let body = by(-4);
    fail(
        &world,
        3,
        "dynamodb:TransactWriteItems",
        Fault::TransactionConflict,
    );
    assert_eq!(adjust(&world, "MUG-01", &body, None).await.status, 201);
    fail(
        &world,
        8,
        "dynamodb:TransactWriteItems",
        Fault::TransactionConflict,
    );
    let refused = adjust(&world, "MUG-01", &body, None).await;
    assert_eq!(refused.problem(), problem(503, "unavailable", &[]));
    world.check_books(5);
}

#[tokio::test]
async fn the_catalogue_is_listed_page_by_page_each_item_once() {
    let world = World::new().await;
    let skus: Vec<String> = (0..7).map(|n| format!("S{n}")).collect();
    for sku in skus.iter().rev() {
        world.stock(sku, 100, 5).await;
    }
    world.reserve(9, &[("S0", 1)]).await;
    for limit in 1..=8 {
        let mut listed = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = Request::new().with_query("limit", limit.to_string());
            if let Some(cursor) = cursor {
                request = request.with_query("cursor", cursor);
            }
            let page = world.list(request).await;
            assert_eq!(page.status, 200);
            let items = page.body["items"].as_array().unwrap();
            assert!(!items.is_empty() && items.len() <= limit);
            listed.extend(
                items
                    .iter()
                    .map(|item| item["sku"].as_str().unwrap().to_owned()),
            );
            assert!(listed.len() <= skus.len(), "limit {limit}: {listed:?}");
            cursor = page.body["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, skus, "limit {limit}");
    }
}

#[tokio::test]
async fn a_list_shows_the_current_stock() {
    let world = shop().await;
    world.reserve(9, &[("MUG-01", 5)]).await;
    let listed = world.list(Request::new()).await;
    assert_eq!(listed.body["items"][0]["available"], 0);
}

#[tokio::test]
async fn an_empty_catalogue_is_an_empty_list() {
    let world = World::new().await;
    let listed = world.list(Request::new()).await;
    assert_eq!(listed.body, json!({"items": [], "next_cursor": null}));
}

#[tokio::test]
async fn a_list_is_complete_when_the_table_answers_in_parts() {
    let world = World::new().await;
    for n in 0..5 {
        world.stock(&format!("S{n}"), 100, 5).await;
    }
    fail(&world, 4, "dynamodb:BatchGetItem", Fault::Unprocessed);
    let listed = world.list(Request::new()).await;
    let skus: Vec<&Value> = listed.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["sku"])
        .collect();
    assert_eq!(skus, ["S0", "S1", "S2", "S3", "S4"]);
    assert_eq!(world.aws.fired(), 4);
}

#[tokio::test]
async fn a_bad_limit_or_cursor_is_named() {
    let world = shop().await;
    let first = world.list(Request::new().with_query("cursor", "")).await;
    assert_eq!(first.body, world.list(Request::new()).await.body);
    let searched = world.list(Request::new().with_query("q", "mug")).await;
    assert_eq!(searched.problem(), invalid(&["q"]));
    let listed = world.list(Request::new().with_query("limit", "0")).await;
    assert_eq!(listed.problem(), invalid(&["limit"]));
    let nowhere = shared_lambda::cursor::encode(&json!({"after": ""}));
    let too_long = shared_lambda::cursor::encode(&json!({"after": "x".repeat(1025)}));
    let another_list = shared_lambda::cursor::encode(&json!({"before": 7}));
    for cursor in [
        "nonsense!",
        "e30",
        nowhere.as_str(),
        too_long.as_str(),
        another_list.as_str(),
    ] {
        let listed = world
            .list(Request::new().with_query("cursor", cursor))
            .await;
        assert_eq!(listed.problem(), invalid(&["cursor"]), "{cursor}");
    }
}

/// `base` with a member set.
fn with(base: &Value, pointer: &str, value: Value) -> Value {
    let mut body = base.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(name.to_owned(), value);
    body
}

/// Invalid items, each with its wrong fields. The contract tests use them too.
pub fn bad_items() -> Vec<(Value, Vec<&'static str>)> {
    let long = "x".repeat(201);
    let case = |pointer: &'static str, value: Value| (with(&mug(), pointer, value), vec![pointer]);
    vec![
        case("/sku", json!("")),
        case("/sku", json!("-mug")),
        case("/sku", json!("mug 01")),
        case("/sku", json!("x".repeat(65))),
        case("/sku", json!(7)),
        case("/sku", json!(null)),
        case("/name", json!("")),
        case("/name", json!(long)),
        case("/name", json!(["mug"])),
        case("/name", json!("mug\n")),
        case("/name", json!("\u{1}")),
        case("/price", json!(1250)),
        case("/price/amount", json!(0)),
        case("/price/amount", json!(-1)),
        case("/price/amount", json!(1_000_000_000_000_i64)),
        case("/price/amount", json!(12.5)),
        case("/price/amount", json!("1250")),
        case("/price/currency", json!("usd")),
        case("/price/currency", json!("USDX")),
        case("/price/tax", json!(7)),
        case("/stock", json!(-1)),
        case("/stock", json!(1_000_000_001)),
        case("/stock", json!(1e30)),
        case("/stock", json!(true)),
        case("/available", json!(1_000)),
    ]
}

pub fn bad_adjustments() -> Vec<(Value, Vec<&'static str>)> {
    let good = by(1);
    let case = |pointer: &'static str, value: Value| (with(&good, pointer, value), vec![pointer]);
    vec![
        case("/delta", json!(0)),
        case("/delta", json!(1_000_001)),
        case("/delta", json!(-1_000_001)),
        case("/delta", json!(i64::MIN)),
        case("/delta", json!(0.5)),
        case("/delta", json!("1")),
        case("/delta", json!(null)),
        case("/reason", json!("")),
        case("/reason", json!("x".repeat(201))),
        case("/reason", json!(1)),
        case("/reason", json!("los\u{7f}t")),
        case("/note", json!("x")),
    ]
}

pub fn bad_changes() -> Vec<(Value, Vec<&'static str>)> {
    vec![
        (json!({}), vec![""]),
        (json!({"name": ""}), vec!["/name"]),
        (json!({"name": null}), vec!["/name"]),
        (json!({"price": null, "name": "x"}), vec!["/price"]),
        (
            json!({"price": {"amount": 0, "currency": "USD"}}),
            vec!["/price/amount"],
        ),
        (json!({"stock": 7}), vec!["/stock", ""]),
        (json!({"sku": "OTHER"}), vec!["/sku", ""]),
    ]
}

#[tokio::test]
async fn every_wrong_field_is_named_and_nothing_changes() {
    let world = shop().await;
    let before = world.dump();
    let check = |answer: Answer, body: &Value, fields: &[&str]| {
        assert_eq!(answer.problem(), invalid(fields), "{body}");
    };
    for (body, fields) in bad_items() {
        let answer = post(&world, &body).await;
        check(answer, &body, &fields);
    }
    for (body, fields) in bad_changes() {
        check(patch(&world, "MUG-01", &body).await, &body, &fields);
    }
    for (body, fields) in bad_adjustments() {
        check(adjust(&world, "MUG-01", &body, None).await, &body, &fields);
    }
    let good = by(1);
    for key in ["", "with blank", "ü", &"x".repeat(256)] {
        let answer = adjust(&world, "MUG-01", &good, Some(key)).await;
        check(answer, &good, &["Idempotency-Key"]);
    }
    assert_eq!(world.dump(), before);
}

#[tokio::test]
async fn a_number_out_of_range_is_reported_with_its_range() {
    let world = shop().await;
    let at = |answer: &Answer| answer.body["detail"].as_str().unwrap().to_owned();
    const STOCK: &str = "not a stock: send a whole number from 0 to 1000000000";
    const PRICE: &str = "not a price in minor units: send a whole number from 1 to 999999999999";
    for (pointer, sent, wanted) in [
        ("/stock", "-1", STOCK),
        ("/stock", "18446744073709551616", STOCK),
        ("/price/amount", "-1e400", PRICE),
        ("/price/amount", "0", PRICE),
    ] {
        let body = with(&mug(), pointer, json!("here")).to_string();
        let body = body.replace("\"here\"", sent);
        let answer = world.create(world.as_admin().with_body(body)).await;
        assert_eq!(at(&answer), format!("{pointer} is {sent}, {wanted}"));
    }
    let body = json!({"delta": 1_000_001, "reason": "Found"});
    assert_eq!(
        at(&adjust(&world, "MUG-01", &body, None).await),
        "/delta is 1000001, not an adjustment: send a whole number from -1000000 to 1000000, except 0"
    );
}

#[tokio::test]
async fn a_failing_table_is_a_503_without_details() {
    for action in ["GetItem", "Query", "BatchGetItem", "PutItem", "UpdateItem"] {
        let world = shop().await;
        for fault in [Fault::Throttle, Fault::BeforeEffect] {
            world.aws.fault_on(&format!("dynamodb:{action}"), fault);
            let answer = match action {
                "GetItem" => world.get(of("MUG-01")).await,
                "PutItem" => post(&world, &mug()).await,
                "UpdateItem" => patch(&world, "MUG-01", &json!({"name": "x"})).await,
                _ => world.list(Request::new()).await,
            };
            assert_eq!(
                answer.problem(),
                problem(503, "unavailable", &[]),
                "{action}"
            );
            assert!(!answer.body.to_string().contains("hroughput"));
        }
    }
}
