//! New items with an `Idempotency-Key`, and the mark of repeated answers.

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared_auth::Role;
use test_support::{Fault, crashable};

use crate::world::{Answer, World, id};

fn mug() -> Value {
    json!({"sku": "MUG-01", "name": "Enamel mug",
           "price": {"amount": 1250, "currency": "USD"}, "stock": 5})
}

async fn post(world: &World, body: &Value, key: &str) -> Answer {
    let request = world.as_admin().with_body(body.to_string());
    world
        .create(request.with_header("idempotency-key", key))
        .await
}

fn is_repeat(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

fn slug(answer: &Answer) -> (u16, String) {
    let (status, slug, _) = answer.problem();
    (status, slug)
}

#[tokio::test]
async fn a_repeated_creation_shows_the_item_as_it_is_now() {
    let world = World::new().await;
    let first = post(&world, &mug(), "key-1").await;
    assert_eq!((first.status, is_repeat(&first)), (201, false));
    world.reserve(9, &[("MUG-01", 2)]).await;
    let before = world.dump();
    for key in ["key-1", "\"key-1\""] {
        let again = post(&world, &mug(), key).await;
        assert_eq!((again.status, is_repeat(&again)), (201, true));
        assert_eq!(again.header("location"), first.header("location"));
        let mut now = first.body.clone();
        (now["available"], now["held"]) = (json!(3), json!(2));
        assert_eq!(again.body, now);
    }
    assert_eq!(world.dump(), before);
    assert_eq!(post(&world, &mug(), "a key").await.status, 400);
}

#[tokio::test]
async fn another_new_item_under_the_key_is_refused() {
    let world = World::new().await;
    post(&world, &mug(), "key-1").await;
    let before = world.dump();
    for (pointer, value) in [
        ("/sku", json!("MUG-02")),
        ("/name", json!("Another mug")),
        ("/price/amount", json!(1)),
        ("/price/currency", json!("EUR")),
        ("/stock", json!(6)),
    ] {
        let mut other = mug();
        *other.pointer_mut(pointer).unwrap() = value;
        let answer = post(&world, &other, "key-1").await;
        assert_eq!(
            slug(&answer),
            (422, "idempotency-key-reused".to_owned()),
            "{pointer}"
        );
    }
    let taken = post(&world, &mug(), "key-2").await;
    assert_eq!(slug(&taken), (409, "sku-taken".to_owned()));
    assert_eq!(world.dump(), before);
    // The key of a refused request is free, and another administrator has other keys.
    let mut other = mug();
    other["sku"] = json!("MUG-02");
    assert_eq!(post(&world, &other, "key-2").await.status, 201);
    other["sku"] = json!("MUG-03");
    let request = world
        .as_admin()
        .with_header("authorization", world.token(id(3), Role::Admin));
    let request = request.with_header("idempotency-key", "key-1");
    assert_eq!(
        world
            .create(request.with_body(other.to_string()))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn forty_creations_at_once_under_one_key_are_one() {
    for seed in 0..3 {
        let world = World::new().await;
        world.aws.interleave(seed);
        let (body, key) = (mug(), "key-1");
        let answers = join_all((0..40).map(|_| post(&world, &body, key))).await;
        assert!(
            answers.iter().all(|answer| answer.status == 201),
            "{answers:?}"
        );
        let first = answers.iter().filter(|answer| !is_repeat(answer));
        assert_eq!(first.count(), 1, "seed {seed}");
        assert_eq!(world.dump().len(), 2);
        world.check_books(5);
    }
}

#[tokio::test]
async fn a_killed_creation_is_answered_by_its_repeat() {
    for (fault, was_made) in [(Fault::KillBefore, false), (Fault::KillAfter, true)] {
        let world = World::new().await;
        world.aws.fault_on("dynamodb:TransactWriteItems", fault);
        assert!(crashable(post(&world, &mug(), "key-1")).await.is_none());
        let repeat = post(&world, &mug(), "key-1").await;
        assert_eq!((repeat.status, is_repeat(&repeat)), (201, was_made));
        assert_eq!(world.dump().len(), 2);
    }
}

#[tokio::test]
async fn a_repeated_adjustment_is_marked() {
    let world = World::new().await;
    world.stock("MUG-01", 1250, 5).await;
    let adjust = async |key: Option<&str>| {
        let request = world.as_admin().with_path_parameter("sku", "MUG-01");
        let request = request.with_body(json!({"delta": 1, "reason": "Found"}).to_string());
        let request = match key {
            Some(key) => request.with_header("idempotency-key", key),
            None => request,
        };
        is_repeat(&world.adjust(request).await)
    };
    assert!(!adjust(Some("key-1")).await);
    assert!(adjust(Some("key-1")).await);
    assert!(!adjust(None).await);
    assert_eq!(world.levels("MUG-01"), (7, 7, 0));
}
