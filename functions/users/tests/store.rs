//! The table: uniqueness whatever comes between, and rows as they are written.

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::json;
use shared_lambda::problem::Problem;
use test_support::{Aws, Fault, crashable};
use users::domain::{Email, Status};
use users::store::{Credential, Registered, UserStore};

use crate::world::{NOW, PASSWORD, hashed, id, row, user};

async fn fresh() -> (Aws, String, UserStore) {
    let aws = Aws::new();
    let table = aws.create_table("users", "UsersTable").await;
    let store = UserStore::new(aws.dynamodb(), table.clone());
    (aws, table, store)
}

#[tokio::test]
async fn a_registration_writes_the_two_rows_other_tools_rely_on() {
    let (aws, table, store) = fresh().await;
    let kept = hashed(PASSWORD);
    let registered = store.register(&user(id(1), "Ada@Example.com"), &kept).await;
    assert_eq!(registered.unwrap(), Registered::Done);
    assert_eq!(
        row(&aws, &table, "EMAIL"),
        json!({
            "pk": "EMAIL#ada@example.com",
            "sk": "EMAIL",
            "schema": 1,
            "user_id": id(1),
            "password_hash": kept.as_str(),
            "generation": 0,
        })
    );
    assert_eq!(
        row(&aws, &table, "USER"),
        json!({
            "pk": format!("USER#{}", id(1)),
            "sk": "USER",
            "schema": 1,
            "id": id(1),
            "email": "ada@example.com",
            "name": "Ada Lovelace",
            "role": "customer",
            "status": "active",
            "created_at": NOW,
            "generation": 0,
        })
    );
}

#[tokio::test]
async fn what_was_registered_is_found_again() {
    let (_, _, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    let kept = hashed(PASSWORD);
    store.register(&ada, &kept).await.unwrap();
    assert_eq!(store.user(id(1)).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.user(id(2)).await.unwrap(), None);
    assert_eq!(
        store.credential(&ada.email).await.unwrap(),
        Some(Credential {
            user_id: id(1),
            password: kept,
            generation: 0,
        })
    );
    let nobody = Email::parse("bob@example.com").unwrap();
    assert_eq!(store.credential(&nobody).await.unwrap(), None);
}

#[tokio::test]
async fn reads_are_consistent() {
    let (aws, _, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    store.user(id(1)).await.unwrap();
    store.credential(&ada.email).await.unwrap();
    for call in aws.calls() {
        assert_eq!(call.request["ConsistentRead"], true, "{}", call.name());
    }
}

#[tokio::test]
async fn a_taken_address_changes_nothing() {
    let (aws, table, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    store.register(&ada, &hashed(PASSWORD)).await.unwrap();
    let before = aws.dump(&table);
    let second = user(id(2), "ADA@example.com");
    let registered = store
        .register(&second, &hashed("another long password"))
        .await;
    assert_eq!(registered.unwrap(), Registered::EmailTaken);
    assert_eq!(aws.dump(&table), before);
}

#[tokio::test]
async fn an_id_in_use_is_never_written_over() {
    let (aws, table, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    store.register(&ada, &hashed(PASSWORD)).await.unwrap();
    let before = aws.dump(&table);
    let other = user(id(1), "bob@example.com");
    let error = store.register(&other, &hashed(PASSWORD)).await.unwrap_err();
    assert_eq!(Problem::from(error).status(), 500);
    assert_eq!(aws.dump(&table), before);
}

#[tokio::test]
async fn of_many_at_once_exactly_one_gets_the_address() {
    for seed in 0..50 {
        let (aws, table, store) = fresh().await;
        aws.interleave(seed);
        let kept = hashed(PASSWORD);
        let tries = (1..=10).map(|n| {
            let (store, kept) = (&store, &kept);
            async move {
                let user = user(id(n), "ada@example.com");
                store.register(&user, kept).await.unwrap()
            }
        });
        let outcomes = join_all(tries).await;
        let done: Vec<u64> = (1..=10)
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == Registered::Done)
            .map(|(n, _)| n)
            .collect();
        assert_eq!(done.len(), 1, "seed {seed}: {outcomes:?}");
        let winner = json!(id(done[0]));
        assert_eq!(row(&aws, &table, "EMAIL")["user_id"], winner, "seed {seed}");
        assert_eq!(row(&aws, &table, "USER")["id"], winner, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_contended_registration_is_tried_again() {
    let (aws, table, store) = fresh().await;
    for _ in 0..4 {
        aws.fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
    }
    let ada = user(id(1), "ada@example.com");
    let registered = store.register(&ada, &hashed(PASSWORD)).await;
    assert_eq!(registered.unwrap(), Registered::Done);
    assert_eq!(aws.fired(), 4);
    assert_eq!(aws.dump(&table).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn contention_that_does_not_end_is_told_and_leaves_nothing() {
    let (aws, table, store) = fresh().await;
    for _ in 0..8 {
        aws.fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
    }
    let ada = user(id(1), "ada@example.com");
    let error = store.register(&ada, &hashed(PASSWORD)).await.unwrap_err();
    assert_eq!(Problem::from(error).status(), 503);
    assert_eq!(aws.writes(), 8);
    assert!(aws.dump(&table).is_empty());
}

/// The SDK asks again by itself after a broken connection, and its own token for that
/// (`ClientRequestToken`) holds for ten minutes at most: the row says whose the address is.
#[tokio::test]
async fn an_answer_that_was_lost_within_the_call_is_not_a_taken_address() {
    for fault in [Fault::AfterEffect, Fault::BeforeEffect, Fault::Throttle] {
        let (aws, table, _) = fresh().await;
        let store = UserStore::new(aws.dynamodb_with_attempts(3), table.clone());
        aws.fault_at(0, fault.clone());
        let ada = user(id(1), "ada@example.com");
        let registered = store.register(&ada, &hashed(PASSWORD)).await;
        assert_eq!(registered.unwrap(), Registered::Done, "{fault:?}");
        assert_eq!(aws.fired(), 1);
        assert_eq!(aws.dump(&table).len(), 2);
    }
}

#[tokio::test]
async fn the_same_registration_again_is_done_and_writes_nothing() {
    let (aws, table, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    let kept = hashed(PASSWORD);
    store.register(&ada, &kept).await.unwrap();
    let before = aws.dump(&table);
    let again = store.register(&ada, &kept).await;
    assert_eq!(again.unwrap(), Registered::Done);
    assert_eq!(aws.dump(&table), before);
}

#[tokio::test]
async fn dying_leaves_both_rows_or_none() {
    for (fault, rows) in [(Fault::KillBefore, 0), (Fault::KillAfter, 2)] {
        let (aws, table, store) = fresh().await;
        aws.fault_at(0, fault);
        let ada = user(id(1), "ada@example.com");
        let kept = hashed(PASSWORD);
        assert!(crashable(store.register(&ada, &kept)).await.is_none());
        assert_eq!(aws.dump(&table).len(), rows);
    }
}

#[tokio::test]
async fn a_table_that_does_not_answer_is_worth_another_try() {
    let (aws, _, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    for action in [
        "dynamodb:GetItem",
        "dynamodb:GetItem",
        "dynamodb:TransactWriteItems",
    ] {
        aws.fault_on(action, Fault::Throttle);
    }
    let errors = [
        store.user(id(1)).await.unwrap_err(),
        store.credential(&ada.email).await.unwrap_err(),
        store.register(&ada, &hashed(PASSWORD)).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(Problem::from(error).status(), 503);
    }
    assert_eq!(aws.fired(), 3);
}

#[tokio::test]
async fn a_row_this_code_did_not_write_is_a_defect_and_not_a_user() {
    let (aws, table, store) = fresh().await;
    store
        .register(&user(id(1), "ada@example.com"), &hashed(PASSWORD))
        .await
        .unwrap();
    let good = row(&aws, &table, "USER");
    for (attribute, value) in [
        ("role", json!("owner")),
        ("status", json!("asleep")),
        ("created_at", json!("yesterday")),
        ("id", json!("7")),
        ("generation", json!("many")),
    ] {
        let mut row = good.clone();
        row[attribute] = value;
        aws.put_raw(&table, row);
        let error = store.user(id(1)).await.unwrap_err();
        assert_eq!(Problem::from(error).status(), 500, "{attribute}");
    }
    // What a later version adds is left alone.
    let mut row = good;
    row["locale"] = json!("en");
    row["status"] = json!("deactivated");
    aws.put_raw(&table, row);
    let found = store.user(id(1)).await.unwrap().unwrap();
    assert_eq!(found.status, Status::Deactivated);
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A rule that was tightened since must not make a user unreadable.
    #[test]
    fn any_stored_name_and_address_stays_readable(
        name in any::<String>(),
        email in any::<String>(),
        schema in any::<bool>(),
    ) {
        block_on(async {
            let (aws, table, store) = fresh().await;
            store
                .register(&user(id(1), "ada@example.com"), &hashed(PASSWORD))
                .await
                .unwrap();
            let mut row = row(&aws, &table, "USER");
            row["name"] = json!(name);
            row["email"] = json!(email);
            if !schema {
                row.as_object_mut().unwrap().remove("schema");
            }
            aws.put_raw(&table, row);
            let found = store.user(id(1)).await.unwrap().unwrap();
            assert_eq!(found.name.as_str(), name);
            assert_eq!(found.email.as_str(), email);
            let listed = store.page(None, None, 10).await.unwrap();
            assert_eq!(listed.users, [found]);
        });
    }
}

/// What was ever written as a role or a status; the list may only grow.
#[tokio::test]
async fn every_role_and_status_ever_stored_stays_readable() {
    let (aws, table, store) = fresh().await;
    store
        .register(&user(id(1), "ada@example.com"), &hashed(PASSWORD))
        .await
        .unwrap();
    let mut row = row(&aws, &table, "USER");
    for role in ["customer", "admin"] {
        for status in ["active", "deactivated"] {
            row["role"] = json!(role);
            row["status"] = json!(status);
            aws.put_raw(&table, row.clone());
            let found = store.user(id(1)).await.unwrap().unwrap();
            assert_eq!((found.role.as_str(), found.status.as_str()), (role, status));
        }
    }
}
