//! `ETag`, `If-None-Match` and `If-Match` of items.

use std::collections::BTreeSet;

use futures_util::future::join;
use serde_json::{Value, json};
use shared_lambda::http::Request;
use test_support::Fault;

use crate::world::{Answer, World};

async fn shop(attempts: u32) -> World {
    let world = World::with_attempts(attempts).await;
    world.stock("MUG-01", 1250, 5).await;
    world
}

fn mug(request: Request) -> Request {
    request.with_path_parameter("sku", "MUG-01")
}

async fn tag(world: &World) -> String {
    let shown = world.get(mug(world.as_admin())).await;
    shown.header("etag").unwrap().to_owned()
}

async fn patch(world: &World, body: Value, tag: &str) -> Answer {
    let request = mug(world.as_admin()).with_header("if-match", tag);
    world.update(request.with_body(body.to_string())).await
}

fn assert_failed(answer: &Answer) {
    let (status, slug, _) = answer.problem();
    assert_eq!((status, slug.as_str()), (412, "precondition-failed"));
}

#[tokio::test]
async fn an_item_that_the_client_has_is_not_sent_again() {
    let world = shop(1).await;
    let (public, managed) = (world.get(mug(Request::new())).await, tag(&world).await);
    let public = public.header("etag").unwrap();
    // An administrator sees more, so the tag is another.
    assert_ne!(public, managed);
    let read = async |tag: &str| {
        world
            .get(mug(Request::new()).with_header("if-none-match", tag))
            .await
    };
    let known = read(public).await;
    assert_eq!((known.status, known.body), (304, Value::Null));
    assert_eq!(read(&managed).await.status, 200);
    world.reserve(9, &[("MUG-01", 1)]).await;
    assert_eq!(read(public).await.status, 200);
    world.release(9).await;
    assert_eq!(read(public).await.status, 304);
}

#[tokio::test]
async fn a_change_is_made_only_to_the_item_that_it_names() {
    let world = shop(1).await;
    let first = tag(&world).await;
    world.advance(1);
    let changed = patch(&world, json!({"name": "Steel mug"}), &first).await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, Some(tag(&world).await.as_str()))
    );
    let before = world.dump();
    assert_failed(&patch(&world, json!({"name": "Steel mug"}), &first).await);
    let public = world.get(mug(Request::new())).await;
    assert_failed(
        &patch(
            &world,
            json!({"name": "Mug"}),
            public.header("etag").unwrap(),
        )
        .await,
    );
    let answer = patch(&world, json!({"name": ""}), "first").await;
    assert_eq!(
        (
            answer.status,
            answer.body["errors"].as_array().unwrap().len()
        ),
        (400, 2)
    );
    let unknown = world
        .as_admin()
        .with_path_parameter("sku", "NOPE")
        .with_header("if-match", "*");
    let body = json!({"name": "Mug"}).to_string();
    assert_eq!(world.update(unknown.with_body(body)).await.status, 404);
    assert_eq!(world.dump(), before);
    world.reserve(9, &[("MUG-01", 1)]).await;
    let second = tag(&world).await;
    assert_eq!(
        patch(&world, json!({"name": "Mug"}), &second).await.status,
        200
    );
    assert_eq!(patch(&world, json!({"name": "Cup"}), "*").await.status, 200);
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let mut winners = BTreeSet::new();
    for seed in 0..20 {
        let world = shop(1).await;
        let tag = tag(&world).await;
        world.aws.interleave(seed);
        let (name, price) = (
            json!({"name": "Cup"}),
            json!({"price": {"amount": 1, "currency": "USD"}}),
        );
        let (name, price) = join(patch(&world, name, &tag), patch(&world, price, &tag)).await;
        let (winner, loser) = if name.status == 200 {
            (name, price)
        } else {
            (price, name)
        };
        assert_eq!(winner.status, 200, "seed {seed}");
        assert_failed(&loser);
        assert_eq!(world.get(mug(world.as_admin())).await.body, winner.body);
        winners.insert(winner.body["name"].to_string());
    }
    assert_eq!(winners.len(), 2, "{winners:?}");
}

#[tokio::test]
async fn an_order_between_read_and_change_fails_the_condition() {
    let world = shop(1).await;
    let tag = tag(&world).await;
    let (aws, table) = (world.aws.clone(), world.table.clone());
    world.aws.on_call(move |call| {
        if call.action == "UpdateItem" {
            let mut row = aws.item(&table, "ITEM#MUG-01", "ITEM").unwrap();
            (row["available"], row["held"]) = (json!(4), json!(1));
            aws.put_raw(&table, row);
        }
        async { None }
    });
    assert_failed(&patch(&world, json!({"name": "Cup"}), &tag).await);
    assert_eq!(world.levels("MUG-01"), (5, 4, 1));
}

#[tokio::test]
async fn a_lost_answer_is_no_failed_condition() {
    let world = shop(2).await;
    let tag = tag(&world).await;
    world
        .aws
        .fault_on("dynamodb:UpdateItem", Fault::AfterEffect);
    let changed = patch(&world, json!({"name": "Cup"}), &tag).await;
    assert_eq!((changed.status, world.aws.fired()), (200, 1));
}
