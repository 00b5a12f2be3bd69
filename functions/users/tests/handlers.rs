//! The functions, from a request or message to the whole answer.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use serde_json::{Value, json};
use shared_auth::{Role, SigningKey};
use shared_lambda::http::{Request, respond};
use shared_lambda::sqs::{self, Queue};
use test_support::Fault;
use tokio::time::Instant;
use users::domain::{Email, User};
use users::handlers::jwks::{self, PublishedKeys};
use users::handlers::verify;
use uuid::Uuid;

use crate::described::described;
use crate::problems::{
    assert_problem, email_taken, internal, invalid_credentials, no_such_user, unavailable,
};
use crate::world::{NOW, PASSWORD, REPLIES, World, body_of, hashed, id, user, with_body};

const COMMANDS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-users-commands";

/// The request of a recorded API Gateway event (HTTP API, payload format 2.0).
fn request(event: &str) -> Request {
    Request::of_event(serde_json::from_str(event).unwrap()).unwrap()
}

fn recorded_login() -> Request {
    request(include_str!("fixtures/login.json"))
}

pub fn ada(user_id: Uuid) -> Value {
    json!({
        "id": user_id,
        "email": "ada@example.com",
        "name": "Ada Lovelace",
        "role": "customer",
        "status": "active",
        "created_at": NOW,
    })
}

// ---- All together

#[tokio::test]
async fn a_customer_registers_logs_in_and_sees_their_profile() {
    let world = World::new().await;

    let registered = world
        .register(request(include_str!("fixtures/register.json")))
        .await;
    assert_eq!(registered.status, 201);
    assert_eq!(body_of(&registered), ada(id(1)));
    assert_eq!(
        registered.header("location"),
        Some("/api/v1/users/01890a5d-ac96-7000-8000-000000000001")
    );
    assert_eq!(registered.header("content-type"), Some("application/json"));

    let logged_in = world.log_in(recorded_login()).await;
    assert_eq!(logged_in.status, 200);
    assert_eq!(logged_in.header("cache-control"), Some("no-store"));
    let tokens = body_of(&logged_in);
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        tokens,
        json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 900,
            "refresh_token": tokens["refresh_token"].as_str().unwrap(),
        })
    );

    let get = request(include_str!("fixtures/get.json"));
    let get = get.with_header("authorization", format!("Bearer {token}"));
    for shown in [world.get(get.clone()).await, world.me(get).await] {
        assert_eq!(shown.status, 200);
        assert_eq!(body_of(&shown), ada(id(1)));
        assert_eq!(shown.header("cache-control"), Some("no-store"));
    }
}

// ---- users-register

#[tokio::test]
async fn an_address_is_the_same_in_any_spelling() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    for email in ["ada@example.com", " ADA@Example.COM\n"] {
        let body = json!({"email": email, "password": "another long password", "name": "Eve"});
        assert_problem(&world.register(with_body(&body)).await, &email_taken());
        world.session(email).await;
    }
}

#[tokio::test]
async fn a_repeated_registration_is_a_conflict_and_can_log_in() {
    let world = World::new().await;
    // The first call counts the registration.
    world.aws.fault_at(1, Fault::AfterEffect);
    let register = request(include_str!("fixtures/register.json"));
    let lost = world.register(register.clone()).await;
    assert_problem(&lost, &unavailable());
    assert_eq!(lost.header("retry-after"), Some("1"));
    assert_eq!(world.register(register).await.status, 409);
    assert_eq!(world.log_in(recorded_login()).await.status, 200);
}

#[tokio::test]
async fn an_unreachable_table_is_503_and_a_broken_row_500() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let of_ada = || world.request_of(user_id, Role::Customer);
    let by_id = || of_ada().with_path_parameter("id", user_id.to_string());

    world.fault("GetItem", Fault::Throttle);
    assert_problem(&world.me(of_ada()).await, &unavailable());
    world.fault("GetItem", Fault::BeforeEffect);
    assert_problem(&world.get(by_id()).await, &unavailable());
    world.fault("GetItem", Fault::BeforeEffect);
    assert_problem(&world.log_in(recorded_login()).await, &unavailable());
    assert_eq!(world.aws.fired(), 3);

    world.set(user_id, "role", "owner").await;
    assert_problem(&world.me(of_ada()).await, &internal());
    assert_problem(&world.get(by_id()).await, &internal());
    assert_problem(&world.log_in(recorded_login()).await, &internal());
}

// ---- users-login

#[tokio::test]
async fn a_login_token_has_the_users_current_role() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    for role in [Role::Customer, Role::Admin, Role::Customer] {
        world.set(user_id, "role", role.as_str()).await;
        let tokens = body_of(&world.log_in(recorded_login()).await);
        let token = tokens["access_token"].as_str().unwrap();
        let caller = world.verifier.verify(token, NOW.parse().unwrap()).unwrap();
        assert_eq!((caller.user_id, caller.role), (user_id, role));
    }
}

#[tokio::test]
async fn every_failed_login_gets_the_same_answer() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    let gone = world.registered("gone@example.com").await;
    world.set(gone, "status", "deactivated").await;
    for (email, password) in [
        ("ada@example.com", "not her password"),
        ("ada@example.com", ""),
        ("ada@example.com", " plum tractor voyage"),
        ("ada@example.com", "Plum tractor voyage"),
        ("nobody@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
        ("gone@example.com", "not the password"),
        ("not an address", PASSWORD),
        ("", ""),
    ] {
        let body = json!({"email": email, "password": password});
        let response = world.log_in(with_body(&body)).await;
        assert_problem(&response, &invalid_credentials());
        assert_eq!(
            response.header("www-authenticate"),
            Some(r#"Bearer realm="waybill""#)
        );
    }
}

#[tokio::test]
async fn a_credential_without_a_user_or_a_hash_is_a_500() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    let mut row = world.email_row();
    row["user_id"] = json!(id(99));
    world.aws.put_raw(&world.table, row.clone());
    assert_problem(&world.log_in(recorded_login()).await, &internal());
    row["password_hash"] = json!("plum tractor voyage");
    world.aws.put_raw(&world.table, row);
    assert_problem(&world.log_in(recorded_login()).await, &internal());
}

// ---- users-me and users-get

#[tokio::test]
async fn a_profile_is_visible_to_its_owner_and_administrators() {
    let world = World::new().await;
    let ada_id = world.registered("ada@example.com").await;
    let bob_id = world.registered("bob@example.com").await;
    let get = |caller, role, id: Uuid| {
        let request = world.request_of(caller, role);
        world.get(request.with_path_parameter("id", id.to_string()))
    };
    // The role in the token is not enough.
    assert_problem(&get(bob_id, Role::Admin, ada_id).await, &no_such_user());
    world.set(bob_id, "role", "admin").await;
    world.set(ada_id, "status", "deactivated").await;
    let mut expected = ada(ada_id);
    expected["status"] = json!("deactivated");
    for response in [
        get(ada_id, Role::Customer, ada_id).await,
        get(bob_id, Role::Admin, ada_id).await,
        world.me(world.request_of(ada_id, Role::Customer)).await,
    ] {
        assert_eq!(response.status, 200);
        assert_eq!(body_of(&response), expected);
    }
    // Another user's profile and a missing one get the same answer.
    world.set(bob_id, "status", "deactivated").await;
    for response in [
        get(bob_id, Role::Admin, ada_id).await,
        get(bob_id, Role::Customer, ada_id).await,
        get(bob_id, Role::Customer, id(99)).await,
        get(id(99), Role::Customer, id(99)).await,
        world.me(world.request_of(id(99), Role::Customer)).await,
    ] {
        assert_problem(&response, &no_such_user());
    }
}

// ---- users-jwks

#[tokio::test]
async fn the_published_key_set_is_the_configured_text() {
    let origin = World::new().await.origin;
    let keys = [(); 2].map(|()| SigningKey::generate().public_jwk());
    let text = format!("{{ \"keys\" : [{}, {}] }}", keys[0], keys[1]);
    let keys = PublishedKeys::parse(text.clone()).unwrap();
    let response = respond(&origin, Request::new(), |context, request| {
        jwks::handle(&keys, context, request)
    })
    .await;
    let response = described("GET /.well-known/jwks.json", response);
    assert_eq!(
        (response.status, response.body.as_ref()),
        (200, Some(&text))
    );
    let max_age = response.header("cache-control");
    assert_eq!(max_age, Some("public, max-age=300"));
}

#[test]
fn a_key_set_that_a_verifier_refuses_is_not_published() {
    let private = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a"});
    for text in [
        String::new(),
        "not JSON".to_owned(),
        "{}".to_owned(),
        shared_auth::jwks(&[]),
        shared_auth::jwks(&[private]),
    ] {
        assert!(PublishedKeys::parse(text.clone()).is_err(), "{text}");
    }
}

// ---- users-verify

fn command(order_id: Uuid, data: Value) -> Value {
    json!({
        "id": id(70),
        "type": "VerifyUser",
        "version": 1,
        "order_id": order_id,
        "time": "2026-11-23T09:59:59.000Z",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": data,
    })
}

fn batch(messages: &[&Value]) -> SqsEvent {
    let records: Vec<Value> = (1..)
        .zip(messages)
        .map(|(n, body)| {
            json!({
                "messageId": format!("m{n}"),
                "receiptHandle": format!("r{n}"),
                "body": body.to_string(),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
            })
        })
        .collect();
    serde_json::from_value(json!({"Records": records})).unwrap()
}

/// The ids of the messages that failed.
async fn deliver(world: &World, event: SqsEvent) -> Vec<String> {
    let queue = Queue::new(world.aws.sqs(), COMMANDS.to_owned());
    let ends_at = Instant::now() + Duration::from_secs(15);
    let response = sqs::process(&world.origin, &queue, event, ends_at, |context, command| {
        verify::handle(&world.verify, context, command)
    })
    .await;
    response
        .batch_item_failures
        .into_iter()
        .map(|failure| failure.item_identifier)
        .collect()
}

/// The replies to orders: order, type and data.
fn replies(world: &World) -> Vec<(Value, Value, Value)> {
    let mut replies = world.aws.sent(REPLIES);
    let parts = replies.iter_mut().map(|reply| {
        let kind = reply["type"].as_str().unwrap().to_owned();
        test_support::contracts::assert_valid("users", &kind, &reply["data"]);
        ["order_id", "type", "data"]
            .map(|part| reply[part].take())
            .into()
    });
    parts.collect()
}

fn refused(order_id: &str, user_id: Uuid, detail: &str) -> (Value, Value, Value) {
    let data = json!({"user_id": user_id, "code": "user_not_allowed", "detail": detail});
    (json!(order_id), json!("UserRefused"), data)
}

#[tokio::test]
async fn a_batch_is_answered_and_only_its_poison_fails() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    assert_eq!(user_id, id(1));
    let batch = || serde_json::from_str(include_str!("fixtures/verify.json")).unwrap();
    let before = world.aws.dump(&world.table);
    let [first, third] = [1, 3].map(|n| format!("0193a000-0000-7000-8000-00000000000{n}"));
    let verified = (
        json!(first),
        json!("UserVerified"),
        json!({"user_id": user_id}),
    );
    let unknown = refused(&third, id(0x99), "there is no such user");
    // A repeated command gets the same reply.
    for _ in 0..2 {
        let failed = deliver(&world, batch()).await;
        assert_eq!(failed, ["22222222-0000-4000-8000-000000000002"]);
        assert_eq!(replies(&world), [verified.clone(), unknown.clone()]);
    }
    assert_eq!(world.aws.dump(&world.table), before);

    world.set(user_id, "status", "deactivated").await;
    deliver(&world, batch()).await;
    let deactivated = refused(&first, user_id, "the user is deactivated");
    assert_eq!(replies(&world), [deactivated, unknown]);
}

#[tokio::test]
async fn a_reply_has_the_whole_envelope_and_the_commands_trace() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let order_id = id(60);
    let event = batch(&[&command(order_id, json!({"user_id": user_id}))]);
    assert!(deliver(&world, event).await.is_empty());
    let sent = world.aws.sent(REPLIES).remove(0);
    let traceparent = sent["traceparent"].as_str().unwrap();
    assert!(traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!(
        sent,
        json!({
            "id": Uuid::new_v5(&order_id, b"UserVerified"),
            "type": "UserVerified",
            "version": 1,
            "order_id": order_id,
            "time": NOW,
            "traceparent": traceparent,
            "data": {"user_id": user_id},
        })
    );
}

#[tokio::test]
async fn an_invalid_command_fails_alone_and_gets_no_reply() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let good = command(id(60), json!({"user_id": user_id}));
    let mut other_type = good.clone();
    other_type["type"] = json!("DeleteUser");
    let mut other_version = good.clone();
    other_version["version"] = json!(2);
    let mut no_order = good.clone();
    no_order.as_object_mut().unwrap().remove("order_id");
    let event = batch(&[
        &other_type,
        &other_version,
        &no_order,
        &command(id(61), json!({})),
        &command(id(62), json!({"user_id": "ada"})),
        &json!(["VerifyUser"]),
        &good,
    ]);
    assert_eq!(
        deliver(&world, event).await,
        ["m1", "m2", "m3", "m4", "m5", "m6"]
    );
    assert_eq!(replies(&world).len(), 1);
}

#[tokio::test]
async fn a_command_is_acknowledged_after_its_reply_is_sent() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let message = command(id(60), json!({"user_id": user_id}));

    world.fault("GetItem", Fault::Throttle);
    assert_eq!(deliver(&world, batch(&[&message])).await, ["m1"]);
    world
        .aws
        .fault_on("sqs:SendMessageBatch", Fault::PartialSend(vec![0]));
    assert_eq!(deliver(&world, batch(&[&message])).await, ["m1"]);
    assert!(replies(&world).is_empty());
    world
        .aws
        .fault_on("sqs:SendMessageBatch", Fault::AfterEffect);
    assert_eq!(deliver(&world, batch(&[&message])).await, ["m1"]);
    assert!(deliver(&world, batch(&[&message])).await.is_empty());
    assert_eq!(world.aws.fired(), 3);
    let data = json!({"user_id": user_id});
    let verified = (json!(id(60)), json!("UserVerified"), data);
    assert_eq!(replies(&world), [verified.clone(), verified]);
}

/// The SDK retries where an answer is late, and the first request may have taken effect.
#[tokio::test]
async fn retries_by_the_sdk_give_the_requested_result() {
    let world = World::that_loses_answers().await;
    let (ada, bob) = ("ada@example.com", "bob@example.com");
    let user_id = world.registered(ada).await;
    let admin_id = world.registered(bob).await;
    world.set(admin_id, "role", "admin").await;

    let token = world.session(ada).await;
    let response = world.refreshed(&token).await;
    assert_eq!(response.status, 200);
    let live = crate::world::refresh_token(&response);
    assert_eq!(world.refreshed(&live).await.status, 200);
    assert_eq!(world.log_out(&live).await.status, 204);
    assert_eq!(world.refreshed(&live).await.status, 401);

    let request_of = || world.request_of(user_id, Role::Customer);
    let renamed = json!({"name": "Augusta"}).to_string();
    let request = request_of().with_body(renamed);
    let response = world.call("PATCH /api/v1/users/me", request).await;
    assert_eq!(body_of(&response)["name"], "Augusta");
    let change = json!({"current_password": PASSWORD, "new_password": "another long password"});
    let response = world
        .change_password(request_of().with_body(change.to_string()))
        .await;
    assert_eq!(response.status, 204, "{response:?}");
    let off = json!({"status": "deactivated"}).to_string();
    let request = world.request_of(admin_id, Role::Admin).with_body(off);
    let request = request.with_path_parameter("id", user_id.to_string());
    let response = world.call("PATCH /api/v1/users/{id}", request).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(body_of(&response)["status"], "deactivated");
    assert!(world.aws.fired() > 15, "{}", world.aws.fired());
}

#[tokio::test]
async fn an_old_address_still_logs_in_and_is_described() {
    let world = World::new().await;
    let email = ".ada@example.com";
    assert!(Email::parse(email).is_err());
    let old = User {
        email: Email::from_record(email.to_owned()),
        ..user(id(1), "ada@example.com")
    };
    let hash = hashed(PASSWORD);
    world.store.register(&old, &hash, None).await.unwrap();
    world.session(".Ada@example.com").await;
    let shown = world.me(world.request_of(id(1), Role::Customer)).await;
    assert_eq!(body_of(&shown)["email"], email);
}
