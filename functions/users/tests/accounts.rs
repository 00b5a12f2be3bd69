//! Accounts: what owners change about themselves, and administrators about others.

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared_auth::Role;
use shared_lambda::http::Response;
use test_support::Fault;
use users::store::UserStore;
use uuid::Uuid;

use crate::handlers::{
    ada, assert_problem, internal, invalid_credentials, no_such_user, problem, unavailable,
};
use crate::world::{
    NOW, PASSWORD, World, body_of, hashed, id, invalid, refresh_token, user, with_body,
};

const NEW_PASSWORD: &str = "walnut ferry lantern";

fn admin_only() -> Value {
    problem(
        403,
        "admin-only",
        "The caller may not do this",
        "only an administrator may manage users",
    )
}

fn deactivated() -> Value {
    problem(
        403,
        "deactivated",
        "The caller may not do this",
        "your account is deactivated",
    )
}

fn own_rights() -> Value {
    problem(
        409,
        "own-rights",
        "The resource does not allow this now",
        "you cannot change your own role or status, so that one administrator always remains; ask \
         another administrator",
    )
}

/// Users by number, without the hashing that takes long.
async fn populate(world: &World, numbers: std::ops::RangeInclusive<u64>) {
    let kept = hashed(PASSWORD);
    for n in numbers {
        let user = user(id(n), &format!("user{n}@example.com"));
        world.store.register(&user, &kept).await.unwrap();
    }
}

// ---- users-update-me

async fn rename(world: &World, user_id: Uuid, body: &Value) -> Response {
    let request = world.request_of(user_id, Role::Customer);
    world.update_me(request.with_body(body.to_string())).await
}

#[tokio::test]
async fn somebody_gives_themselves_another_name_and_nothing_else_changes() {
    let world = World::new().await;
    world.quickly_logged_in("ada@example.com").await;
    let response = rename(&world, id(1), &json!({"name": "  Augusta Ada King "})).await;
    assert_eq!(response.status, 200);
    let mut expected = ada(id(1));
    expected["name"] = json!("Augusta Ada King");
    assert_eq!(body_of(&response), expected);
    let me = world.me(world.request_of(id(1), Role::Customer)).await;
    assert_eq!(body_of(&me), expected);
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused_and_so_is_every_other_field() {
    let world = World::new().await;
    let unknown = "is not a known field; known here: name";
    for (body, pointer, detail) in [
        (json!({}), "", "changes nothing; send a name"),
        (json!({"name": null}), "/name", "is null, not a string"),
        (json!({"name": 7}), "/name", "is a number, not a string"),
        (
            json!({"name": " "}),
            "/name",
            "is empty or has only spaces; send a name",
        ),
        (
            json!({"name": "x".repeat(101)}),
            "/name",
            "is longer than 100 characters",
        ),
        (json!({"name": "Ada", "role": "admin"}), "/role", unknown),
        (
            json!({"name": "Ada", "status": "active"}),
            "/status",
            unknown,
        ),
        (
            json!({"name": "Ada", "email": "eve@example.com"}),
            "/email",
            unknown,
        ),
    ] {
        let response = rename(&world, id(1), &body).await;
        assert_problem(&response, &invalid(&[(pointer, detail)]));
    }
    assert!(world.aws.calls().is_empty(), "nothing reached the table");
}

#[tokio::test(start_paused = true)]
async fn nobody_and_somebody_deactivated_are_not_renamed() {
    let world = World::new().await;
    world.quickly_logged_in("ada@example.com").await;
    let body = json!({"name": "Ada King"});
    assert_problem(&rename(&world, id(99), &body).await, &no_such_user());
    world.set(id(1), "status", "deactivated").await;
    let before = world.aws.dump(&world.table);
    assert_problem(&rename(&world, id(1), &body).await, &deactivated());
    assert_eq!(world.aws.dump(&world.table), before);
    world.set(id(1), "status", "active").await;
    world
        .aws
        .fault_on("dynamodb:UpdateItem", Fault::TransactionConflict);
    assert_eq!(rename(&world, id(1), &body).await.status, 200);
    world.aws.fault_on("dynamodb:UpdateItem", Fault::Throttle);
    assert_problem(&rename(&world, id(1), &body).await, &unavailable());
}

// ---- users-password

async fn change_password(world: &World, body: &Value) -> Response {
    let request = world.request_of(id(1), Role::Customer);
    let request = request.with_body(body.to_string());
    world.change_password(request).await
}

async fn log_in(world: &World, password: &str) -> Response {
    let body = json!({"email": "ada@example.com", "password": password});
    world.log_in(with_body(&body)).await
}

#[tokio::test]
async fn a_password_change_ends_every_session_but_the_one_that_is_named() {
    let world = World::new().await;
    let own = world.quickly_logged_in("ada@example.com").await;
    let other = world.session("ada@example.com").await;
    let body = json!({
        "current_password": PASSWORD,
        "new_password": NEW_PASSWORD,
        "refresh_token": own,
    });
    assert_eq!(change_password(&world, &body).await, Response::empty(204));
    assert_eq!(world.refreshed(&other).await.status, 401);
    let own = refresh_token(&world.refreshed(&own).await);
    assert_problem(&log_in(&world, PASSWORD).await, &invalid_credentials());
    let fresh = refresh_token(&log_in(&world, NEW_PASSWORD).await);

    let body = json!({"current_password": NEW_PASSWORD, "new_password": PASSWORD});
    assert_eq!(change_password(&world, &body).await.status, 204);
    for ended in [own, fresh] {
        assert_eq!(world.refreshed(&ended).await.status, 401);
    }
    let after = refresh_token(&log_in(&world, PASSWORD).await);
    assert_eq!(world.refreshed(&after).await.status, 200);
}

#[tokio::test]
async fn a_wrong_or_unsuitable_password_changes_nothing() {
    let world = World::new().await;
    let own = world.quickly_logged_in("ada@example.com").await;
    let stranger = {
        let bob = user(id(2), "bob@example.com");
        world.store.register(&bob, &hashed(PASSWORD)).await.unwrap();
        world.session("bob@example.com").await
    };
    let row = world.aws.dump(&world.table);
    let users: Vec<Value> = row.into_iter().filter(|r| r["sk"] != "ATTEMPTS").collect();
    const TOO_OBVIOUS: &str =
        "is mostly your name, your e-mail address or the word waybill; choose another";
    const NOT_YOURS: &str =
        "is not the current refresh token of one of your sessions; omit it to end all";
    let cases: Vec<(Value, Vec<(&str, &str)>)> = vec![
        (
            json!({}),
            vec![
                ("/current_password", "is missing"),
                ("/new_password", "is missing"),
            ],
        ),
        (
            json!({"current_password": null, "new_password": null}),
            vec![
                ("/current_password", "is null, not a string"),
                ("/new_password", "is null, not a string"),
            ],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": "short"}),
            vec![(
                "/new_password",
                "is shorter than 12 characters; use a few words in a row",
            )],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": "ADA@example.com"}),
            vec![("/new_password", TOO_OBVIOUS)],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": "Lovelace 1815"}),
            vec![("/new_password", TOO_OBVIOUS)],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": "password1234"}),
            vec![(
                "/new_password",
                "is one of the most common passwords; choose another",
            )],
        ),
        (
            json!({"current_password": "a wrong guess", "new_password": NEW_PASSWORD}),
            vec![("/current_password", "is not your password")],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD, "refresh_token": null}),
            vec![("/refresh_token", "is null, not a string")],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD, "refresh_token": "x"}),
            vec![("/refresh_token", NOT_YOURS)],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD, "refresh_token": stranger}),
            vec![("/refresh_token", NOT_YOURS)],
        ),
        (
            json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD, "id": id(2)}),
            vec![(
                "/id",
                "is not a known field; known here: current_password, new_password, refresh_token",
            )],
        ),
    ];
    for (body, errors) in cases {
        assert_problem(&change_password(&world, &body).await, &invalid(&errors));
    }
    let after = world.aws.dump(&world.table);
    let after: Vec<Value> = after
        .into_iter()
        .filter(|r| r["sk"] != "ATTEMPTS")
        .collect();
    assert_eq!(after, users);
    assert_eq!(world.refreshed(&own).await.status, 200);
}

#[tokio::test]
async fn a_password_is_not_changed_for_nobody_and_nobody_deactivated() {
    let world = World::new().await;
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    assert_problem(&change_password(&world, &body).await, &no_such_user());
    world.quickly_logged_in("ada@example.com").await;
    world.set(id(1), "status", "deactivated").await;
    assert_problem(&change_password(&world, &body).await, &deactivated());
}

#[tokio::test]
async fn of_several_password_changes_at_once_one_is_made() {
    for seed in 0..6 {
        let world = World::new().await;
        world.quickly_logged_in("ada@example.com").await;
        world.aws.interleave(seed);
        let changes = (0..4).map(|n| {
            let world = &world;
            async move {
                let new = format!("{NEW_PASSWORD} {n}");
                let body = json!({"current_password": PASSWORD, "new_password": new});
                (new, change_password(world, &body).await.status)
            }
        });
        let outcomes = join_all(changes).await;
        let done: Vec<&String> = outcomes
            .iter()
            .filter(|(_, status)| *status == 204)
            .map(|(new, _)| new)
            .collect();
        assert_eq!(done.len(), 1, "seed {seed}: {outcomes:?}");
        assert_eq!(log_in(&world, done[0]).await.status, 200);
    }
}

#[tokio::test]
async fn no_session_begun_with_the_old_password_outlives_a_change() {
    for seed in 0..12 {
        let world = World::new().await;
        world.quickly_logged_in("ada@example.com").await;
        world.aws.interleave(seed);
        let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
        let (login, changed) =
            tokio::join!(log_in(&world, PASSWORD), change_password(&world, &body));
        assert_eq!(changed.status, 204);
        if login.status == 200 {
            let token = refresh_token(&login);
            assert_eq!(world.refreshed(&token).await.status, 401, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_change_is_whole_or_not_at_all() {
    for (fault, status) in [
        (Fault::BeforeEffect, 503),
        (Fault::AfterEffect, 503),
        (Fault::TransactionConflict, 204),
    ] {
        let world = World::new().await;
        let own = world.quickly_logged_in("ada@example.com").await;
        world
            .aws
            .fault_on("dynamodb:TransactWriteItems", fault.clone());
        let body = json!({
            "current_password": PASSWORD,
            "new_password": NEW_PASSWORD,
            "refresh_token": own,
        });
        assert_eq!(change_password(&world, &body).await.status, status);
        assert_eq!(world.refreshed(&own).await.status, 200, "{fault:?}");
        let took = log_in(&world, NEW_PASSWORD).await.status == 200;
        assert_eq!(took, fault != Fault::BeforeEffect);
        assert_eq!(log_in(&world, PASSWORD).await.status == 200, !took);
    }
    // Within one call the SDK asks again by itself, and finds its own work done.
    let world = World::new().await;
    world.quickly_logged_in("ada@example.com").await;
    let store = UserStore::new(world.aws.dynamodb_with_attempts(3), world.table.clone());
    world
        .aws
        .fault_on("dynamodb:TransactWriteItems", Fault::AfterEffect);
    let ada = store.user(id(1)).await.unwrap().unwrap();
    let changed = store
        .change_password(&ada, &hashed(PASSWORD), &hashed(NEW_PASSWORD), None, id(5))
        .await;
    assert_eq!(changed.unwrap(), users::store::Changed::Done);
    assert_eq!(world.aws.fired(), 1);
}

// ---- users-list

async fn list(world: &World, query: &[(&str, &str)]) -> Response {
    let mut request = world.request_of(id(1), Role::Admin);
    for (name, value) in query {
        request = request.with_query(name, *value);
    }
    world.list(request).await
}

fn numbers(response: &Response) -> Vec<u128> {
    let body = body_of(response);
    let items = body["items"].as_array().unwrap();
    let number = |item: &Value| item["id"].as_str().unwrap().parse::<Uuid>().unwrap();
    items
        .iter()
        .map(|item| number(item).as_u128() - id(0).as_u128())
        .collect()
}

#[tokio::test]
async fn administrators_list_everybody_the_newest_first() {
    let world = World::new().await;
    populate(&world, 1..=3).await;
    world.set(id(1), "role", "admin").await;
    world.set(id(2), "status", "deactivated").await;
    // Other rows of the table are not users.
    world.session("user1@example.com").await;
    let response = list(&world, &[]).await;
    assert_eq!(response.status, 200);
    let expected: Vec<Value> = [3, 2, 1]
        .into_iter()
        .map(|n| {
            json!({
                "id": id(n),
                "email": format!("user{n}@example.com"),
                "name": "Ada Lovelace",
                "role": if n == 1 { "admin" } else { "customer" },
                "status": if n == 2 { "deactivated" } else { "active" },
                "created_at": NOW,
            })
        })
        .collect();
    assert_eq!(
        body_of(&response),
        json!({"items": expected, "next_cursor": null})
    );
    assert_eq!(
        numbers(&list(&world, &[("status", "active")]).await),
        [3, 1]
    );
    assert_eq!(
        numbers(&list(&world, &[("status", "deactivated")]).await),
        [2]
    );
}

#[tokio::test]
async fn pages_of_any_size_make_up_the_whole_list() {
    let world = World::new().await;
    populate(&world, 1..=13).await;
    world.set(id(1), "role", "admin").await;
    for n in [2, 3, 7, 11, 13] {
        world.set(id(n), "status", "deactivated").await;
    }
    for (status, whole) in [
        (None, (1..=13).rev().collect::<Vec<u128>>()),
        (Some("active"), vec![12, 10, 9, 8, 6, 5, 4, 1]),
        (Some("deactivated"), vec![13, 11, 7, 3, 2]),
    ] {
        for limit in 1..=14_usize {
            let (mut seen, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let limit_text = limit.to_string();
                let mut query = vec![("limit", limit_text.as_str())];
                query.extend(status.map(|status| ("status", status)));
                query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                let response = list(&world, &query).await;
                let page = numbers(&response);
                assert!(page.len() == limit || body_of(&response)["next_cursor"].is_null());
                seen.extend(page);
                match body_of(&response)["next_cursor"].as_str() {
                    Some(next) => cursor = Some(next.to_owned()),
                    None => break,
                }
            }
            assert_eq!(seen, whole, "{status:?} by {limit}");
        }
    }
    for call in world.aws.calls() {
        assert_ne!(call.action, "Scan");
    }
}

#[tokio::test]
async fn the_list_is_for_administrators_and_its_parameters_are_checked() {
    let world = World::new().await;
    let customer = world.request_of(id(1), Role::Customer);
    assert_problem(&world.list(customer).await, &admin_only());
    const CURSOR: &str = "is not a cursor of this list; take `next_cursor` from the page before, \
                          or leave it out to begin again";
    let [nowhere, too_long] = [0, 1025]
        .map(|length| shared_lambda::cursor::encode(&json!({"before": "x".repeat(length)})));
    for (name, value, detail) in [
        ("limit", "0", "is 0, not a whole number from 1 to 100"),
        ("limit", "101", "is 101, not a whole number from 1 to 100"),
        ("status", "asleep", "is neither active nor deactivated"),
        ("status", "", "is neither active nor deactivated"),
        (
            "email",
            "ada@example.com",
            "is not a known parameter; known here: status, limit, cursor",
        ),
        ("cursor", "nonsense", CURSOR),
        ("cursor", "eyJhZnRlciI6InRlYSJ9", CURSOR),
        ("cursor", &nowhere, CURSOR),
        ("cursor", &too_long, CURSOR),
    ] {
        let response = list(&world, &[(name, value)]).await;
        assert_problem(&response, &invalid(&[(name, detail)]));
    }
    assert!(world.aws.calls().is_empty(), "nothing reached the table");
    populate(&world, 1..=1).await;
    world.set(id(1), "role", "admin").await;
    world.aws.fault_on("dynamodb:Query", Fault::Throttle);
    assert_problem(&list(&world, &[]).await, &unavailable());
}

#[tokio::test]
async fn whoever_is_an_administrator_by_their_token_alone_lists_nobody() {
    let world = World::new().await;
    // Nobody, a customer, and an administrator who was deactivated.
    assert_problem(&list(&world, &[]).await, &admin_only());
    populate(&world, 1..=1).await;
    assert_problem(&list(&world, &[]).await, &admin_only());
    world.set(id(1), "role", "admin").await;
    assert_eq!(list(&world, &[]).await.status, 200);
    world.set(id(1), "status", "deactivated").await;
    assert_problem(&list(&world, &[]).await, &admin_only());
    world.set(id(1), "status", "active").await;
    assert_eq!(list(&world, &[]).await.status, 200);
    world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    assert_problem(&list(&world, &[]).await, &unavailable());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_of_the_list() {
    let world = World::new().await;
    populate(&world, 1..=6).await;
    world.set(id(1), "role", "admin").await;
    // One on each side of a page's end, and the last of all.
    for n in [2, 3, 5] {
        world.set(id(n), "created_at", "yesterday").await;
    }
    for limit in 1..=7 {
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..10 {
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let response = list(&world, &query).await;
            seen.extend(numbers(&response));
            cursor = body_of(&response)["next_cursor"]
                .as_str()
                .map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [6, 4, 1], "pages of {limit}");
    }
}

// ---- users-update

async fn administer(world: &World, by: Uuid, id: Uuid, body: &Value) -> Response {
    let request = world.request_of(by, Role::Admin);
    let request = request.with_path_parameter("id", id.to_string());
    world.update(request.with_body(body.to_string())).await
}

/// Two users, of whom the second is an administrator.
async fn with_admin() -> World {
    let world = World::new().await;
    populate(&world, 1..=2).await;
    world.set(id(2), "role", "admin").await;
    world
}

#[tokio::test]
async fn an_administrator_deactivates_and_reactivates_and_old_sessions_stay_ended() {
    let world = with_admin().await;
    let session = world.session("user1@example.com").await;
    let off = administer(&world, id(2), id(1), &json!({"status": "deactivated"})).await;
    assert_eq!(off.status, 200);
    assert_eq!(body_of(&off)["status"], "deactivated");
    let login = json!({"email": "user1@example.com", "password": PASSWORD});
    assert_eq!(world.log_in(with_body(&login)).await.status, 401);
    let on = administer(&world, id(2), id(1), &json!({"status": "active"})).await;
    assert_eq!(body_of(&on)["status"], "active");
    assert_eq!(world.refreshed(&session).await.status, 401);
    let session = world.session("user1@example.com").await;
    assert_eq!(world.refreshed(&session).await.status, 200);
}

#[tokio::test]
async fn a_session_that_begins_during_a_deactivation_does_not_outlive_it() {
    for seed in 0..12 {
        let world = with_admin().await;
        world.aws.interleave(seed);
        let login = json!({"email": "user1@example.com", "password": PASSWORD});
        let off = json!({"status": "deactivated"});
        let (login, off) = tokio::join!(
            world.log_in(with_body(&login)),
            administer(&world, id(2), id(1), &off)
        );
        assert_eq!(off.status, 200);
        let on = administer(&world, id(2), id(1), &json!({"status": "active"})).await;
        assert_eq!(on.status, 200);
        if login.status == 200 {
            let token = refresh_token(&login);
            assert_eq!(world.refreshed(&token).await.status, 401, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn an_administrator_gives_and_takes_the_role() {
    let world = with_admin().await;
    let given = administer(&world, id(2), id(1), &json!({"role": "admin"})).await;
    assert_eq!(
        (given.status, body_of(&given)["role"].clone()),
        (200, json!("admin"))
    );
    // The new one may do so at once, and take it from whoever gave it.
    let both = json!({"role": "customer", "status": "deactivated"});
    let taken = administer(&world, id(1), id(2), &both).await;
    assert_eq!(taken.status, 200);
    let expected = json!({
        "id": id(2),
        "email": "user2@example.com",
        "name": "Ada Lovelace",
        "role": "customer",
        "status": "deactivated",
        "created_at": NOW,
    });
    assert_eq!(body_of(&taken), expected);
    // Whose token says otherwise still.
    for body in [
        json!({"role": "customer"}),
        json!({"status": "deactivated"}),
    ] {
        let late = administer(&world, id(2), id(1), &body).await;
        assert_problem(&late, &admin_only());
    }
    let back = administer(&world, id(2), id(2), &json!({"role": "admin"})).await;
    assert_problem(&back, &own_rights());
}

#[tokio::test]
async fn the_last_administrator_cannot_be_taken_away() {
    let world = with_admin().await;
    for body in [
        json!({"role": "customer"}),
        json!({"status": "deactivated"}),
        json!({"status": "deactivated", "role": "admin"}),
    ] {
        assert_problem(
            &administer(&world, id(2), id(2), &body).await,
            &own_rights(),
        );
    }
    // A change that is none is answered like any other.
    let same = administer(&world, id(2), id(2), &json!({"role": "admin"})).await;
    assert_eq!(same.status, 200);
}

#[tokio::test(start_paused = true)]
async fn administrators_who_turn_on_each_other_at_once_leave_at_least_one() {
    for seed in 0..15 {
        let world = World::new().await;
        populate(&world, 1..=4).await;
        for n in 1..=4 {
            world.set(id(n), "role", "admin").await;
        }
        world.aws.interleave(seed);
        let bodies = [
            json!({"role": "customer"}),
            json!({"status": "deactivated"}),
        ];
        // A ring and its reverse: each takes away two others.
        let pairs = (1..=4_u64).flat_map(|n| [(n, n % 4 + 1), (n, (n + 2) % 4 + 1)]);
        let tries = pairs.enumerate().map(|(at, (by, whom))| {
            let (world, body) = (&world, &bodies[at % 2]);
            async move { administer(world, id(by), id(whom), body).await.status }
        });
        let statuses = join_all(tries).await;
        assert!(
            statuses.iter().all(|s| [200, 403].contains(s)),
            "{statuses:?}"
        );
        assert!(statuses.contains(&403), "seed {seed}: {statuses:?}");
        let rows = world.aws.dump(&world.table);
        let left = rows
            .iter()
            .filter(|row| row["role"] == "admin" && row["status"] == "active")
            .count();
        assert!(left >= 1, "seed {seed}: {statuses:?}");
    }
}

#[tokio::test]
async fn what_is_not_understood_or_not_allowed_changes_nobody() {
    let world = with_admin().await;
    let before = world.aws.dump(&world.table);
    let unknown = "is not a known field; known here: status, role";
    let cases: Vec<(Value, Vec<(&str, &str)>)> = vec![
        (
            json!({}),
            vec![("", "changes nothing; send a status or a role")],
        ),
        (
            json!({"status": "asleep", "role": "owner"}),
            vec![
                ("/status", "is neither active nor deactivated"),
                ("/role", "is neither customer nor admin"),
            ],
        ),
        (
            json!({"status": null}),
            vec![("/status", "is null, not a string")],
        ),
        (
            json!({"role": true}),
            vec![("/role", "is true, not a string")],
        ),
        (
            json!({"name": "Eve"}),
            vec![
                ("/name", unknown),
                ("", "changes nothing; send a status or a role"),
            ],
        ),
        (
            json!({"email": "eve@example.com", "role": "owner"}),
            vec![
                ("/email", unknown),
                ("/role", "is neither customer nor admin"),
            ],
        ),
        (
            json!({"generation": 0, "role": "admin"}),
            vec![("/generation", unknown)],
        ),
    ];
    for (body, errors) in cases {
        let response = administer(&world, id(2), id(1), &body).await;
        assert_problem(&response, &invalid(&errors));
    }
    let body = json!({"role": "admin"});
    let response = administer(&world, id(2), id(99), &body).await;
    assert_problem(&response, &no_such_user());
    let request = world.request_of(id(1), Role::Customer);
    let request = request.with_path_parameter("id", id(1).to_string());
    let response = world.update(request.with_body(body.to_string())).await;
    assert_problem(&response, &admin_only());
    let request = world.request_of(id(2), Role::Admin);
    let request = request.with_path_parameter("id", "me");
    assert_eq!(
        world
            .update(request.with_body(body.to_string()))
            .await
            .status,
        400
    );
    assert_eq!(world.aws.dump(&world.table), before);
}

#[tokio::test(start_paused = true)]
async fn a_standing_is_changed_wholly_or_not_at_all() {
    let off = json!({"status": "deactivated"});
    for fault in [Fault::BeforeEffect, Fault::AfterEffect] {
        let world = with_admin().await;
        world.aws.fault_on("dynamodb:TransactWriteItems", fault);
        let lost = administer(&world, id(2), id(1), &off).await;
        assert_problem(&lost, &unavailable());
        let again = administer(&world, id(2), id(1), &off).await;
        assert_eq!(again.status, 200);
        let rows = world.aws.dump(&world.table);
        let generations: Vec<&Value> = rows
            .iter()
            .filter(|row| row["user_id"] == json!(id(1)) || row["id"] == json!(id(1)))
            .map(|row| &row["generation"])
            .collect();
        assert_eq!(generations, [1, 1]);
    }
    let world = with_admin().await;
    world
        .aws
        .fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
    assert_eq!(administer(&world, id(2), id(1), &off).await.status, 200);
    world.set(id(1), "role", "owner").await;
    assert_problem(&administer(&world, id(2), id(1), &off).await, &internal());
}
