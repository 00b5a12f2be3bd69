//! `GET /api/v1/payments/{order_id}`: whole responses, and their readers.

use payments::handlers::get;
use shared_auth::{Caller, Role};
use shared_lambda::http::{Request, Response, respond};
use test_support::Fault;

use super::*;

async fn get(world: &World, user_id: UserId, role: Role, order_id: &str) -> (u16, Value) {
    let response = get_response(world, user_id, role, order_id).await;
    let body = serde_json::from_str(response.body.as_deref().unwrap()).unwrap();
    (response.status, body)
}

async fn get_response(world: &World, user_id: UserId, role: Role, order_id: &str) -> Response {
    let request = Request::new().with_path_parameter("order_id", order_id);
    let caller = Caller {
        user_id: user_id.0,
        role,
        token: String::new(),
    };
    respond(&world.origin, request, |context, request| {
        get::handle(&world.store, caller.clone(), context, request)
    })
    .await
}

async fn get_own(world: &World) -> (u16, Value) {
    get(world, OWNER, Role::Customer, &ORDER.0.to_string()).await
}

/// The body of a new charge, with these differences.
fn payment(differences: Value) -> Value {
    let mut body = json!({
        "order_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "user_id": "018f4e5a-7c3b-7d2e-9f10-3a5b6c7d8e9f",
        "status": "CHARGED",
        "amount": { "amount": 4990, "currency": "USD" },
        "refunded": null,
        "payment_id": "sim_charge-01890a5d-ac96-774b-bcce-b302099a8057",
        "created_at": "2026-11-23T12:00:00.000Z",
        "updated_at": "2026-11-23T12:00:00.000Z",
    });
    for (name, value) in differences.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn the_owner_and_an_administrator_see_a_charged_payment() {
    let world = World::new().await;
    world.deliver(&charge("pm_card_visa")).await.unwrap();
    let order_id = ORDER.0.to_string();
    for (user_id, role) in [(OWNER, Role::Customer), (STRANGER, Role::Admin)] {
        let answer = get(&world, user_id, role, &order_id).await;
        assert_eq!(answer, (200, payment(json!({}))));
    }
    let response = get_response(&world, OWNER, Role::Customer, &order_id).await;
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_refunded_payment_shows_amount_and_time() {
    let world = World::new().await;
    world.deliver(&charge("pm_card_visa")).await.unwrap();
    world.pass(61_001);
    world.deliver(&refund()).await.unwrap();
    let expected = payment(json!({
        "status": "REFUNDED",
        "refunded": { "amount": 4990, "currency": "USD" },
        "updated_at": "2026-11-23T12:01:01.001Z",
    }));
    assert_eq!(get_own(&world).await, (200, expected));
}

#[tokio::test]
async fn a_declined_payment_shows_the_reason() {
    let world = World::new().await;
    let declined = charge("pm_card_chargeDeclinedInsufficientFunds");
    world.deliver(&declined).await.unwrap();
    let expected = payment(json!({
        "status": "DECLINED",
        "payment_id": null,
        "failure": {
            "code": "insufficient_funds",
            "detail": "the card has insufficient funds",
        },
    }));
    assert_eq!(get_own(&world).await, (200, expected));
}

#[tokio::test]
async fn a_charge_voided_before_its_request_has_no_amount() {
    let world = World::new().await;
    world.deliver(&refund()).await.unwrap();
    let expected = payment(json!({ "status": "VOIDED", "amount": null, "payment_id": null }));
    assert_eq!(get_own(&world).await, (200, expected));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_stays_charging_until_voided() {
    let world = World::new().await;
    let unavailable = charge("pm_sim_unavailable");
    world.deliver(&unavailable).await.unwrap_err();
    let expected = payment(json!({ "status": "CHARGING", "payment_id": null }));
    assert_eq!(get_own(&world).await, (200, expected));
    world.deliver(&refund()).await.unwrap();
    let expected = payment(json!({ "status": "VOIDED", "payment_id": null }));
    assert_eq!(get_own(&world).await, (200, expected));
}

#[tokio::test]
async fn a_payment_is_charged_until_its_refund_is_confirmed() {
    let world = World::new().await;
    world.deliver(&charge("pm_card_visa")).await.unwrap();
    // The intent is recorded, but the simulator is unreachable.
    world.aws.fault_at(1, Fault::BeforeEffect);
    world.aws.fault_at(2, Fault::BeforeEffect);
    world.deliver(&refund()).await.unwrap_err();
    assert_eq!(world.status().as_deref(), Some("REFUNDING"));
    assert_eq!(get_own(&world).await, (200, payment(json!({}))));
}

#[tokio::test]
async fn another_users_payment_looks_like_a_missing_one() {
    let world = World::new().await;
    let order_id = ORDER.0.to_string();
    let none = get(&world, STRANGER, Role::Customer, &order_id).await;
    assert_eq!(none.0, 404);
    assert_eq!(none.1["type"], "/problems/not-found");
    world.deliver(&charge("pm_card_visa")).await.unwrap();
    let anothers = get(&world, STRANGER, Role::Customer, &order_id).await;
    assert_eq!(anothers, none);
}

#[tokio::test]
async fn an_invalid_order_id_is_a_400_that_names_the_field() {
    let world = World::new().await;
    for id in [
        "",
        "7",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "ORDER#1",
        "%00",
    ] {
        let (status, body) = get(&world, OWNER, Role::Admin, id).await;
        assert_eq!(
            (status, &body["errors"][0]["parameter"]),
            (400, &json!("order_id")),
            "{id}"
        );
    }
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn a_busy_table_is_a_503_with_retry_after() {
    let world = World::new().await;
    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    let order_id = ORDER.0.to_string();
    let response = get_response(&world, OWNER, Role::Customer, &order_id).await;
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn no_event_of_the_gateway_makes_the_endpoint_fail() {
    let world = World::new().await;
    for (name, event) in test_support::events::all() {
        let caller = Caller {
            user_id: OWNER.0,
            role: Role::Customer,
            token: String::new(),
        };
        let request = Request::of_event(event).unwrap();
        let response = respond(&world.origin, request, |context, request| {
            get::handle(&world.store, caller.clone(), context, request)
        })
        .await;
        assert_eq!(response.status, 400, "{name}: {response:?}");
    }
}
