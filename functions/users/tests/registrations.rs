//! Registrations with an `Idempotency-Key`: repeats, other requests, and what a guessed key gives away.

use futures_util::future::join;
use serde_json::{Value, json};
use shared_lambda::http::Response;
use test_support::{Fault, crashable};
use users::domain::Status;
use users::store::{Account, Source};

use crate::handlers::ada;
use crate::problems::{assert_problem, email_taken, key_reused};
use crate::world::{PASSWORD, World, body_of, id, with_body};

const KEY: &str = "018f4e5a-7c3b-7d2e-9f10-3a5b6c7d8e9f";
const ELSEWHERE: &str = "198.51.100.7";

async fn register(world: &World, key: &str, change: (&str, &str)) -> Response {
    let mut body =
        json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada Lovelace"});
    body[change.0] = json!(change.1);
    let request = with_body(&body).with_header("idempotency-key", key);
    world.register(request.with_source_address(ELSEWHERE)).await
}

/// The same request again.
async fn ask(world: &World, key: &str) -> Response {
    register(world, key, ("name", "Ada Lovelace")).await
}

fn assert_replayed(response: &Response) {
    assert_eq!((response.status, body_of(response)), (201, ada(id(1))));
    assert_eq!(response.header("idempotent-replayed"), Some("true"));
    assert!(response.header("location").is_some());
}

/// The rows of accounts, without the counts of attempts.
fn accounts(world: &World) -> Vec<Value> {
    let mut rows = world.aws.dump(&world.table);
    rows.retain(|row| row["sk"] != "ATTEMPTS");
    rows
}

#[tokio::test]
async fn a_repeat_with_the_key_gets_the_account() {
    let world = World::new().await;
    let first = ask(&world, KEY).await;
    assert_eq!((first.status, body_of(&first)), (201, ada(id(1))));
    assert_eq!(first.header("idempotent-replayed"), None);
    let before = accounts(&world);
    for key in [KEY.to_owned(), format!("\"{KEY}\"")] {
        assert_replayed(&ask(&world, &key).await);
    }
    // The same account under another spelling of the address, and of the name.
    for change in [("email", " ADA@example.com"), ("name", " Ada Lovelace ")] {
        assert_replayed(&register(&world, KEY, change).await);
    }
    assert_eq!(accounts(&world), before);
    assert_eq!(ask(&world, "a key").await.status, 400);
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let world = World::new().await;
    ask(&world, KEY).await;
    let before = accounts(&world);
    for change in [("password", "walnut ferry lantern"), ("name", "Eve")] {
        assert_problem(&register(&world, KEY, change).await, &key_reused());
    }
    // The password makes no difference without the key.
    for password in [PASSWORD, "walnut ferry lantern"] {
        let other = register(&world, "another", ("password", password)).await;
        assert_problem(&other, &email_taken());
    }
    assert_eq!(accounts(&world), before);
    // A key belongs to one address.
    let bob = register(&world, KEY, ("email", "bob@example.com")).await;
    assert_eq!((bob.status, bob.header("idempotent-replayed")), (201, None));
}

#[tokio::test]
async fn an_account_without_a_key_has_none() {
    let world = World::new().await;
    world.registered("ada@example.com").await;
    assert_problem(&ask(&world, KEY).await, &email_taken());
}

#[tokio::test]
async fn two_registrations_at_once_are_one_account() {
    for seed in 0..4 {
        let world = World::new().await;
        world.aws.interleave(seed);
        let (one, other) = join(ask(&world, KEY), ask(&world, KEY)).await;
        let answers = [&one, &other];
        assert!(
            answers.iter().all(|answer| answer.status == 201),
            "{answers:?}"
        );
        assert_eq!(body_of(&one), body_of(&other));
        let is_repeat = |answer: &&&Response| answer.header("idempotent-replayed").is_some();
        assert_eq!(answers.iter().filter(is_repeat).count(), 1, "seed {seed}");
        assert_eq!(accounts(&world).len(), 2);
    }
}

#[tokio::test]
async fn a_killed_registration_is_answered_by_its_repeat() {
    for (fault, is_repeat) in [(Fault::KillBefore, false), (Fault::KillAfter, true)] {
        let world = World::new().await;
        world.fault("TransactWriteItems", fault);
        assert!(crashable(ask(&world, KEY)).await.is_none());
        let repeat = ask(&world, KEY).await;
        assert_eq!(repeat.status, 201);
        assert_eq!(repeat.header("idempotent-replayed").is_some(), is_repeat);
        assert_eq!(accounts(&world).len(), 2);
    }
}

/// A caller who guesses a key may guess no more passwords than at a login.
#[tokio::test]
async fn a_repeat_counts_as_a_login() {
    let world = World::new().await;
    ask(&world, KEY).await;
    let source = Source::of(Some(ELSEWHERE));
    let counter = Account::of("ada@example.com").at(&source);
    let guess = register(&world, KEY, ("password", "walnut ferry lantern")).await;
    assert_eq!(guess.status, 422);
    for _ in 1..20 {
        let counted = world
            .store
            .count_attempt(&counter, world.now(), id(9))
            .await;
        assert!(counted.unwrap().is_ok());
    }
    for change in [
        ("password", "walnut ferry lantern"),
        ("name", "Ada Lovelace"),
    ] {
        let refused = register(&world, KEY, change).await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (429, Some("1"))
        );
    }
    // Another key says nothing and counts for no account.
    assert_problem(&ask(&world, "another").await, &email_taken());
    world.pass(1);
    assert_replayed(&ask(&world, KEY).await);
    // A right repeat clears the failures at its source, as a login does.
    let counted = world
        .store
        .count_attempt(&counter, world.now(), id(9))
        .await;
    assert!(counted.unwrap().is_ok());
}

#[tokio::test]
async fn a_key_ends_with_the_sessions_of_its_account() {
    let world = World::new().await;
    ask(&world, KEY).await;
    let ada = world.store.user(id(1)).await.unwrap().unwrap();
    let mut after = ada.clone();
    (after.status, after.generation) = (Status::Deactivated, ada.generation + 1);
    let admin = crate::world::user(id(7), "olga@example.com");
    world
        .store
        .register(&admin, &crate::world::hashed(PASSWORD), None)
        .await
        .unwrap();
    world.set(id(7), "role", "admin").await;
    world
        .store
        .administer(&ada, &after, id(7), id(8))
        .await
        .unwrap();
    assert_problem(&ask(&world, KEY).await, &email_taken());
}

/// The account's own hash is the only trace of a password.
#[tokio::test]
async fn a_record_of_a_key_has_no_password() {
    let (one, other) = (World::new().await, World::new().await);
    ask(&one, KEY).await;
    register(&other, KEY, ("password", "walnut ferry lantern")).await;
    let [mut one, mut other] = [one, other].map(|world| world.email_row());
    for row in [&mut one, &mut other] {
        let hash = row["password_hash"].take();
        assert!(hash.as_str().unwrap().starts_with("$argon2id$"));
        assert!(!row.to_string().contains(KEY));
    }
    assert_eq!(one, other);
}
