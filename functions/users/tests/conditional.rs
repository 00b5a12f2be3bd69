//! `ETag`, `If-None-Match` and `If-Match` of users.

use std::sync::LazyLock;

use futures_util::future::join;
use serde_json::json;
use shared_auth::Role;
use shared_lambda::http::{Request, Response};
use test_support::Fault;
use users::passwords::HashedPassword;

use crate::problems::{assert_problem, deactivated, precondition_failed};
use crate::world::{PASSWORD, World, body_of, hashed, id, user};

static HASH: LazyLock<HashedPassword> = LazyLock::new(|| hashed(PASSWORD));

/// A world with Ada and the administrator Olga.
async fn world(attempts: u32) -> World {
    let world = World::asking(attempts).await;
    for user in [
        user(id(1), "ada@example.com"),
        user(id(2), "olga@example.com"),
    ] {
        world.store.register(&user, &HASH, None).await.unwrap();
    }
    world.set(id(2), "role", "admin").await;
    world
}

fn own(world: &World) -> Request {
    world.request_of(id(1), Role::Customer)
}

fn of_ada(world: &World) -> Request {
    let request = world.request_of(id(2), Role::Admin);
    request.with_path_parameter("id", id(1).to_string())
}

async fn tag(world: &World) -> String {
    let shown = world.me(own(world)).await;
    shown.header("etag").unwrap().to_owned()
}

async fn rename(world: &World, name: &str, tag: &str) -> Response {
    let request = own(world).with_body(json!({"name": name}).to_string());
    world
        .call(
            "PATCH /api/v1/users/me",
            request.with_header("if-match", tag),
        )
        .await
}

async fn deactivate(world: &World, tag: &str) -> Response {
    let request = of_ada(world).with_body(json!({"status": "deactivated"}).to_string());
    let request = request.with_header("if-match", tag);
    world.call("PATCH /api/v1/users/{id}", request).await
}

#[tokio::test]
async fn a_profile_that_the_client_has_is_not_sent_again() {
    let world = world(1).await;
    let tag = tag(&world).await;
    let read = async || {
        let known = |request: Request| request.with_header("if-none-match", &tag);
        [
            world.me(known(own(&world))).await,
            world.get(known(of_ada(&world))).await,
        ]
    };
    for response in read().await {
        assert_eq!((response.status, response.body), (304, None));
    }
    rename(&world, "Augusta Ada King", "*").await;
    for response in read().await {
        assert_eq!(response.status, 200);
    }
}

#[tokio::test]
async fn a_change_is_made_only_to_the_profile_that_it_names() {
    let world = world(1).await;
    let first = tag(&world).await;
    let renamed = rename(&world, "Augusta Ada King", &first).await;
    assert_eq!(
        (renamed.status, renamed.header("etag")),
        (200, Some(tag(&world).await.as_str()))
    );
    let before = world.aws.dump(&world.table);
    assert_problem(&rename(&world, "Eve", &first).await, &precondition_failed());
    assert_problem(&deactivate(&world, &first).await, &precondition_failed());
    assert_eq!(rename(&world, "Eve", "first").await.status, 400);
    assert_eq!(deactivate(&world, "first").await.status, 400);
    assert_eq!(world.aws.dump(&world.table), before);
    let known = own(&world).with_body(json!({"name": "Eve"}).to_string());
    let known = known.with_header("if-none-match", "*");
    assert_problem(
        &world.call("PATCH /api/v1/users/me", known).await,
        &precondition_failed(),
    );
    let second = tag(&world).await;
    assert_eq!(deactivate(&world, &second).await.status, 200);
    assert_problem(&rename(&world, "Eve", "*").await, &deactivated());
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    for seed in 0..8 {
        let world = world(1).await;
        let tag = tag(&world).await;
        world.aws.interleave(seed);
        let (name, status) = join(
            rename(&world, "Augusta Ada King", &tag),
            deactivate(&world, &tag),
        )
        .await;
        let mut statuses = [name.status, status.status];
        statuses.sort_unstable();
        assert!(
            statuses == [200, 412] || statuses == [200, 403],
            "seed {seed}: {statuses:?}"
        );
        let (one, other) = join(rename(&world, "One", &tag), rename(&world, "Other", &tag)).await;
        assert!(one.status != 200 && other.status != 200);
    }
    let mut winners = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let world = world(1).await;
        let tag = tag(&world).await;
        world.aws.interleave(seed);
        let (one, other) = join(rename(&world, "One", &tag), rename(&world, "Other", &tag)).await;
        let winner = if one.status == 200 { &one } else { &other };
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "seed {seed}");
        assert_eq!(
            body_of(winner)["name"],
            world
                .store
                .user(id(1))
                .await
                .unwrap()
                .unwrap()
                .name
                .as_str()
        );
        winners.insert(body_of(winner)["name"].to_string());
    }
    assert_eq!(winners.len(), 2, "{winners:?}");
}

#[tokio::test]
async fn a_lost_answer_is_no_failed_condition() {
    let world = world(2).await;
    let tag = tag(&world).await;
    world.fault("UpdateItem", Fault::AfterEffect);
    let renamed = rename(&world, "Augusta Ada King", &tag).await;
    assert_eq!((renamed.status, world.aws.fired()), (200, 1));
}
