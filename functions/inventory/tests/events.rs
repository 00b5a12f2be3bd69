//! The gateway's documented events, through every endpoint.

use serde_json::json;
use shared_lambda::http::Request;
use test_support::events;

use crate::world::World;

#[tokio::test]
async fn an_item_is_created_in_every_wrapping() {
    let item = json!({"sku": "MUG-01", "name": "Mug", "stock": 5,
                      "price": {"amount": 1250, "currency": "USD"}});
    for wrapping in events::WRAPPINGS {
        let world = World::new().await;
        let request = Request::of_event(events::carrying(wrapping, &item)).unwrap();
        let request = request.with_header("authorization", world.admin());
        let answer = world.create(request).await;
        assert_eq!(answer.status, 201, "{wrapping}: {answer:?}");
    }
}

#[tokio::test]
async fn no_event_makes_an_endpoint_fail() {
    let world = World::new().await;
    for (name, event) in events::all() {
        let request = || {
            let request = Request::of_event(event.clone()).unwrap();
            request.with_header("authorization", world.admin())
        };
        for answer in [
            world.create(request()).await,
            world.get(request()).await,
            world.list(request()).await,
            world.update(request()).await,
            world.adjust(request()).await,
        ] {
            assert!(answer.status < 500, "{name}: {answer:?}");
        }
    }
}
