//! The effects of a failed table call on the client and on the queue.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};
use aws_smithy_types::error::ErrorMetadata;
use shared_lambda::problem::Problem;
use shared_lambda::sqs::Failure;
use shared_lambda::table::{
    Row, TableError, cancellation_reasons, condition_failed, read_rows, was_contended,
};
use shared_lambda::telemetry::chain;
use test_support::{Aws, Fault, template::Template};

use crate::logs::Logs;

const TEMPLATE: &str = "
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: waybill-things
      AttributeDefinitions: [{ AttributeName: pk, AttributeType: S }]
      KeySchema: [{ AttributeName: pk, KeyType: HASH }]
";

fn aws_with_table() -> Aws {
    let aws = Aws::new();
    aws.create_table_from(&Template::parse("template.yaml", TEMPLATE), "Table");
    aws
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

async fn put_with(fault: Option<Fault>) -> TableError {
    let aws = aws_with_table();
    if let Some(fault) = fault {
        aws.fault_on("dynamodb:PutItem", fault);
    }
    let put = aws.dynamodb().put_item().table_name("waybill-things");
    let error = put.send().await.unwrap_err();
    TableError::new("save the thing", error)
}

fn with_code(code: Option<&str>) -> TableError {
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = code {
        metadata = metadata.code(code);
    }
    let error = PutItemError::generic(metadata.build());
    TableError::new("save the thing", SdkError::service_error(error, "raw"))
}

#[tokio::test]
async fn a_transient_error_is_a_503() {
    let faults = [
        Fault::BeforeEffect,
        Fault::AfterEffect,
        Fault::Throttle,
        Fault::TransactionConflict,
    ];
    for fault in faults {
        let error = put_with(Some(fault.clone())).await;
        assert_eq!(Problem::from(error).status(), 503, "{fault:?}");
    }
    let codes = [
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    ];
    for code in codes {
        assert_eq!(Problem::from(with_code(Some(code))).status(), 503, "{code}");
    }
    let contended = TableError::contended("save the thing");
    assert_eq!(Problem::from(contended).status(), 503);
}

#[tokio::test]
async fn an_answer_without_a_code_is_transient() {
    assert_eq!(Problem::from(with_code(None)).status(), 503);
}

#[tokio::test]
async fn a_bug_is_a_500() {
    // An item without its key.
    assert_eq!(Problem::from(put_with(None).await).status(), 500);
    for code in [
        "ValidationException",
        "AccessDeniedException",
        "ResourceNotFoundException",
    ] {
        assert_eq!(Problem::from(with_code(Some(code))).status(), 500, "{code}");
    }
    let corrupt = TableError::corrupt("read the thing", "the row has no version");
    assert_eq!(Problem::from(corrupt).status(), 500);
}

#[tokio::test]
async fn a_failed_table_call_is_retried_unless_the_row_is_corrupt() {
    let transient = Failure::from(put_with(Some(Fault::Throttle)).await);
    let bug = Failure::from(put_with(None).await);
    assert!(transient.is_retried() && bug.is_retried());
    let goes_away = |failure: &Failure| {
        let cause = failure.cause()?.downcast_ref::<TableError>()?;
        Some(cause.is_transient())
    };
    assert_eq!(goes_away(&transient), Some(true));
    assert_eq!(goes_away(&bug), Some(false));
    assert_eq!(bug.detail(), "the table call failed");

    // Another read does not repair the row.
    let corrupt = TableError::corrupt("read the thing", "the row has no version");
    let corrupt = Failure::from(corrupt);
    assert!(!corrupt.is_retried());
    let text = corrupt.cause().map(chain).unwrap_or_default();
    assert!(text.contains("the row has no version"), "{text}");
}

#[tokio::test]
async fn an_error_names_the_operation_and_the_cause() {
    let error = put_with(Some(Fault::BeforeEffect)).await;
    let text = chain(&error);
    assert!(
        text.starts_with("the table call failed: save the thing: ")
            && text.ends_with("the connection broke before the request arrived"),
        "{text}"
    );
}

fn reason(code: &str) -> CancellationReason {
    CancellationReason::builder().code(code).build()
}

#[test]
fn a_cancelled_transaction_gives_its_reasons_in_order() {
    let cancelled = TransactionCanceledException::builder()
        .cancellation_reasons(reason("None"))
        .cancellation_reasons(reason("ConditionalCheckFailed"))
        .build();
    let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
    let error = SdkError::service_error(error, "raw");
    let reasons = cancellation_reasons(&error).unwrap();
    let failed: Vec<bool> = reasons.iter().map(condition_failed).collect();
    assert_eq!(failed, [false, true]);
    assert!(!was_contended(reasons));
}

#[test]
fn only_contention_and_load_are_worth_a_retry() {
    for code in [
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    ] {
        assert!(was_contended(&[reason("None"), reason(code)]), "{code}");
    }
    for code in ["None", "ConditionalCheckFailed", "ValidationError"] {
        assert!(!was_contended(&[reason(code)]), "{code}");
    }
    assert!(!was_contended(&[]));
}

#[tokio::test]
async fn another_failure_of_a_transaction_has_no_reasons() {
    let aws = aws_with_table();
    aws.fault_on("dynamodb:TransactWriteItems", Fault::Throttle);
    let put = aws_sdk_dynamodb::types::Put::builder()
        .table_name("waybill-things")
        .item("pk", text("1"))
        .build()
        .unwrap();
    let item = aws_sdk_dynamodb::types::TransactWriteItem::builder()
        .put(put)
        .build();
    let write = || {
        let write = aws.dynamodb().transact_write_items();
        write.transact_items(item.clone()).send()
    };
    assert!(cancellation_reasons(&write().await.unwrap_err()).is_none());
    aws.fault_on("dynamodb:TransactWriteItems", Fault::TransactionConflict);
    let conflict = write().await.unwrap_err();
    assert!(was_contended(cancellation_reasons(&conflict).unwrap()));
}

fn size_of(row: Row) -> Result<String, TableError> {
    match row.get("size") {
        Some(AttributeValue::N(size)) => Ok(size.clone()),
        _ => Err(TableError::corrupt("list things", "the row has no size")),
    }
}

#[test]
fn an_unreadable_row_is_logged_and_left_out() {
    let row = |pk: &str, size: AttributeValue| {
        Row::from([("pk".to_owned(), text(pk)), ("size".to_owned(), size)])
    };
    let rows = [
        row("THING#1", AttributeValue::N("1".to_owned())),
        row("THING#2", text("large")),
        Row::new(),
        row("THING#4", AttributeValue::N("4".to_owned())),
    ];
    let logs = Logs::start();
    let read = read_rows("waybill-things", rows, size_of);
    assert_eq!(read.readable, ["1", "4"]);
    let left_out: Vec<_> = read.unreadable.iter().map(|row| &*row.pk).collect();
    assert_eq!(left_out, ["THING#2", "?"]);
    assert!(read.unreadable.iter().all(|row| row.error.is_corrupt()));

    let lines = logs.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, pk) in lines.iter().zip(["THING#2", "?"]) {
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["event"], "row_unreadable");
        assert_eq!(line["table"], "waybill-things");
        assert_eq!(line["pk"], pk);
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.ends_with("the row has no size"), "{cause}");
    }
}
