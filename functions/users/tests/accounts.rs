//! Changes of accounts, by their owners and by administrators.

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared_auth::Role;
use shared_lambda::http::Response;
use test_support::Fault;
use users::store::UserStore;
use uuid::Uuid;

use crate::handlers::ada;
use crate::problems::{
    admin_only, assert_problem, deactivated, internal, invalid, invalid_credentials, no_such_user,
    own_rights, unavailable,
};
use crate::world::{NOW, PASSWORD, World, body_of, hashed, id, refresh_token, user, with_body};

const NEW_PASSWORD: &str = "walnut ferry lantern";

/// Registers users by number, with one slow hash for all.
async fn populate(world: &World, numbers: std::ops::RangeInclusive<u64>) {
    let kept = hashed(PASSWORD);
    for n in numbers {
        let user = user(id(n), &format!("user{n}@example.com"));
        world.store.register(&user, &kept, None).await.unwrap();
    }
}

// ---- users-update-me

async fn rename(world: &World, user_id: Uuid, body: &Value) -> Response {
    let request = world.request_of(user_id, Role::Customer);
    let request = request.with_body(body.to_string());
    world.call("PATCH /api/v1/users/me", request).await
}

#[tokio::test(start_paused = true)]
async fn an_active_user_changes_their_name() {
    let (world, _) = World::logged_in().await;
    let body = json!({"name": "  Augusta Ada King "});
    assert_problem(&rename(&world, id(99), &body).await, &no_such_user());
    world.set(id(1), "status", "deactivated").await;
    let before = world.aws.dump(&world.table);
    assert_problem(&rename(&world, id(1), &body).await, &deactivated());
    assert_eq!(world.aws.dump(&world.table), before);
    world.set(id(1), "status", "active").await;
    world.fault("UpdateItem", Fault::Throttle);
    assert_problem(&rename(&world, id(1), &body).await, &unavailable());
    world.fault("UpdateItem", Fault::TransactionConflict);
    let renamed = rename(&world, id(1), &body).await;
    let mut expected = ada(id(1));
    expected["name"] = json!("Augusta Ada King");
    assert_eq!((renamed.status, body_of(&renamed)), (200, expected.clone()));
    let me = world.me(world.request_of(id(1), Role::Customer)).await;
    assert_eq!(body_of(&me), expected);
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
async fn a_password_change_ends_every_session_except_the_kept_one() {
    let (world, own) = World::logged_in().await;
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
async fn a_wrong_password_or_session_changes_nothing() {
    let world = World::new().await;
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    assert_problem(&change_password(&world, &body).await, &no_such_user());
    let own = world.quick_login("ada@example.com").await;
    let bob = user(id(2), "bob@example.com");
    world
        .store
        .register(&bob, &hashed(PASSWORD), None)
        .await
        .unwrap();
    let bobs = world.session("bob@example.com").await;
    let users = || {
        let mut rows = world.aws.dump(&world.table);
        rows.retain(|row| row["sk"] != "ATTEMPTS");
        rows
    };
    let before = users();
    const NOT_YOURS: &str =
        "is not the current refresh token of one of your sessions; omit it to end all";
    for (field, value, detail) in [
        ("current_password", "a wrong guess", "is not your password"),
        ("refresh_token", &bobs, NOT_YOURS),
    ] {
        let mut body = body.clone();
        body[field] = json!(value);
        let pointer = format!("/{field}");
        let expected = invalid(&[(&pointer, detail)]);
        assert_problem(&change_password(&world, &body).await, &expected);
    }
    assert_eq!(users(), before);
    assert_eq!(world.refreshed(&own).await.status, 200);
    world.set(id(1), "status", "deactivated").await;
    assert_problem(&change_password(&world, &body).await, &deactivated());
}

#[tokio::test]
async fn of_parallel_password_changes_one_is_made() {
    for seed in 0..6 {
        let (world, _) = World::logged_in().await;
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
async fn no_session_of_the_old_password_outlives_a_change() {
    for seed in 0..12 {
        let (world, _) = World::logged_in().await;
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
async fn a_password_change_is_atomic() {
    for (fault, status) in [
        (Fault::BeforeEffect, 503),
        (Fault::AfterEffect, 503),
        (Fault::TransactionConflict, 204),
    ] {
        let (world, own) = World::logged_in().await;
        world.fault("TransactWriteItems", fault.clone());
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
    // The SDK retries within one call, and finds the change done.
    let (world, _) = World::logged_in().await;
    let store = UserStore::new(world.aws.dynamodb_with_attempts(3), world.table.clone());
    world.fault("TransactWriteItems", Fault::AfterEffect);
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
    world.call("GET /api/v1/users", request).await
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
async fn administrators_list_all_users_the_newest_first() {
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

/// The users' numbers on all pages of a list.
async fn walk(world: &World, status: Option<&str>, limit: usize) -> Vec<u128> {
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    let limit_text = limit.to_string();
    loop {
        let mut query = vec![("limit", limit_text.as_str())];
        query.extend(status.map(|status| ("status", status)));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let response = list(world, &query).await;
        let page = numbers(&response);
        assert!(page.len() <= limit);
        seen.extend(page);
        match body_of(&response)["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_give_the_whole_list() {
    let world = World::new().await;
    populate(&world, 1..=13).await;
    world.set(id(1), "role", "admin").await;
    for n in [2, 3, 7, 11, 13] {
        world.set(id(n), "status", "deactivated").await;
    }
    // Unreadable rows are skipped: at both ends of the list and of pages.
    for n in [4, 5, 8, 13] {
        world.set(id(n), "created_at", "yesterday").await;
    }
    for (status, whole) in [
        (None, vec![12, 11, 10, 9, 7, 6, 3, 2, 1]),
        (Some("active"), vec![12, 10, 9, 6, 1]),
        (Some("deactivated"), vec![11, 7, 3, 2]),
    ] {
        for limit in 1..=14 {
            let seen = walk(&world, status, limit).await;
            assert_eq!(seen, whole, "{status:?} by {limit}");
        }
    }
    for call in world.aws.calls() {
        assert_ne!(call.action, "Scan");
    }
}

#[tokio::test]
async fn the_table_confirms_that_the_lists_reader_is_an_admin() {
    let world = World::new().await;
    // A missing user, a customer, and a deactivated administrator, each with an admin's token.
    assert_problem(&list(&world, &[]).await, &admin_only());
    populate(&world, 1..=1).await;
    assert_problem(&list(&world, &[]).await, &admin_only());
    world.set(id(1), "role", "admin").await;
    world.set(id(1), "status", "deactivated").await;
    assert_problem(&list(&world, &[]).await, &admin_only());
    world.set(id(1), "status", "active").await;
    assert_eq!(list(&world, &[]).await.status, 200);
    let request = world.request_of(id(1), Role::Customer);
    let response = world.call("GET /api/v1/users", request).await;
    assert_problem(&response, &admin_only());
    for action in ["GetItem", "Query"] {
        world.fault(action, Fault::Throttle);
        assert_problem(&list(&world, &[]).await, &unavailable());
    }
}

// ---- users-update

async fn administer(world: &World, by: Uuid, id: Uuid, body: &Value) -> Response {
    let request = world.request_of(by, Role::Admin);
    let request = request.with_path_parameter("id", id.to_string());
    let request = request.with_body(body.to_string());
    world.call("PATCH /api/v1/users/{id}", request).await
}

/// Two users; the second is an administrator.
async fn with_admin() -> World {
    let world = World::new().await;
    populate(&world, 1..=2).await;
    world.set(id(2), "role", "admin").await;
    world
}

#[tokio::test]
async fn sessions_stay_ended_after_a_reactivation() {
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
async fn a_session_started_during_a_deactivation_ends() {
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
async fn an_administrator_grants_and_revokes_the_role() {
    let world = with_admin().await;
    let given = administer(&world, id(2), id(1), &json!({"role": "admin"})).await;
    assert_eq!(
        (given.status, body_of(&given)["role"].clone()),
        (200, json!("admin"))
    );
    // The new administrator may revoke the role of the first at once.
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
    // The first one's token still has the role.
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
async fn refused_changes_leave_every_user_as_before() {
    let world = with_admin().await;
    let before = world.aws.dump(&world.table);
    for body in [
        json!({"role": "customer"}),
        json!({"status": "deactivated"}),
        json!({"status": "deactivated", "role": "admin"}),
    ] {
        let response = administer(&world, id(2), id(2), &body).await;
        assert_problem(&response, &own_rights());
    }
    let body = json!({"role": "admin"});
    let missing = administer(&world, id(2), id(99), &body).await;
    assert_problem(&missing, &no_such_user());
    let request = world.request_of(id(1), Role::Customer);
    let request = request.with_path_parameter("id", id(1).to_string());
    let request = request.with_body(body.to_string());
    let response = world.call("PATCH /api/v1/users/{id}", request).await;
    assert_problem(&response, &admin_only());
    // An administrator may confirm their own role.
    let same = administer(&world, id(2), id(2), &body).await;
    assert_eq!(same.status, 200);
    assert_eq!(world.aws.dump(&world.table), before);
}

#[tokio::test(start_paused = true)]
async fn administrators_who_demote_each_other_leave_at_least_one() {
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
        // A ring and its reverse: each demotes or deactivates two others.
        let pairs = (1..=4_u64).flat_map(|n| [(n, n % 4 + 1), (n, (n + 2) % 4 + 1)]);
        let changes = pairs.enumerate().map(|(at, (by, target))| {
            let (world, body) = (&world, &bodies[at % 2]);
            async move { administer(world, id(by), id(target), body).await.status }
        });
        let statuses = join_all(changes).await;
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

#[tokio::test(start_paused = true)]
async fn a_change_of_status_or_role_is_atomic() {
    let off = json!({"status": "deactivated"});
    for fault in [Fault::BeforeEffect, Fault::AfterEffect] {
        let world = with_admin().await;
        world.fault("TransactWriteItems", fault);
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
    world.fault("TransactWriteItems", Fault::TransactionConflict);
    assert_eq!(administer(&world, id(2), id(1), &off).await.status, 200);
    world.set(id(1), "role", "owner").await;
    assert_problem(&administer(&world, id(2), id(1), &off).await, &internal());
}
