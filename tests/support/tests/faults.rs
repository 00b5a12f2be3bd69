//! Each fault does what it says, to the call it was planned for and to no other.

use super::*;
use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeValue::{N, S},
        KeysAndAttributes, Put, PutRequest, TransactWriteItem, Update, WriteRequest,
    },
};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use std::sync::{Arc, Mutex};
use test_support::{Call, Fault, crashable};

async fn put(client: &Client, table: &str, pk: &str) -> Result<(), SdkError<PutItemError>> {
    client
        .put_item()
        .table_name(table)
        .item("pk", S(pk.to_owned()))
        .item("sk", S("s".to_owned()))
        .send()
        .await
        .map(drop)
}

fn keys(aws: &Aws, table: &str) -> Vec<String> {
    let items = aws.dump(table);
    let keys = items
        .iter()
        .map(|item| item["pk"].as_str().unwrap().to_owned());
    keys.collect()
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_effect_leaves_nothing() {
    let (aws, table) = aws_with_table();
    aws.fault_at(1, Fault::BeforeEffect);
    let client = aws.dynamodb();
    put(&client, &table, "a").await.unwrap();
    let broken = put(&client, &table, "b").await.unwrap_err();
    assert!(matches!(broken, SdkError::DispatchFailure(failure) if failure.is_io()));
    put(&client, &table, "c").await.unwrap();
    assert_eq!(keys(&aws, &table), ["a", "c"]);
    assert_eq!((aws.writes(), aws.fired()), (3, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_effect_hides_it() {
    let (aws, table) = aws_with_table();
    aws.fault_at(0, Fault::AfterEffect);
    let broken = put(&aws.dynamodb(), &table, "a").await.unwrap_err();
    assert!(matches!(broken, SdkError::DispatchFailure(_)));
    assert_eq!(keys(&aws, &table), ["a"]);
}

#[tokio::test]
async fn the_sdk_retries_a_broken_connection_as_often_as_it_is_told() {
    let (aws, table) = aws_with_table();
    aws.fault_at(0, Fault::BeforeEffect);
    aws.fault_at(1, Fault::Throttle);
    put(&aws.dynamodb_with_attempts(3), &table, "a")
        .await
        .unwrap();
    assert_eq!((aws.writes(), aws.fired()), (3, 2));

    aws.fault_at(0, Fault::Throttle);
    let throttled = put(&aws.dynamodb(), &table, "b").await.unwrap_err();
    assert!(throttled.into_service_error().is_throttling_exception());
}

#[tokio::test]
async fn a_lost_answer_of_a_transaction_is_found_again_by_the_sdks_own_token() {
    let (aws, table) = aws_with_table();
    aws.fault_at(0, Fault::AfterEffect);
    let put = Put::builder()
        .table_name(&table)
        .item("pk", S("a".to_owned()))
        .item("sk", S("s".to_owned()))
        .condition_expression("attribute_not_exists(pk)")
        .build()
        .unwrap();
    aws.dynamodb_with_attempts(2)
        .transact_write_items()
        .transact_items(TransactWriteItem::builder().put(put).build())
        .send()
        .await
        .unwrap();
    assert_eq!(aws.writes(), 2);
}

#[tokio::test]
async fn a_transaction_conflict_is_told_apart_from_a_failed_condition() {
    let (aws, table) = aws_with_table();
    aws.fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
    let part = |pk: &str| {
        let put = Put::builder()
            .table_name(&table)
            .item("pk", S(pk.to_owned()))
            .item("sk", S("s".to_owned()))
            .build()
            .unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let cancelled = aws
        .dynamodb()
        .transact_write_items()
        .transact_items(part("a"))
        .transact_items(part("b"))
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = cancelled else {
        panic!("{cancelled:?}");
    };
    let codes: Vec<&str> = cancelled
        .cancellation_reasons()
        .iter()
        .filter_map(|reason| reason.code())
        .collect();
    assert_eq!(codes, ["TransactionConflict", "None"]);

    aws.fault_on("dynamodb:PutItem", Fault::TransactionConflict);
    let conflict = put(&aws.dynamodb(), &table, "a").await.unwrap_err();
    assert!(
        conflict
            .into_service_error()
            .is_transaction_conflict_exception()
    );
    assert!(keys(&aws, &table).is_empty());
}

#[tokio::test]
async fn a_batch_of_messages_can_be_accepted_in_part() {
    let aws = Aws::new();
    aws.fault_on("sqs:SendMessageBatch", Fault::PartialSend(vec![1]));
    let entries = ["a", "b", "c"].map(|id| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(format!("{id:?}"))
            .build()
            .unwrap()
    });
    let sent = aws
        .sqs()
        .send_message_batch()
        .queue_url(QUEUE)
        .set_entries(Some(entries.to_vec()))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.failed()[0].id(), "b");
    assert_eq!(aws.sent(QUEUE), ["a", "c"]);

    aws.fault_on("sqs:SendMessageBatch", Fault::Throttle);
    let throttled = aws
        .sqs()
        .send_message_batch()
        .queue_url(QUEUE)
        .set_entries(Some(entries.to_vec()))
        .send()
        .await
        .unwrap_err();
    assert!(throttled.into_service_error().is_request_throttled());
}

#[tokio::test]
async fn a_batch_get_can_hand_keys_back() {
    let (aws, table) = aws_with_table();
    for pk in ["a", "b"] {
        aws.put_raw(&table, serde_json::json!({ "pk": pk, "sk": "s" }));
    }
    aws.fault_on("dynamodb:BatchGetItem", Fault::Unprocessed);
    let key = |pk: &str| {
        [("pk", pk), ("sk", "s")]
            .map(|(name, value)| (name.to_owned(), S(value.to_owned())))
            .into()
    };
    let keys = KeysAndAttributes::builder()
        .set_keys(Some(vec![key("a"), key("b")]))
        .build()
        .unwrap();
    let got = aws
        .dynamodb()
        .batch_get_item()
        .request_items(&table, keys)
        .send()
        .await
        .unwrap();
    assert_eq!(got.responses.unwrap()[&table], [key("a")]);
    assert_eq!(got.unprocessed_keys.unwrap()[&table].keys(), [key("b")]);
}

#[tokio::test]
async fn a_batch_write_can_hand_writes_back() {
    let (aws, table) = aws_with_table();
    aws.fault_on("dynamodb:BatchWriteItem", Fault::Unprocessed);
    let write = |pk: &str| {
        let put = PutRequest::builder()
            .item("pk", S(pk.to_owned()))
            .item("sk", S("s".to_owned()))
            .build()
            .unwrap();
        WriteRequest::builder().put_request(put).build()
    };
    let written = aws
        .dynamodb()
        .batch_write_item()
        .request_items(&table, vec![write("a"), write("b")])
        .send()
        .await
        .unwrap();
    assert_eq!(keys(&aws, &table), ["a"]);
    assert_eq!(written.unprocessed_items.unwrap()[&table], [write("b")]);
}

#[tokio::test]
async fn a_batch_can_hand_everything_back() {
    let (aws, table) = aws_with_table();
    put(&aws.dynamodb(), &table, "a").await.unwrap();
    aws.fault_on("dynamodb:BatchGetItem", Fault::WhollyUnprocessed);
    aws.fault_on("dynamodb:BatchWriteItem", Fault::WhollyUnprocessed);
    let row = |pk: &str| {
        [("pk", pk), ("sk", "s")]
            .map(|(name, value)| (name.to_owned(), S(value.to_owned())))
            .into()
    };
    let keys_of = KeysAndAttributes::builder().keys(row("a")).build().unwrap();
    let got = aws
        .dynamodb()
        .batch_get_item()
        .request_items(&table, keys_of)
        .send()
        .await
        .unwrap();
    assert!(got.responses.unwrap().is_empty());
    assert_eq!(got.unprocessed_keys.unwrap()[&table].keys(), [row("a")]);

    let put = PutRequest::builder().set_item(Some(row("b"))).build();
    let write = WriteRequest::builder().put_request(put.unwrap()).build();
    let written = aws
        .dynamodb()
        .batch_write_item()
        .request_items(&table, vec![write.clone()])
        .send()
        .await
        .unwrap();
    assert_eq!(written.unprocessed_items.unwrap()[&table], [write]);
    assert_eq!(keys(&aws, &table), ["a"]);
}

/// A row that an index finds while it is due.
async fn count(client: &Client, table: &str, count: u32, due: Option<&str>) {
    let mut row = client
        .put_item()
        .table_name(table)
        .item("pk", S("a".to_owned()))
        .item("sk", S("s".to_owned()))
        .item("count", N(count.to_string()));
    if let Some(at) = due {
        row = row.item("due", S("all".to_owned()));
        row = row.item("due_at", S(at.to_owned()));
    }
    row.send().await.unwrap();
}

async fn counted(client: &Client, table: &str, consistent: bool) -> Option<String> {
    let got = client
        .get_item()
        .table_name(table)
        .key("pk", S("a".to_owned()))
        .key("sk", S("s".to_owned()))
        .consistent_read(consistent)
        .send()
        .await
        .unwrap();
    Some(got.item?["count"].as_n().unwrap().clone())
}

async fn due(client: &Client, table: &str) -> Vec<String> {
    let found = client
        .query()
        .table_name(table)
        .index_name("due")
        .key_condition_expression("due = :all")
        .expression_attribute_values(":all", S("all".to_owned()))
        .send()
        .await
        .unwrap();
    let found = found.items.unwrap().into_iter();
    found
        .map(|row| row["due_at"].as_s().unwrap().clone())
        .collect()
}

#[tokio::test]
async fn a_read_that_need_not_be_current_can_be_answered_from_the_past() {
    let (aws, table) = aws_with_table();
    aws.keep_history();
    let client = aws.dynamodb();
    for n in 1..=3 {
        count(&client, &table, n, None).await;
    }
    let before = aws.dump(&table);
    for (writes, seen) in [(0, Some("3")), (1, Some("2")), (2, Some("1")), (9, None)] {
        aws.fault_on("dynamodb:GetItem", Fault::Stale(writes));
        let current = counted(&client, &table, true).await;
        assert_eq!(current.as_deref(), Some("3"), "asked for what is now");
        let past = counted(&client, &table, false).await;
        assert_eq!(past.as_deref(), seen, "{writes} writes ago");
        assert_eq!(counted(&client, &table, false).await.as_deref(), Some("3"));
    }
    assert_eq!((aws.fired(), aws.dump(&table)), (4, before));
}

#[tokio::test]
async fn an_index_can_be_behind_whatever_is_asked_of_it() {
    let (aws, table) = aws_with_table();
    aws.keep_history();
    let client = aws.dynamodb();
    count(&client, &table, 1, Some("noon")).await;
    count(&client, &table, 2, Some("one")).await;
    count(&client, &table, 3, None).await;
    for (writes, seen) in [(1, vec!["one"]), (2, vec!["noon"]), (3, vec![])] {
        aws.fault_on("dynamodb:Query", Fault::Stale(writes));
        assert_eq!(due(&client, &table).await, seen, "{writes} writes ago");
        assert!(due(&client, &table).await.is_empty());
    }
    aws.clear_calls();
    due(&client, &table).await;
    let query = &aws.calls()[0];
    let differs = [0, 1, 2, 3].map(|writes| aws.would_be_stale(query, writes));
    assert_eq!(differs, [false, true, true, false]);
}

#[tokio::test]
async fn a_write_that_was_refused_is_no_step_into_the_past() {
    let (aws, table) = aws_with_table();
    aws.keep_history();
    let client = aws.dynamodb();
    count(&client, &table, 1, None).await;
    count(&client, &table, 2, None).await;
    let refused = client
        .put_item()
        .table_name(&table)
        .item("pk", S("a".to_owned()))
        .item("sk", S("s".to_owned()))
        .condition_expression("attribute_not_exists(pk)")
        .send()
        .await;
    refused.unwrap_err();
    aws.fault_on("dynamodb:GetItem", Fault::Stale(1));
    let past = counted(&client, &table, false).await;
    assert_eq!(past.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_transaction_that_arrives_again_is_known_by_its_token_until_that_is_forgotten() {
    let (aws, table) = aws_with_table();
    let add = Update::builder()
        .table_name(&table)
        .key("pk", S("a".to_owned()))
        .key("sk", S("s".to_owned()))
        .update_expression("ADD units :one")
        .expression_attribute_values(":one", N("1".to_owned()))
        .build()
        .unwrap();
    aws.dynamodb()
        .transact_write_items()
        .transact_items(TransactWriteItem::builder().update(add).build())
        .send()
        .await
        .unwrap();
    let units = || aws.item(&table, "a", "s").unwrap()["units"].clone();
    let call = &aws.calls()[0];
    assert!(call.request["ClientRequestToken"].is_string());
    aws.arrive(call);
    assert_eq!(units(), 1);
    aws.arrive(&call.without_token());
    assert_eq!(units(), 2);
}

#[tokio::test]
async fn a_killed_process_runs_no_further_and_leaves_what_it_had_done() {
    let (aws, table) = aws_with_table();
    let client = aws.dynamodb_with_attempts(3);
    let handler = || async {
        put(&client, &table, "a").await.unwrap();
        put(&client, &table, "b").await.unwrap();
    };
    aws.fault_at(1, Fault::KillBefore);
    assert!(crashable(handler()).await.is_none());
    assert_eq!(keys(&aws, &table), ["a"]);

    aws.fault_at(1, Fault::KillAfter);
    assert!(crashable(handler()).await.is_none());
    assert_eq!(keys(&aws, &table), ["a", "b"]);
    assert_eq!(aws.writes(), 4, "nothing was tried again");

    assert!(crashable(handler()).await.is_some());
}

#[tokio::test]
async fn a_fault_that_cannot_befall_its_call_does_not_fire() {
    let (aws, table) = aws_with_table();
    aws.fault_at(0, Fault::PartialSend(vec![0]));
    put(&aws.dynamodb(), &table, "a").await.unwrap();
    assert_eq!(aws.fired(), 0);
}

#[test]
#[should_panic(expected = "TransactionConflict cannot befall sqs:SendMessage")]
fn a_fault_that_cannot_befall_an_action_is_refused() {
    Aws::new().fault_on("sqs:SendMessage", Fault::TransactionConflict);
}

#[tokio::test]
async fn a_hook_sees_each_call_and_decides_it() {
    let (aws, table) = aws_with_table();
    let seen: Arc<Mutex<Vec<Call>>> = Arc::default();
    let log = Arc::clone(&seen);
    aws.on_call(move |call| {
        let is_b = call.request["Item"]["pk"]["S"] == "b";
        log.lock().unwrap().push(call);
        async move {
            tokio::task::yield_now().await;
            is_b.then_some(Fault::Throttle)
        }
    });
    let client = aws.dynamodb();
    put(&client, &table, "a").await.unwrap();
    put(&client, &table, "b").await.unwrap_err();
    assert_eq!(*seen.lock().unwrap(), aws.calls());
    assert_eq!(keys(&aws, &table), ["a"]);
}

/// Two handlers that each write three items, and the order their writes came in.
async fn order_of_writes(seed: Option<u64>) -> Vec<String> {
    let (aws, table) = aws_with_table();
    if let Some(seed) = seed {
        aws.interleave(seed);
    }
    let client = aws.dynamodb();
    let handler = |name: &'static str| {
        let (client, table) = (&client, &table);
        async move {
            for _ in 0..3 {
                put(client, table, name).await.unwrap();
            }
        }
    };
    futures_util::future::join(handler("a"), handler("b")).await;
    let text = |call: &Call| call.request["Item"]["pk"]["S"].as_str().unwrap().to_owned();
    aws.calls().iter().map(text).collect()
}

#[tokio::test]
async fn joined_handlers_interleave_differently_for_each_seed_and_alike_for_the_same() {
    assert_eq!(order_of_writes(None).await, ["a", "a", "a", "b", "b", "b"]);
    let mut orders = Vec::new();
    for seed in 0..20 {
        let order = order_of_writes(Some(seed)).await;
        assert_eq!(order, order_of_writes(Some(seed)).await, "seed {seed}");
        orders.push(order);
    }
    orders.sort();
    orders.dedup();
    assert!(orders.len() > 3, "{orders:?}");
}

#[tokio::test]
async fn two_instances_share_nothing() {
    let (one, table) = aws_with_table();
    let (other, _) = aws_with_table();
    put(&one.dynamodb(), &table, "a").await.unwrap();
    assert!(keys(&other, &table).is_empty());
    assert!(other.calls().is_empty());
}
