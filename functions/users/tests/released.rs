//! Rows and messages of every release are read; those of this code are recorded.

use serde_json::{Value, json};
use shared_lambda::envelope::Envelope;
use test_support::released::{
    self, assert_messages_are_read, assert_recorded, assert_rows_are_read,
};
use users::domain::throttle::{ACCOUNT, registrations};
use users::domain::{
    Email, KeyedRegistration, Role, Session, SessionId, Status, UserChange, UserName,
};
use users::handlers::verify;
use users::store::{Account, Administered, Counted, Counter, Source};
use users::tokens::RefreshToken;
use uuid::Uuid;

use crate::world::{REGISTRATIONS, World, hashed, id, user};

const EMAIL: &str = "ada@example.com";

fn source() -> Source {
    Source::of(Some("192.0.2.1"))
}

async fn written() -> Vec<Value> {
    let world = World::new().await;
    let mut rows: Vec<Value> = Vec::new();
    let mut record = || {
        for row in world.aws.dump(&world.table) {
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    };
    let (ada, olga) = (user(id(1), EMAIL), user(id(2), "olga@example.com"));
    let (store, hash) = (&world.store, hashed("plum tractor voyage"));
    let keyed = KeyedRegistration::new(olga.id, "key-1", &olga.name);
    for (new, keyed) in [(&ada, None), (&olga, Some(keyed))] {
        store.register(new, &hash, keyed).await.unwrap();
    }
    record();
    let token = RefreshToken::first(world.seed());
    let session = Session::start(token.session(), ada.id, 0, token.hash(), world.now());
    store.start_session(&session).await.unwrap();
    record();
    world.pass(60);
    let seed = world.seed();
    let rotated = session.rotate(token.successor(seed).hash(), seed, world.now());
    store.rotate_session(&session, &rotated).await.unwrap();
    let name = UserName::parse("Ada King").unwrap();
    store.rename(ada.id, &name, None, id(3)).await.unwrap();
    world.set(olga.id, "role", "admin").await;
    record();
    let change = UserChange {
        status: Some(Status::Deactivated),
        role: Some(Role::Admin),
    };
    let ada = store.user(ada.id).await.unwrap().unwrap();
    let changed = ada.change(change, olga.id).unwrap();
    let administered = store.administer(&ada, &changed, olga.id, id(4)).await;
    assert_eq!(administered.unwrap(), Administered::Done);
    record();
    let (account, now) = (Account::of(EMAIL), world.now());
    let policy = registrations(REGISTRATIONS);
    for counter in [
        Counter::source(&source()),
        Counter::registrations(&source(), policy),
    ] {
        let counted = store.count_attempt(&counter, now, id(5)).await.unwrap();
        assert!(counted.is_ok());
    }
    for _ in 0..=ACCOUNT.free {
        let counter = account.at(&source());
        let _ = store.count_attempt(&counter, now, id(5)).await.unwrap();
        let _ = store.use_rate(&account, now, id(6)).await.unwrap();
    }
    record();
    store
        .remember_owner(&account, &source(), now)
        .await
        .unwrap();
    record();
    let mut lines = Vec::new();
    for row in rows {
        lines.push(released::row(&row, &read(&row).await.unwrap()));
    }
    for user in [olga.id, ada.id] {
        for reply in verified(&world, user).await.unwrap() {
            lines.push(released::message("orders", &reply));
        }
    }
    lines
}

async fn verified(world: &World, user_id: Uuid) -> Result<Vec<String>, String> {
    let command = json!({"id": id(7), "type": "VerifyUser", "version": 1, "order_id": id(8),
        "time": "2026-11-23T12:00:00.000Z", "data": {"user_id": user_id}});
    handled(world, &command.to_string()).await
}

async fn handled(world: &World, body: &str) -> Result<Vec<String>, String> {
    let detail = |failure: shared_lambda::sqs::Failure| failure.detail().to_owned();
    let envelope = Envelope::parse(body).map_err(detail)?;
    let context = world.origin.context(None);
    let replies = verify::handle(&world.verify, context, envelope).await;
    let replies = replies.map_err(detail)?;
    Ok(replies
        .iter()
        .map(|reply| reply.body().to_owned())
        .collect())
}

/// The values that the store and the limits read from a row.
async fn read(row: &Value) -> Result<Value, String> {
    let world = World::new().await;
    world.aws.put_raw(&world.table, row.clone());
    let pk = row["pk"].as_str().unwrap_or_default();
    let failed = |error: shared_lambda::table::TableError| error.to_string();
    let none = "it is not found";
    match pk.split_once('#').unwrap_or_default() {
        ("USER", user) => {
            let listed = world.store.page(None, None, 10).await.map_err(failed)?;
            let found = world.store.user(user.parse().unwrap()).await;
            let found = found.map_err(failed)?.ok_or(none)?;
            Ok(json!({
                "id": found.id, "email": found.email.as_str(), "name": found.name.as_str(),
                "role": found.role.as_str(), "status": found.status.as_str(),
                "created_at": found.created_at, "generation": found.generation,
                "listed": listed.users.len(),
            }))
        }
        ("EMAIL", email) => {
            let found = world.store.credential(&Email::parse(email).unwrap()).await;
            let found = found.map_err(failed)?.ok_or(none)?;
            Ok(
                json!({"user_id": found.user_id, "hash": found.password.as_str(),
                      "generation": found.generation}),
            )
        }
        ("SESSION", session) => {
            let session = SessionId(session.parse().map_err(|_| "its key has no id")?);
            let found = world.store.session(session).await.map_err(failed)?;
            let found = found.ok_or(none)?;
            let retired = found.retired.as_ref().map(
                |retired| json!({"hash": retired.hash.0, "at": retired.at, "seed": retired.seed.0}),
            );
            Ok(json!({
                "user_id": found.user_id, "generation": found.generation,
                "current": found.current.0, "retired": retired,
                "started_at": found.started_at, "refreshed_at": found.refreshed_at,
            }))
        }
        ("ATTEMPTS", _) => {
            world.pass(60);
            let (account, now) = (Account::of(EMAIL), world.now());
            let policy = registrations(REGISTRATIONS);
            let mut answers = Vec::new();
            let mut answer = |counted: Counted| {
                answers.push(match counted {
                    Ok(receipt) => json!({"admitted": true, "known": receipt.is_known(now)}),
                    Err(wait) => json!({"admitted": false, "wait": wait.wait_seconds}),
                });
            };
            for counter in [
                account.at(&source()),
                Counter::source(&source()),
                Counter::registrations(&source(), policy),
            ] {
                let counted = world.store.count_attempt(&counter, now, id(5)).await;
                answer(counted.map_err(failed)?);
            }
            answer(
                world
                    .store
                    .use_rate(&account, now, id(6))
                    .await
                    .map_err(failed)?,
            );
            let rows = world.aws.dump(&world.table);
            let counted = rows.iter().find(|after| after["pk"] == pk).ok_or(none)?;
            let failures = &counted["failures"];
            Ok(json!({"answers": answers, "failures": failures}))
        }
        _ => Err("its key is of no kind".to_owned()),
    }
}

#[tokio::test]
async fn what_users_writes_is_recorded() {
    assert_recorded("users", &written().await);
}

#[tokio::test]
async fn rows_of_each_release_are_read() {
    assert_rows_are_read("users", read).await;
}

#[tokio::test]
async fn commands_of_each_release_are_read() {
    let world = World::new().await;
    assert_messages_are_read("users", async |body| {
        let replies = handled(&world, body).await?;
        (replies.len() == 1)
            .then_some(())
            .ok_or("it has no reply".to_owned())
    })
    .await;
}
