//! The table: unique addresses under faults and in parallel, and the form of the rows.

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
async fn a_registration_writes_two_rows_of_this_form() {
    let (aws, table, store) = fresh().await;
    let kept = hashed(PASSWORD);
    let registered = store
        .register(&user(id(1), "Ada@Example.com"), &kept, None)
        .await;
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
async fn a_registered_user_is_read_consistently() {
    let (aws, _, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    let password = hashed(PASSWORD);
    store.register(&ada, &password, None).await.unwrap();
    aws.clear_calls();
    assert_eq!(store.user(id(1)).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.user(id(2)).await.unwrap(), None);
    let expected = Credential {
        user_id: id(1),
        password,
        generation: 0,
        registration: None,
    };
    let credential = store.credential(&ada.email).await.unwrap();
    assert_eq!(credential, Some(expected));
    let unknown = Email::parse("bob@example.com").unwrap();
    assert_eq!(store.credential(&unknown).await.unwrap(), None);
    for call in aws.calls() {
        assert_eq!(call.request["ConsistentRead"], true, "{}", call.name());
    }
}

#[tokio::test]
async fn a_registration_never_overwrites_a_row() {
    let (aws, table, store) = fresh().await;
    let ada = user(id(1), "ada@example.com");
    let password = hashed(PASSWORD);
    store.register(&ada, &password, None).await.unwrap();
    let before = aws.dump(&table);
    let repeated = store.register(&ada, &password, None).await;
    assert_eq!(repeated.unwrap(), Registered::Done);
    let same_address = user(id(2), "ADA@example.com");
    let taken = store.register(&same_address, &password, None).await;
    assert_eq!(taken.unwrap(), Registered::EmailTaken);
    let same_id = user(id(1), "bob@example.com");
    let error = store.register(&same_id, &password, None).await.unwrap_err();
    assert_eq!(Problem::from(error).status(), 500);
    assert_eq!(aws.dump(&table), before);
}

#[tokio::test]
async fn of_parallel_registrations_one_gets_the_address() {
    for seed in 0..50 {
        let (aws, table, store) = fresh().await;
        aws.interleave(seed);
        let kept = hashed(PASSWORD);
        let tries = (1..=10).map(|n| {
            let (store, kept) = (&store, &kept);
            async move {
                let user = user(id(n), "ada@example.com");
                store.register(&user, kept, None).await.unwrap()
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
async fn a_registration_retries_contention_eight_times() {
    let conflicts = async |times: usize| {
        let (aws, table, store) = fresh().await;
        for _ in 0..times {
            aws.fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
        }
        let ada = user(id(1), "ada@example.com");
        let registered = store.register(&ada, &hashed(PASSWORD), None).await;
        assert_eq!(aws.fired(), times);
        let status = registered.map_err(|error| Problem::from(error).status());
        (status, aws.dump(&table).len())
    };
    assert_eq!(conflicts(7).await, (Ok(Registered::Done), 2));
    assert_eq!(conflicts(8).await, (Err(503), 0));
}

/// The SDK retries after a broken connection. Its `ClientRequestToken` is valid for ten minutes at
/// most, so the row decides whose address it is.
#[tokio::test]
async fn the_sdks_retry_finds_its_own_registration() {
    for fault in [Fault::AfterEffect, Fault::BeforeEffect, Fault::Throttle] {
        let (aws, table, _) = fresh().await;
        let store = UserStore::new(aws.dynamodb_with_attempts(3), table.clone());
        aws.fault_at(0, fault.clone());
        let ada = user(id(1), "ada@example.com");
        let registered = store.register(&ada, &hashed(PASSWORD), None).await;
        assert_eq!(registered.unwrap(), Registered::Done, "{fault:?}");
        assert_eq!(aws.fired(), 1);
        assert_eq!(aws.dump(&table).len(), 2);
    }
}

#[tokio::test]
async fn a_crash_leaves_both_rows_or_none() {
    for (fault, rows) in [(Fault::KillBefore, 0), (Fault::KillAfter, 2)] {
        let (aws, table, store) = fresh().await;
        aws.fault_at(0, fault);
        let ada = user(id(1), "ada@example.com");
        let kept = hashed(PASSWORD);
        assert!(crashable(store.register(&ada, &kept, None)).await.is_none());
        assert_eq!(aws.dump(&table).len(), rows);
    }
}

#[tokio::test]
async fn an_unreadable_row_is_a_500_and_a_newer_one_is_read() {
    let (aws, table, store) = fresh().await;
    store
        .register(&user(id(1), "ada@example.com"), &hashed(PASSWORD), None)
        .await
        .unwrap();
    let good = row(&aws, &table, "USER");
    // All stored roles and statuses; this list may only grow.
    for role in ["customer", "admin"] {
        for status in ["active", "deactivated"] {
            let mut row = good.clone();
            row["role"] = json!(role);
            row["status"] = json!(status);
            aws.put_raw(&table, row);
            let found = store.user(id(1)).await.unwrap().unwrap();
            assert_eq!((found.role.as_str(), found.status.as_str()), (role, status));
        }
    }
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
    // Attributes of a later version are ignored.
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

    /// A stricter rule must not make a user unreadable.
    #[test]
    fn any_stored_name_and_address_stays_readable(
        name in any::<String>(),
        email in any::<String>(),
        schema in any::<bool>(),
    ) {
        block_on(async {
            let (aws, table, store) = fresh().await;
            store
                .register(&user(id(1), "ada@example.com"), &hashed(PASSWORD), None)
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
