//! Each function from the request or message that triggers it to its whole answer.

use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared_auth::{Role, SigningKey};
use shared_lambda::http::{Request, Response, respond};
use shared_lambda::sqs::{self, Queue};
use test_support::Fault;
use tokio::time::Instant;
use users::handlers::jwks::{self, PublishedKeys};
use users::handlers::verify;
use uuid::Uuid;

use crate::world::{INSTANCE, NOW, PASSWORD, REPLIES, World, body_of, id, invalid, with_body};

const COMMANDS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-users-commands";

/// The request of an API Gateway event (HTTP API, payload format 2.0), read as the runtime does.
fn request(event: &str) -> Request {
    Request::of_event(serde_json::from_str(event).unwrap()).unwrap()
}

pub fn problem(status: u16, slug: &str, title: &str, detail: &str) -> Value {
    json!({
        "type": format!("urn:waybill:problem:{slug}"),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": INSTANCE,
    })
}

pub fn unavailable() -> Value {
    problem(
        503,
        "unavailable",
        "The service is busy or not reachable",
        "nothing was lost; try again shortly, with the same Idempotency-Key where you sent one",
    )
}

pub fn internal() -> Value {
    problem(
        500,
        "internal",
        "Something went wrong here",
        "the failure has been logged; name the instance when you report it",
    )
}

pub fn no_such_user() -> Value {
    problem(
        404,
        "not-found",
        "There is no such resource",
        "there is no such user, or you may not see it",
    )
}

pub fn invalid_credentials() -> Value {
    problem(
        401,
        "invalid-credentials",
        "The caller is not authenticated",
        "the e-mail address or the password is wrong, or the account is not active",
    )
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

pub fn assert_problem(response: &Response, expected: &Value) {
    assert_eq!(body_of(response), *expected);
    assert_eq!(json!(response.status), expected["status"]);
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

// ---- The whole way

#[tokio::test]
async fn somebody_registers_logs_in_and_sees_their_profile() {
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

    let logged_in = world
        .log_in(request(include_str!("fixtures/login.json")))
        .await;
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
async fn a_taken_address_is_a_conflict_however_it_is_written() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    let before = users_rows(&world);
    for email in ["ada@example.com", " ADA@Example.COM "] {
        let body = json!({"email": email, "password": "another long password", "name": "Eve"});
        let response = world.register(with_body(&body)).await;
        assert_problem(
            &response,
            &problem(
                409,
                "email-taken",
                "The resource does not allow this now",
                "this e-mail address is already registered; log in instead",
            ),
        );
    }
    assert_eq!(users_rows(&world), before);
}

/// What is on record but for the counts of tries.
fn users_rows(world: &World) -> Vec<Value> {
    let mut rows = world.aws.dump(&world.table);
    rows.retain(|row| row["sk"] != "ATTEMPTS");
    rows
}

#[tokio::test]
async fn of_many_who_register_one_address_at_once_one_is_registered() {
    for seed in 0..5 {
        let world = World::new().await;
        world.aws.interleave(seed);
        let request = request(include_str!("fixtures/register.json"));
        let responses = join_all((0..8).map(|_| world.register(request.clone()))).await;
        let mut statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
        statuses.sort();
        assert_eq!(
            statuses,
            [201, 409, 409, 409, 409, 409, 409, 409],
            "seed {seed}"
        );
        assert_eq!(users_rows(&world).len(), 2, "seed {seed}");
    }
}

#[tokio::test]
async fn a_registration_whose_answer_was_lost_is_a_taken_address_and_logs_in() {
    let world = World::new().await;
    // The first call counts the registration.
    world.aws.fault_at(1, Fault::AfterEffect);
    let register = request(include_str!("fixtures/register.json"));
    let lost = world.register(register.clone()).await;
    assert_problem(&lost, &unavailable());
    assert_eq!(lost.header("retry-after"), Some("1"));
    assert_eq!(world.register(register).await.status, 409);
    let login = request(include_str!("fixtures/login.json"));
    assert_eq!(world.log_in(login).await.status, 200);
}

#[tokio::test]
async fn registration_takes_no_role_no_status_and_no_id() {
    let world = World::new().await;
    for (field, value) in [
        ("role", json!("admin")),
        ("is_admin", json!(true)),
        ("status", json!("active")),
        ("id", json!(id(9))),
        ("created_at", json!(NOW)),
    ] {
        let mut body = json!({"email": "eve@example.com", "password": PASSWORD, "name": "Eve"});
        body[field] = value;
        let response = world.register(with_body(&body)).await;
        let detail = "is not a known field; known here: email, password, name";
        assert_problem(&response, &invalid(&[(&format!("/{field}"), detail)]));
    }
    assert!(world.aws.dump(&world.table).is_empty());
}

#[tokio::test]
async fn every_wrong_field_of_a_registration_is_named_at_once() {
    const NOT_AN_ADDRESS: &str = "is not an e-mail address, for example ada@example.com";
    const TOO_SHORT: &str = "is shorter than 12 characters; use a few words in a row";
    const TOO_OBVIOUS: &str =
        "is mostly your name, your e-mail address or the word waybill; choose another";
    const TOO_COMMON: &str = "is one of the most common passwords; choose another";
    let world = World::new().await;
    let good = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
    let cases: Vec<(Value, Vec<(&str, &str)>)> = vec![
        (
            json!({}),
            vec![
                ("/email", "is missing"),
                ("/password", "is missing"),
                ("/name", "is missing"),
            ],
        ),
        (
            json!({"email": null, "password": null, "name": null}),
            vec![
                ("/email", "is null, not a string"),
                ("/name", "is null, not a string"),
                ("/password", "is null, not a string"),
            ],
        ),
        (
            json!({"email": "ada", "password": "short", "name": " "}),
            vec![
                ("/email", NOT_AN_ADDRESS),
                ("/password", TOO_SHORT),
                ("/name", "is empty or has only spaces; send a name"),
            ],
        ),
        (
            json!({"email": format!("{}@example.com", "a".repeat(250))}),
            vec![("/email", "is longer than 254 characters")],
        ),
        (json!({"email": ""}), vec![("/email", NOT_AN_ADDRESS)]),
        (
            json!({"password": "elevenchars"}),
            vec![("/password", TOO_SHORT)],
        ),
        (
            json!({"password": "xy".repeat(65)}),
            vec![("/password", "is longer than 128 characters")],
        ),
        (
            json!({"password": "Password1234"}),
            vec![("/password", TOO_COMMON)],
        ),
        (
            json!({"password": "ADA@example.com"}),
            vec![("/password", TOO_OBVIOUS)],
        ),
        (
            json!({"name": "x".repeat(101)}),
            vec![("/name", "is longer than 100 characters")],
        ),
        (
            json!({"name": "Ada\r\nBcc: eve"}),
            vec![(
                "/name",
                "contains a control character, such as a line break",
            )],
        ),
        (
            json!({"name": "Ada\u{202E}ecalevoL"}),
            vec![(
                "/name",
                "contains an invisible character, such as a zero-width space or a change of the \
                 writing direction; remove it",
            )],
        ),
        (
            json!({"name": "Grace Hopper", "password": "hopper-grace-1906"}),
            vec![("/password", TOO_OBVIOUS)],
        ),
    ];
    for (index, (change, errors)) in cases.into_iter().enumerate() {
        // The first three stand alone; the others are the good body but for what they say.
        let body = if index < 3 {
            change
        } else {
            let mut body = good.clone();
            let fields = change.as_object().unwrap().clone();
            body.as_object_mut().unwrap().extend(fields);
            body
        };
        let response = world.register(with_body(&body)).await;
        assert_problem(&response, &invalid(&errors));
    }
    assert!(world.aws.calls().is_empty(), "nothing reached the table");
}

#[tokio::test]
async fn a_body_of_the_wrong_shape_is_refused_and_says_where() {
    let world = World::new().await;
    let register: [(&str, &str, &str); 9] = [
        ("", "", "the body is empty; send a JSON object"),
        (
            "{",
            "",
            "the body is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            r#"{"email": 5, "password": "plum tractor voyage", "name": "Ada"}"#,
            "/email",
            "is a number, not a string",
        ),
        (
            r#"{"email": "a@example.com", "password": 123456789012, "name": "Ada"}"#,
            "/password",
            "is a number, not a string",
        ),
        (
            r#"{"email": "a@example.com", "password": {"$ne": ""}, "name": "Ada"}"#,
            "/password",
            "is an object, not a string",
        ),
        (
            r#"{"email": "a@example.com", "password": "plum tractor voyage", "name": ["Ada"]}"#,
            "/name",
            "is an array, not a string",
        ),
        (
            r#"{"email": "a@example.com", "password": "plum tractor voyage", "name": "a", "name": "b"}"#,
            "/name",
            "occurs more than once",
        ),
        ("7", "", "the body is a number, not an object"),
        (
            r#"["ada@example.com", "plum tractor voyage", "Ada"]"#,
            "",
            "the body is an array, not an object",
        ),
    ];
    for (body, pointer, detail) in register {
        let response = world.register(Request::new().with_body(body)).await;
        assert_problem(&response, &invalid(&[(pointer, detail)]));
    }
    let login: [(&str, &str, &str); 5] = [
        ("", "", "the body is empty; send a JSON object"),
        (r#"{"password": "a"}"#, "/email", "is missing"),
        (r#"{"email": "ada@example.com"}"#, "/password", "is missing"),
        (
            r#"{"email": "a", "password": 123456789012}"#,
            "/password",
            "is a number, not a string",
        ),
        (
            r#"{"email": "a", "password": "b", "otp": "c"}"#,
            "/otp",
            "is not a known field; known here: email, password",
        ),
    ];
    for (body, pointer, detail) in login {
        let response = world.log_in(Request::new().with_body(body)).await;
        assert_problem(&response, &invalid(&[(pointer, detail)]));
    }
    let response = world.log_in(Request::new().with_body("{}")).await;
    let both = [("/email", "is missing"), ("/password", "is missing")];
    assert_problem(&response, &invalid(&both));
    assert!(world.aws.calls().is_empty(), "nothing reached the table");
}

#[tokio::test]
async fn a_page_of_another_site_logs_nobody_in_and_registers_nobody() {
    let world = World::new().await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
    let not_json = problem(
        415,
        "unsupported-media-type",
        "The type of the request body is not supported",
        "the body is not declared as JSON in UTF-8; send Content-Type: application/json",
    );
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ] {
        let sent = || with_body(&body).with_header("content-type", kind);
        assert_problem(&world.register(sent()).await, &not_json);
        assert_problem(&world.log_in(sent()).await, &not_json);
    }
    assert!(world.aws.calls().is_empty(), "nothing reached the table");
}

#[tokio::test]
async fn a_body_over_64_kib_is_too_large() {
    let world = World::new().await;
    let body =
        json!({"email": "ada@example.com", "password": PASSWORD, "name": "x".repeat(65_536)});
    let too_large = problem(
        413,
        "payload-too-large",
        "The request body is too large",
        "a request body has at most 65536 bytes",
    );
    assert_problem(&world.register(with_body(&body)).await, &too_large);
    assert_problem(&world.log_in(with_body(&body)).await, &too_large);
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn a_table_that_does_not_answer_is_503_and_a_broken_row_500() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let of_ada = || world.request_of(user_id, Role::Customer);
    let by_id = || of_ada().with_path_parameter("id", user_id.to_string());
    let login = || request(include_str!("fixtures/login.json"));

    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    assert_problem(&world.me(of_ada()).await, &unavailable());
    world.aws.fault_on("dynamodb:GetItem", Fault::BeforeEffect);
    assert_problem(&world.get(by_id()).await, &unavailable());
    world.aws.fault_on("dynamodb:GetItem", Fault::BeforeEffect);
    assert_problem(&world.log_in(login()).await, &unavailable());
    assert_eq!(world.aws.fired(), 3);

    world.set(user_id, "role", "owner").await;
    assert_problem(&world.me(of_ada()).await, &internal());
    assert_problem(&world.get(by_id()).await, &internal());
    assert_problem(&world.log_in(login()).await, &internal());
}

// ---- users-login

#[tokio::test]
async fn a_token_says_who_and_in_which_role_at_the_time_of_the_login() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    for role in [Role::Customer, Role::Admin, Role::Customer] {
        world.set(user_id, "role", role.as_str()).await;
        let login = request(include_str!("fixtures/login.json"));
        let tokens = body_of(&world.log_in(login).await);
        let token = tokens["access_token"].as_str().unwrap();
        let caller = world.verifier.verify(token, NOW.parse().unwrap()).unwrap();
        assert_eq!((caller.user_id, caller.role), (user_id, role));
    }
}

#[tokio::test]
async fn every_login_that_fails_gets_the_same_answer() {
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
async fn an_unknown_address_costs_the_table_what_a_wrong_password_costs() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    let mut asked = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        world.aws.clear_calls();
        let body = json!({"email": email, "password": "not the password"});
        world.log_in(with_body(&body)).await;
        asked.push(
            world
                .aws
                .calls()
                .iter()
                .map(|call| call.name())
                .collect::<Vec<_>>(),
        );
    }
    // The account's count at the source, the source's, the account's rate, and the credential.
    assert_eq!(
        asked[0],
        [
            "dynamodb:UpdateItem",
            "dynamodb:UpdateItem",
            "dynamodb:UpdateItem",
            "dynamodb:GetItem"
        ]
    );
    assert_eq!(asked[0], asked[1]);
}

#[tokio::test]
async fn an_address_is_logged_in_with_however_it_is_written() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    let body = json!({"email": " ADA@Example.com\n", "password": PASSWORD});
    assert_eq!(world.log_in(with_body(&body)).await.status, 200);
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_a_defect() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    let mut row = world.email_row();
    row["user_id"] = json!(id(99));
    world.aws.put_raw(&world.table, row.clone());
    let login = || request(include_str!("fixtures/login.json"));
    assert_problem(&world.log_in(login()).await, &internal());
    row["password_hash"] = json!("plum tractor voyage");
    world.aws.put_raw(&world.table, row);
    assert_problem(&world.log_in(login()).await, &internal());
}

// ---- users-me and users-get

#[tokio::test]
async fn a_profile_is_for_its_owner_and_for_administrators_alone() {
    let world = World::new().await;
    let ada_id = world.registered("ada@example.com").await;
    let bob_id = world.registered("bob@example.com").await;
    let ask = |caller, role, id: Uuid| {
        let request = world.request_of(caller, role);
        world.get(request.with_path_parameter("id", id.to_string()))
    };
    // The role in the token is not enough.
    assert_problem(&ask(bob_id, Role::Admin, ada_id).await, &no_such_user());
    world.set(bob_id, "role", "admin").await;
    for response in [
        ask(ada_id, Role::Customer, ada_id).await,
        ask(bob_id, Role::Admin, ada_id).await,
    ] {
        assert_eq!(response.status, 200);
        assert_eq!(body_of(&response), ada(ada_id));
    }
    // Somebody else's, and one that does not exist, look the same.
    for response in [
        ask(bob_id, Role::Customer, ada_id).await,
        ask(bob_id, Role::Customer, id(99)).await,
        ask(bob_id, Role::Admin, id(99)).await,
        ask(id(99), Role::Customer, id(99)).await,
    ] {
        assert_problem(&response, &no_such_user());
    }
    world.set(bob_id, "status", "deactivated").await;
    assert_problem(&ask(bob_id, Role::Admin, ada_id).await, &no_such_user());
}

#[tokio::test]
async fn somebody_deactivated_is_shown_as_such() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    world.set(user_id, "status", "deactivated").await;
    let mut expected = ada(user_id);
    expected["status"] = json!("deactivated");
    let request = world.request_of(user_id, Role::Customer);
    let by_id = request
        .clone()
        .with_path_parameter("id", user_id.to_string());
    assert_eq!(body_of(&world.get(by_id).await), expected);
    assert_eq!(body_of(&world.me(request).await), expected);
}

#[tokio::test]
async fn a_token_of_nobody_shows_nothing() {
    let world = World::new().await;
    let request = world.request_of(id(99), Role::Customer);
    assert_problem(&world.me(request).await, &no_such_user());
}

#[tokio::test]
async fn an_id_that_is_no_uuid_is_refused() {
    let world = World::new().await;
    let detail = "is not a UUID, for example 01890a5d-ac96-774b-bcce-b302099a8057";
    for text in ["7", "me", "01890a5d-ac96-7000-8000", "../admin"] {
        let request = world.request_of(id(1), Role::Customer);
        let response = world.get(request.with_path_parameter("id", text)).await;
        assert_problem(&response, &invalid(&[("id", detail)]));
    }
}

#[tokio::test]
async fn without_a_good_token_nobody_is_shown() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let now = NOW.parse().unwrap();
    let issue = |key: &SigningKey, audience: &str| {
        let issuer = shared_auth::Issuer::new(key, "https://auth.test", audience);
        issuer.issue(user_id, Role::Admin, now, id(50)).token
    };
    let foreign = issue(&SigningKey::generate(), "waybill-test");
    let elsewhere = issue(&world.key, "somewhere-else");
    for (header, detail) in [
        (
            None,
            "the request carries no bearer token in its Authorization header",
        ),
        (
            Some("Basic YWRhOnBsdW0=".to_owned()),
            "the Authorization header does not have the form: Bearer <token>",
        ),
        (
            Some("Bearer nonsense".to_owned()),
            "the token is not a well-formed JWT access token",
        ),
        (
            Some(format!("Bearer {foreign}")),
            "the key that signed the token is not trusted, or no longer",
        ),
        (
            Some(format!("Bearer {elsewhere}")),
            "the token is for another audience",
        ),
    ] {
        let mut request = Request::new().with_path_parameter("id", user_id.to_string());
        if let Some(header) = header {
            request = request.with_header("authorization", header);
        }
        let expected = problem(
            401,
            "unauthorized",
            "The caller is not authenticated",
            detail,
        );
        assert_problem(&world.get(request.clone()).await, &expected);
        assert_problem(&world.me(request).await, &expected);
    }
}

// ---- users-jwks

#[tokio::test]
async fn the_published_keys_are_the_configured_ones_to_the_letter_and_check_our_tokens() {
    let world = World::new().await;
    let text = format!(
        "{{ \"keys\" : [{}, {}] }}",
        SigningKey::generate().public_jwk(),
        world.key.public_jwk()
    );
    let keys = PublishedKeys::parse(text.clone()).unwrap();
    let response = respond(&world.origin, Request::new(), |context, request| {
        jwks::handle(&keys, context, request)
    })
    .await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body.as_ref(), Some(&text));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        response.header("cache-control"),
        Some("public, max-age=300")
    );

    world.registered("ada@example.com").await;
    let tokens = body_of(
        &world
            .log_in(request(include_str!("fixtures/login.json")))
            .await,
    );
    let published = response.body.unwrap();
    let verifier =
        shared_auth::Verifier::new(&published, "https://auth.test", "waybill-test").unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    assert!(verifier.verify(token, NOW.parse().unwrap()).is_ok());
}

#[test]
fn a_key_set_that_no_verifier_takes_is_not_published() {
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

/// What was sent to orders: order, type and data.
fn replies(world: &World) -> Vec<(Value, Value, Value)> {
    let mut replies = world.aws.sent(REPLIES);
    replies
        .iter_mut()
        .map(|reply| {
            let kind = reply["type"].as_str().unwrap().to_owned();
            test_support::contracts::assert_valid("users", &kind, &reply["data"]);
            (
                reply["order_id"].take(),
                reply["type"].take(),
                reply["data"].take(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_batch_is_answered_message_by_message_and_the_poison_alone_comes_back() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    assert_eq!(user_id, id(1));
    let event = serde_json::from_str(include_str!("fixtures/verify.json")).unwrap();
    assert_eq!(
        deliver(&world, event).await,
        ["22222222-0000-4000-8000-000000000002"]
    );
    assert_eq!(
        replies(&world),
        [
            (
                json!("0193a000-0000-7000-8000-000000000001"),
                json!("UserVerified"),
                json!({"user_id": user_id})
            ),
            (
                json!("0193a000-0000-7000-8000-000000000003"),
                json!("UserRefused"),
                json!({
                    "user_id": "01890a5d-ac96-7000-8000-000000000099",
                    "code": "user_not_allowed",
                    "detail": "there is no such user",
                })
            ),
        ]
    );
}

#[tokio::test]
async fn a_reply_is_a_whole_envelope_in_the_commands_trace() {
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
async fn the_same_question_again_gets_the_same_answer_and_changes_nothing() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let before = world.aws.dump(&world.table);
    let message = command(id(60), json!({"user_id": user_id}));
    assert!(
        deliver(&world, batch(&[&message, &message]))
            .await
            .is_empty()
    );
    assert!(deliver(&world, batch(&[&message])).await.is_empty());
    let sent = world.aws.sent(REPLIES);
    assert_eq!(sent.len(), 3);
    for reply in &sent {
        assert_eq!(reply["id"], sent[0]["id"]);
        assert_eq!(reply["data"], sent[0]["data"]);
    }
    assert_eq!(world.aws.dump(&world.table), before);
}

#[tokio::test]
async fn somebody_deactivated_is_refused() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    world.set(user_id, "status", "deactivated").await;
    let event = batch(&[&command(id(60), json!({"user_id": user_id}))]);
    assert!(deliver(&world, event).await.is_empty());
    assert_eq!(
        replies(&world),
        [(
            json!(id(60)),
            json!("UserRefused"),
            json!({
                "user_id": user_id,
                "code": "user_not_allowed",
                "detail": "the user is deactivated",
            })
        )]
    );
}

#[tokio::test]
async fn what_is_not_understood_fails_by_itself_and_is_not_answered() {
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
async fn a_question_is_not_acknowledged_until_its_answer_was_accepted() {
    let world = World::new().await;
    let user_id = world.registered("ada@example.com").await;
    let message = command(id(60), json!({"user_id": user_id}));

    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
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

// ---- Whatever comes in

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("email|password|name|role|\\PC{0,4}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_body_makes_a_registration_fail_here(body in any_json()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let status = runtime.block_on(async {
            let world = World::new().await;
            world.register(with_body(&body)).await.status
        });
        prop_assert!((400..500).contains(&status), "{} for {}", status, body);
    }
}

/// The SDK asks again where an answer is late, and the first request may have done its work.
#[tokio::test]
async fn whoever_is_answered_late_gets_what_was_asked_for_all_the_same() {
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
    let logout = with_body(&json!({"refresh_token": live}));
    assert_eq!(world.log_out(logout).await.status, 204);
    assert_eq!(world.refreshed(&live).await.status, 401);

    let request = || world.request_of(user_id, Role::Customer);
    let renamed = json!({"name": "Augusta"}).to_string();
    let response = world.update_me(request().with_body(renamed)).await;
    assert_eq!(body_of(&response)["name"], "Augusta");
    let change = json!({"current_password": PASSWORD, "new_password": "another long password"});
    let response = world
        .change_password(request().with_body(change.to_string()))
        .await;
    assert_eq!(response.status, 204, "{response:?}");
    let admin = || {
        world
            .request_of(admin_id, Role::Admin)
            .with_path_parameter("id", user_id.to_string())
    };
    let off = json!({"status": "deactivated"}).to_string();
    let response = world.update(admin().with_body(off)).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(body_of(&response)["status"], "deactivated");
    assert!(world.aws.fired() > 15, "{}", world.aws.fired());
}
