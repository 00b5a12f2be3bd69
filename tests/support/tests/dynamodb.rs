//! DynamoDB's answers and errors, as the SDK's types carry them.

use super::*;
use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue::N, ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
        Update,
    },
};
use serde_json::json;

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
