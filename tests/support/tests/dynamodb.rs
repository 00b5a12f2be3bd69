//! DynamoDB's answers and errors, as the SDK's types carry them.

use super::*;
use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeValue::{self, N, S},
        ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
    },
};
use serde_json::json;
use std::collections::HashMap;

#[tokio::test]
async fn a_refused_put_returns_the_existing_item() {
    let (aws, table) = aws_with_table();
    aws.put_raw(&table, json!({ "pk": "a", "sk": "s", "version": 1 }));
    let refused = aws
        .dynamodb()
        .put_item()
        .table_name(&table)
        .set_item(Some(row("a")))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    let PutItemError::ConditionalCheckFailedException(refused) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.item().unwrap()["version"], N("1".to_owned()));
}

#[tokio::test]
async fn a_cancelled_transaction_has_a_reason_for_each_part() {
    let (aws, table) = aws_with_table();
    aws.put_raw(&table, json!({ "pk": "a", "sk": "s", "stock": 1 }));
    let update = Update::builder()
        .table_name(&table)
        .set_key(Some(row("a")))
        .update_expression("SET stock = stock - :n")
        .condition_expression("stock >= :n")
        .expression_attribute_values(":n", N("2".to_owned()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap();
    let cancelled = aws
        .dynamodb()
        .transact_write_items()
        .transact_items(in_transaction(put_of(&table, "b")))
        .transact_items(TransactWriteItem::builder().update(update).build())
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = cancelled else {
        panic!("{cancelled:?}");
    };
    let [fine, failed] = cancelled.cancellation_reasons() else {
        panic!("{cancelled:?}");
    };
    assert_eq!(fine.code(), Some("None"));
    assert_eq!(failed.code(), Some("ConditionalCheckFailed"));
    assert_eq!(failed.item().unwrap()["stock"], N("1".to_owned()));
    assert_eq!(
        aws.dump(&table),
        [json!({ "pk": "a", "sk": "s", "stock": 1 })]
    );
}

#[tokio::test]
async fn a_transaction_is_atomic_and_its_token_makes_it_idempotent() {
    let (aws, table) = aws_with_table();
    aws.put_raw(&table, json!({ "pk": "a", "sk": "s", "stock": 5 }));
    let transact = || {
        let update = Update::builder()
            .table_name(&table)
            .set_key(Some(row("a")))
            .update_expression("SET stock = stock - :n")
            .expression_attribute_values(":n", N("2".to_owned()))
            .build()
            .unwrap();
        let check = ConditionCheck::builder()
            .table_name(&table)
            .set_key(Some(row("b")))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .unwrap();
        aws.dynamodb()
            .transact_write_items()
            .client_request_token("once")
            .transact_items(TransactWriteItem::builder().update(update).build())
            .transact_items(TransactWriteItem::builder().condition_check(check).build())
            .send()
    };
    transact().await.unwrap();
    transact().await.unwrap();
    assert_eq!(
        aws.dump(&table),
        [json!({ "pk": "a", "sk": "s", "stock": 3 })]
    );
}

#[tokio::test]
async fn a_sparse_index_sorts_the_items_that_have_its_keys() {
    let (aws, table) = aws_with_table();
    for (pk, due_at) in [
        ("a", "2026-01-03"),
        ("b", "2026-01-01"),
        ("c", "2026-01-02"),
    ] {
        let item = json!({ "pk": pk, "sk": "s", "due": "1", "due_at": due_at, "x": true });
        aws.put_raw(&table, item);
    }
    aws.put_raw(&table, json!({ "pk": "d", "sk": "s" }));
    let query = aws
        .dynamodb()
        .query()
        .table_name(&table)
        .index_name("due")
        .key_condition_expression("due = :due AND due_at <= :now")
        .expression_attribute_values(":due", S("1".to_owned()))
        .expression_attribute_values(":now", S("2026-01-02".to_owned()));

    let all = query.clone().send().await.unwrap();
    let keys: Vec<&AttributeValue> = all.items().iter().map(|item| &item["pk"]).collect();
    assert_eq!(keys, [&S("b".to_owned()), &S("c".to_owned())]);
    assert!(
        !all.items()[0].contains_key("x"),
        "the index projects keys only"
    );

    let first = query.clone().limit(1).send().await.unwrap();
    let second = query
        .set_exclusive_start_key(first.last_evaluated_key)
        .send()
        .await
        .unwrap();
    assert_eq!(second.items()[0]["pk"], S("c".to_owned()));
}

#[tokio::test]
async fn a_write_reports_its_capacity_on_request() {
    let (aws, table) = aws_with_table();
    let put = aws
        .dynamodb()
        .put_item()
        .table_name(&table)
        .set_item(Some(row("a")))
        .return_consumed_capacity(aws_sdk_dynamodb::types::ReturnConsumedCapacity::Total)
        .send()
        .await
        .unwrap();
    assert_eq!(put.consumed_capacity.unwrap().capacity_units, Some(1.0));
}

#[tokio::test]
async fn bad_requests_get_dynamodbs_errors() {
    let (aws, table) = aws_with_table();
    let put = |table: &str, item| {
        let client = aws.dynamodb();
        client
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .send()
    };
    let no_key = HashMap::from([("pk".to_owned(), S("a".to_owned()))]);
    let invalid = put(&table, no_key).await.unwrap_err();
    assert_eq!(invalid.code(), Some("ValidationException"));
    let missing = put("nowhere", row("a"))
        .await
        .unwrap_err()
        .into_service_error();
    assert!(missing.is_resource_not_found_exception());
    let reserved_word = aws
        .dynamodb()
        .update_item()
        .table_name(&table)
        .set_key(Some(row("a")))
        .update_expression("SET status = :s")
        .expression_attribute_values(":s", S("PENDING".to_owned()))
        .send()
        .await
        .unwrap_err();
    assert_eq!(reserved_word.code(), Some("ValidationException"));
}

#[tokio::test]
async fn a_dump_is_plain_sorted_and_complete() {
    let (aws, table) = aws_with_table();
    for n in (0..300).rev() {
        let filler = "x".repeat(5_000);
        aws.put_raw(
            &table,
            json!({ "pk": format!("{n:03}"), "sk": "s", "filler": filler }),
        );
    }
    let keys: Vec<String> = aws
        .dump(&table)
        .iter()
        .map(|item| item["pk"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (0..300).map(|n| format!("{n:03}")).collect();
    assert_eq!(keys, expected, "more than one page of a megabyte");

    let rich = json!({
        "pk": "a", "sk": "s", "n": 1999, "f": 0.5, "no": null, "yes": true,
        "list": [1, "two", { "three": 3 }],
    });
    let (aws, table) = aws_with_table();
    aws.put_raw(&table, rich.clone());
    assert_eq!(aws.dump(&table), [rich]);
}

#[tokio::test]
async fn calls_are_recorded_with_their_targets() {
    let (aws, table) = aws_with_table();
    let client = aws.dynamodb();
    client
        .get_item()
        .table_name(&table)
        .set_key(Some(row("a")))
        .send()
        .await
        .unwrap();
    client
        .transact_write_items()
        .transact_items(in_transaction(put_of(&table, "a")))
        .send()
        .await
        .unwrap();
    let calls = aws.calls();
    let names: Vec<String> = calls.iter().map(test_support::Call::name).collect();
    assert_eq!(names, ["dynamodb:GetItem", "dynamodb:TransactWriteItems"]);
    assert_eq!(calls[1].targets, [table]);
    assert_eq!(aws.writes(), 1);
}
