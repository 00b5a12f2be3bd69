//! The gateway's events from the AWS documentation, at every endpoint.

use serde_json::json;
use shared_lambda::http::Request;
use test_support::events;

use crate::samples::ANN;
use crate::world::{World, customer};

#[tokio::test]
async fn an_order_is_accepted_in_every_wrapping() {
    let order = json!({"lines": [{"sku": "cup", "quantity": 1}], "payment_method": "pm_card_visa"});
    for wrapping in events::WRAPPINGS {
        let world = World::new();
        let request = Request::of_event(events::carrying(wrapping, &order)).unwrap();
        let response = world.place(&customer(ANN), request).await;
        assert_eq!(response.status, 202, "{wrapping}: {response:?}");
    }
}

#[tokio::test]
async fn no_event_makes_an_endpoint_fail() {
    let (world, ann) = (World::new(), customer(ANN));
    for (name, event) in events::all() {
        let request = || Request::of_event(event.clone()).unwrap();
        for response in [
            world.place(&ann, request()).await,
            world.get(&ann, request()).await,
            world.list(&ann, request()).await,
            world.timeline(&ann, request()).await,
            world.cancel(&ann, request()).await,
        ] {
            assert!(response.status < 500, "{name}: {response:?}");
        }
    }
}
