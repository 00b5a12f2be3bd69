//! Requests that the routes refuse before they change anything.

use proptest::prelude::*;
use serde_json::{Value, json};
use shared_auth::Role;
use shared_lambda::http::Request;

use users::domain::{Email, UserName};

use crate::described::allows;
use crate::problems::{assert_problem, invalid};
use crate::world::{PASSWORD, World, body_of, id, with_body};

/// A route, a body, and the body's errors.
type Case = (
    &'static str,
    &'static str,
    Vec<(&'static str, &'static str)>,
);

fn cases() -> Vec<Case> {
    let (mut route, mut cases) = ("", Vec::<Case>::new());
    let lines = include_str!("fixtures/invalid_bodies.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(error) = line.strip_prefix("    ") {
            let has_pointer = error.starts_with('/');
            let error = error.split_once(' ').filter(|_| has_pointer);
            let error = error.unwrap_or(("", line.trim_start()));
            cases.last_mut().unwrap().2.push(error);
        } else if line.starts_with('P') {
            route = line;
        } else {
            cases.push((route, line.trim_start_matches("(no body)"), Vec::new()));
        }
    }
    cases
}

/// A world with one user, and a request in their name and with their id in its path.
async fn with_user() -> (World, Request) {
    let (world, _) = World::logged_in().await;
    let request = world.request_of(id(1), Role::Admin);
    (world, request.with_path_parameter("id", id(1).to_string()))
}

#[tokio::test]
async fn an_invalid_body_gets_all_its_errors_and_changes_nothing() {
    let (world, request) = with_user().await;
    let writes = world.aws.writes();
    for (route, body, errors) in cases() {
        let response = world.call(route, request.clone().with_body(body)).await;
        assert_problem(&response, &invalid(&errors));
    }
    assert_eq!(world.aws.writes(), writes);
}

#[tokio::test]
async fn an_unknown_parameter_changes_nothing() {
    let (world, token) = World::logged_in().await;
    let request = world.request_of(id(2), Role::Admin);
    let request = request.with_path_parameter("id", id(1).to_string());
    let own = world.request_of(id(1), Role::Customer);
    let writes = world.aws.writes();
    let (email, new) = ("eve@example.com", "plum tractor voyage");
    for (route, request, body) in [
        (
            "POST /api/v1/users",
            &own,
            json!({"email": email, "password": new, "name": "Eve"}),
        ),
        (
            "POST /api/v1/auth/login",
            &own,
            json!({"email": "ada@example.com", "password": PASSWORD}),
        ),
        (
            "POST /api/v1/auth/refresh",
            &own,
            json!({"refresh_token": token}),
        ),
        (
            "POST /api/v1/auth/logout",
            &own,
            json!({"refresh_token": token}),
        ),
        ("PATCH /api/v1/users/me", &own, json!({"name": "Eve"})),
        (
            "POST /api/v1/users/me/password",
            &own,
            json!({"current_password": PASSWORD, "new_password": new}),
        ),
        (
            "PATCH /api/v1/users/{id}",
            &request,
            json!({"role": "admin"}),
        ),
    ] {
        let request = request.clone().with_query("colour", "red");
        let response = world.call(route, request.with_body(body.to_string())).await;
        let errors = &body_of(&response)["errors"];
        assert_eq!(response.status, 400, "{route}");
        assert_eq!(errors[0]["parameter"], "colour", "{route}");
        assert_eq!(errors.as_array().unwrap().len(), 1, "{route}: {errors}");
    }
    assert_eq!(world.aws.writes(), writes);
}

/// A form on another site can send only such types.
#[tokio::test]
async fn a_body_of_another_type_or_over_64_kib_is_refused() {
    let (world, request) = with_user().await;
    let writes = world.aws.writes();
    let mut routes: Vec<&str> = cases().into_iter().map(|(route, ..)| route).collect();
    routes.dedup();
    assert_eq!(routes.len(), 7, "the file has other sections");
    for route in routes {
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let request = request.clone().with_body("{}");
            let response = world
                .call(route, request.with_header("content-type", kind))
                .await;
            assert_eq!(response.status, 415, "{route}");
        }
        let request = request.clone().with_body(" ".repeat(65_537));
        assert_eq!(world.call(route, request).await.status, 413, "{route}");
    }
    assert_eq!(world.aws.writes(), writes);
}

#[tokio::test]
async fn the_lists_parameters_are_checked() {
    const CURSOR: &str = "is not a cursor of this list; take `next_cursor` from the page before, \
                          or leave it out to begin again";
    const UNKNOWN: &str = "is not a known parameter; known here: status, limit, cursor";
    let (world, request) = with_user().await;
    let [empty, too_long] = [0, 1025]
        .map(|length| shared_lambda::cursor::encode(&json!({"before": "x".repeat(length)})));
    for (name, value, detail) in [
        ("limit", "101", "is 101, not a whole number from 1 to 100"),
        ("status", "asleep", "is neither active nor deactivated"),
        ("status", "", "is neither active nor deactivated"),
        ("email", "ada@example.com", UNKNOWN),
        ("cursor", "nonsense", CURSOR),
        ("cursor", "eyJhZnRlciI6InRlYSJ9", CURSOR),
        ("cursor", &empty, CURSOR),
        ("cursor", &too_long, CURSOR),
    ] {
        let request = request.clone().with_query(name, value);
        let response = world.call("GET /api/v1/users", request).await;
        assert_problem(&response, &invalid(&[(name, detail)]));
    }
}

#[tokio::test]
async fn the_document_allows_what_the_service_takes() {
    let world = World::new().await;
    let status =
        async |request: Request| world.call("PATCH /api/v1/users/me", request).await.status;
    let own = || world.request_of(id(1), Role::Customer);
    for (value, is_valid) in [
        ("*", true),
        (" *\t", true),
        ("\"\"", true),
        ("W/\"a\"", true),
        ("\"a,b\" ,,\t\"\u{e9}\",", true),
        (", \"a\"", true),
        ("", false),
        (",", false),
        ("*,", false),
        ("\"a\"\"b\"", false),
        ("\"a b\"", false),
        ("a", false),
        ("w/\"a\"", false),
    ] {
        for name in ["IfMatch", "IfNoneMatch"] {
            let schema = format!("/components/parameters/{name}/schema");
            assert_eq!(allows(&schema, value), is_valid, "{name}: {value}");
            let header = if name == "IfMatch" {
                "if-match"
            } else {
                "if-none-match"
            };
            let request = own().with_header(header, value);
            let status = status(request.with_body(r#"{"name": "Ada"}"#)).await;
            assert_eq!(status == 400, !is_valid, "{header}: {value}: {status}");
        }
    }
    for (email, is_valid) in [
        ("ada.lovelace@example.com", true),
        (&format!("{}@example.com", "a.".repeat(31) + "bc"), true),
        (&format!("{}@example.com", "a.".repeat(32) + "b"), false),
        (".ada@example.com", false),
        ("ada.@example.com", false),
        ("ada..lovelace@example.com", false),
    ] {
        assert_eq!(Email::parse(email).is_ok(), is_valid, "{email}");
        assert_eq!(
            allows("/components/schemas/Email", email),
            is_valid,
            "{email}"
        );
    }
    for (name, is_valid) in [
        ("Ada King", true),
        ("\t Ada\n", true),
        ("a", true),
        ("Ada\nKing", false),
        ("\u{1}", false),
        ("Ada\u{85}King", false),
        (" \u{a0}\n", false),
    ] {
        assert_eq!(UserName::parse(name).is_ok(), is_valid, "{name:?}");
        assert_eq!(
            allows("/components/schemas/UserName", name),
            is_valid,
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn an_id_must_be_a_uuid() {
    let (world, request) = with_user().await;
    for route in ["GET /api/v1/users/{id}", "PATCH /api/v1/users/{id}"] {
        let request = request.clone().with_path_parameter("id", "me");
        let request = request
            .with_query("colour", "red")
            .with_body(r#"{"role": 7}"#);
        let response = world.call(route, request).await;
        assert_eq!(response.status, 400, "{route}");
        let errors = body_of(&response)["errors"].as_array().unwrap().len();
        assert_eq!(
            errors,
            if route.starts_with("GET") { 2 } else { 3 },
            "{route}"
        );
    }
}

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
    fn no_body_makes_a_registration_fail_with_5xx(body in any_json()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let status = runtime.block_on(async {
            let world = World::new().await;
            world.register(with_body(&body)).await.status
        });
        prop_assert!((400..500).contains(&status), "{} for {}", status, body);
    }
}
