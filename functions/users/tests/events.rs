//! API Gateway's documented events, for every route.

use serde_json::json;
use shared_auth::Role;
use shared_lambda::http::Request;
use test_support::events;

use crate::world::{PASSWORD, World, id};

#[tokio::test]
async fn a_registration_works_in_every_event_format() {
    let user = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
    for wrapping in events::WRAPPINGS {
        let world = World::new().await;
        let request = Request::of_event(events::carrying(wrapping, &user)).unwrap();
        let response = world.register(request).await;
        assert_eq!(response.status, 201, "{wrapping}: {response:?}");
    }
}

#[tokio::test]
async fn no_event_makes_a_route_fail_with_5xx() {
    let world = World::new().await;
    let token = world.issuer.issue(id(1), Role::Admin, world.now(), id(2));
    for (name, event) in events::all() {
        let request = || {
            let request = Request::of_event(event.clone()).unwrap();
            request.with_header("authorization", format!("Bearer {}", token.token))
        };
        for route in [
            "POST /api/v1/users",
            "POST /api/v1/auth/login",
            "POST /api/v1/auth/refresh",
            "POST /api/v1/auth/logout",
            "GET /api/v1/users/me",
            "PATCH /api/v1/users/me",
            "POST /api/v1/users/me/password",
            "GET /api/v1/users",
            "GET /api/v1/users/{id}",
            "PATCH /api/v1/users/{id}",
        ] {
            let response = world.call(route, request()).await;
            assert!(response.status < 500, "{name}, {route}: {response:?}");
        }
    }
}
