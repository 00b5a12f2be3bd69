//! The gateway's events, as AWS documents them, through every endpoint.

use serde_json::json;
use shared_auth::Role;
use shared_lambda::http::Request;
use test_support::events;

use crate::world::{PASSWORD, World, id};

#[tokio::test]
async fn a_user_is_registered_in_every_wrapping() {
    let user = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
    for wrapping in events::WRAPPINGS {
        let world = World::new().await;
        let request = Request::of_event(events::carrying(wrapping, &user)).unwrap();
        let response = world.register(request).await;
        assert_eq!(response.status, 201, "{wrapping}: {response:?}");
    }
}

#[tokio::test]
async fn no_event_makes_an_endpoint_fail() {
    let world = World::new().await;
    let token = world.issuer.issue(id(1), Role::Admin, world.now(), id(2));
    for (name, event) in events::all() {
        let request = || {
            let request = Request::of_event(event.clone()).unwrap();
            request.with_header("authorization", format!("Bearer {}", token.token))
        };
        for response in [
            world.register(request()).await,
            world.log_in(request()).await,
            world.refresh(request()).await,
            world.log_out(request()).await,
            world.me(request()).await,
            world.update_me(request()).await,
            world.change_password(request()).await,
            world.list(request()).await,
            world.get(request()).await,
            world.update(request()).await,
        ] {
            assert!(response.status < 500, "{name}: {response:?}");
        }
    }
}
