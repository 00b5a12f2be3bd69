//! Each fault has its effect, and only on the call it was planned for.

use super::*;
use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeValue::{N, S},
        KeysAndAttributes, PutRequest, TransactWriteItem, Update, WriteRequest,
    },
};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use std::sync::{Arc, Mutex};
use test_support::{Call, Fault, crashable};

async fn put(client: &Client, table: &str, pk: &str) -> Result<(), SdkError<PutItemError>> {
    client
        .put_item()
        .table_name(table)
        .set_item(Some(row(pk)))
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
async fn a_connection_broken_before_the_effect_leaves_nothing() {
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
async fn a_connection_broken_after_the_effect_hides_it() {
    let (aws, table) = aws_with_table();
    aws.fault_at(0, Fault::AfterEffect);
    let broken = put(&aws.dynamodb(), &table, "a").await.unwrap_err();
    assert!(matches!(broken, SdkError::DispatchFailure(_)));
    assert_eq!(keys(&aws, &table), ["a"]);
}

#[tokio::test]
async fn the_sdk_retries_as_often_as_configured() {
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
async fn the_sdks_token_recovers_a_lost_transaction_answer() {
    let (aws, table) = aws_with_table();
    aws.fault_at(0, Fault::AfterEffect);
    let put = put_of(&table, "a").condition_expression("attribute_not_exists(pk)");
    aws.dynamodb_with_attempts(2)
        .transact_write_items()
        .transact_items(in_transaction(put))
        .send()
        .await
        .unwrap();
    assert_eq!(aws.writes(), 2);
}

#[tokio::test]
async fn a_transaction_conflict_differs_from_a_failed_condition() {
    let (aws, table) = aws_with_table();
    aws.fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
    let cancelled = aws
        .dynamodb()
        .transact_write_items()
        .transact_items(in_transaction(put_of(&table, "a")))
        .transact_items(in_transaction(put_of(&table, "b")))
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

/// The found and the unprocessed rows of a batch get.
async fn batch_get(aws: &Aws, table: &str, pks: [&str; 2]) -> (Vec<Row>, Vec<Row>) {
    let keys = KeysAndAttributes::builder().set_keys(Some(pks.map(row).to_vec()));
    let get = aws.dynamodb().batch_get_item();
    let get = get.request_items(table, keys.build().unwrap());
    let got = get.send().await.unwrap();
    let found = got.responses.unwrap().remove(table).unwrap_or_default();
    let unprocessed = got.unprocessed_keys.unwrap().remove(table);
    (found, unprocessed.map_or_else(Vec::new, |left| left.keys))
}

/// The unprocessed rows of a batch write.
async fn batch_write(aws: &Aws, table: &str, pks: [&str; 2]) -> Vec<Row> {
    let writes = pks.map(|pk| {
        let put = PutRequest::builder().set_item(Some(row(pk)));
        let put = put.build().unwrap();
        WriteRequest::builder().put_request(put).build()
    });
    let write = aws.dynamodb().batch_write_item();
    let written = write.request_items(table, writes.to_vec()).send().await;
    let mut unprocessed = written.unwrap().unprocessed_items.unwrap();
    let unprocessed = unprocessed.remove(table).unwrap_or_default().into_iter();
    unprocessed
        .map(|write| write.put_request.unwrap().item)
        .collect()
}

#[tokio::test]
async fn a_batch_can_be_partly_or_wholly_unprocessed() {
    let (aws, table) = aws_with_table();
    let both = ["a", "b"];
    aws.fault_on("dynamodb:BatchWriteItem", Fault::WhollyUnprocessed);
    assert_eq!(batch_write(&aws, &table, both).await, both.map(row));
    assert!(keys(&aws, &table).is_empty());
    aws.fault_on("dynamodb:BatchWriteItem", Fault::Unprocessed);
    assert_eq!(batch_write(&aws, &table, both).await, [row("b")]);
    assert_eq!(keys(&aws, &table), ["a"]);

    aws.fault_on("dynamodb:BatchGetItem", Fault::Unprocessed);
    let (found, unprocessed) = batch_get(&aws, &table, both).await;
    assert_eq!((found, unprocessed), (vec![row("a")], vec![row("b")]));
    aws.fault_on("dynamodb:BatchGetItem", Fault::WhollyUnprocessed);
    let (found, unprocessed) = batch_get(&aws, &table, both).await;
    assert_eq!((found, unprocessed), (vec![], both.map(row).to_vec()));
}

/// Puts a row, indexed while it is due.
async fn count(client: &Client, table: &str, count: u32, due: Option<&str>) {
    let mut row = client
        .put_item()
        .table_name(table)
        .set_item(Some(row("a")))
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
        .set_key(Some(row("a")))
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
async fn an_eventually_consistent_read_can_be_stale() {
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
async fn every_index_read_can_be_stale() {
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
async fn a_refused_write_is_not_part_of_the_history() {
    let (aws, table) = aws_with_table();
    aws.keep_history();
    let client = aws.dynamodb();
    count(&client, &table, 1, None).await;
    count(&client, &table, 2, None).await;
    let refused = client
        .put_item()
        .table_name(&table)
        .set_item(Some(row("a")))
        .condition_expression("attribute_not_exists(pk)")
        .send()
        .await;
    refused.unwrap_err();
    aws.fault_on("dynamodb:GetItem", Fault::Stale(1));
    let past = counted(&client, &table, false).await;
    assert_eq!(past.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_token_deduplicates_a_transaction_until_it_expires() {
    let (aws, table) = aws_with_table();
    let add = Update::builder()
        .table_name(&table)
        .set_key(Some(row("a")))
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
async fn a_crashed_process_stops_and_keeps_its_effects() {
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
async fn a_fault_that_does_not_apply_does_not_fire() {
    let (aws, table) = aws_with_table();
    aws.fault_at(0, Fault::PartialSend(vec![0]));
    put(&aws.dynamodb(), &table, "a").await.unwrap();
    assert_eq!(aws.fired(), 0);
}

#[test]
#[should_panic(expected = "TransactionConflict does not apply to sqs:SendMessage")]
fn a_fault_that_does_not_apply_to_an_action_is_refused() {
    Aws::new().fault_on("sqs:SendMessage", Fault::TransactionConflict);
}

#[tokio::test]
async fn a_hook_decides_each_call() {
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

/// Two handlers write three items each: the order of the writes.
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
async fn the_seed_decides_the_interleaving_of_joined_handlers() {
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
