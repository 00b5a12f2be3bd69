//! SQS's answers and errors, as the SDK's types carry them.

use super::*;
use aws_sdk_sqs::{
    Client,
    error::ProvideErrorMetadata,
    types::{Message, MessageAttributeValue, SendMessageBatchRequestEntry},
};
use serde_json::json;

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .build()
        .unwrap()
}

async fn receive(client: &Client, most: i32) -> Vec<Message> {
    let receive = client.receive_message().queue_url(QUEUE);
    let received = receive.max_number_of_messages(most).send().await;
    received.unwrap().messages.unwrap_or_default()
}

async fn delete(client: &Client, message: &Message) {
    let delete = client.delete_message().queue_url(QUEUE);
    let delete = delete.receipt_handle(message.receipt_handle().unwrap());
    delete.send().await.unwrap();
}

#[tokio::test]
async fn a_message_returns_until_it_is_deleted() {
    let aws = Aws::new();
    let client = aws.sqs();
    client
        .send_message()
        .queue_url(QUEUE)
        .message_body(r#"{"n":1}"#)
        .message_attributes(
            "type",
            MessageAttributeValue::builder()
                .data_type("String")
                .string_value("ReserveStock")
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap();
    let first = receive(&client, 1).await;
    assert_eq!(first[0].body(), Some(r#"{"n":1}"#));
    let attributes = first[0].message_attributes().unwrap();
    assert_eq!(attributes["type"].string_value(), Some("ReserveStock"));
    assert!(receive(&client, 1).await.is_empty());

    aws.redeliver(QUEUE);
    let second = receive(&client, 1).await;
    assert_eq!(first[0].message_id(), second[0].message_id());

    delete(&client, &first[0]).await;
    assert_eq!(
        aws.in_flight(QUEUE).len(),
        1,
        "a stale receipt deletes nothing"
    );

    delete(&client, &second[0]).await;
    assert!(aws.in_flight(QUEUE).is_empty());
}

#[tokio::test]
async fn visibility_zero_returns_a_message_at_once() {
    let aws = Aws::new();
    let client = aws.sqs();
    aws.enqueue(QUEUE, "not JSON");
    let received = receive(&client, 1).await;
    let receipt = received[0].receipt_handle().unwrap();
    let change = |seconds| {
        let client = &client;
        async move {
            client
                .change_message_visibility()
                .queue_url(QUEUE)
                .receipt_handle(receipt)
                .visibility_timeout(seconds)
                .send()
                .await
        }
    };
    change(30).await.unwrap();
    assert_eq!(aws.in_flight(QUEUE)[0].visibility, Some(30));
    change(0).await.unwrap();
    assert_eq!(aws.sent_messages(QUEUE)[0].receives, 1);
    let gone = change(0).await.unwrap_err().into_service_error();
    assert!(gone.is_message_not_inflight());
}

#[tokio::test]
async fn sent_messages_are_taken_once_and_in_order() {
    let aws = Aws::new();
    let sent = aws
        .sqs()
        .send_message_batch()
        .queue_url(QUEUE)
        .entries(entry("a", r#"{"n":1}"#))
        .entries(entry("b", r#"{"n":2}"#))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.successful().len(), 2);
    assert!(sent.failed().is_empty());
    assert_eq!(aws.sent(QUEUE), [json!({ "n": 1 }), json!({ "n": 2 })]);
    assert!(aws.sent(QUEUE).is_empty());
    assert_eq!(aws.calls()[0].targets, [QUEUE]);
}

#[tokio::test]
async fn invalid_batches_are_refused() {
    let aws = Aws::new();
    let send = |entries: Vec<SendMessageBatchRequestEntry>| {
        let client = aws.sqs();
        async move {
            let batch = client.send_message_batch().queue_url(QUEUE);
            let refused = batch.set_entries(Some(entries)).send().await.unwrap_err();
            refused.into_service_error()
        }
    };
    let numbered = |count: usize| (0..count).map(|n| entry(&n.to_string(), "{}")).collect();
    assert!(send(vec![]).await.is_empty_batch_request());
    assert!(
        send(numbered(11))
            .await
            .is_too_many_entries_in_batch_request()
    );
    let twins = vec![entry("a", "{}"), entry("a", "{}")];
    assert!(send(twins).await.is_batch_entry_ids_not_distinct());
    let long = "x".repeat(600_000);
    let heavy = vec![entry("a", &long), entry("b", &long)];
    assert!(send(heavy).await.is_batch_request_too_long());
    let dotted = send(vec![entry("a.b", "{}")]).await;
    assert_eq!(
        dotted.code(),
        Some("AWS.SimpleQueueService.InvalidBatchEntryId")
    );
    assert!(aws.sent(QUEUE).is_empty());
}

#[tokio::test]
async fn a_batch_has_an_answer_for_each_entry() {
    use aws_sdk_sqs::types::{
        ChangeMessageVisibilityBatchRequestEntry as Change,
        DeleteMessageBatchRequestEntry as Delete,
    };
    let aws = Aws::new();
    let client = aws.sqs();
    aws.enqueue(QUEUE, "1");
    aws.enqueue(QUEUE, "2");
    let received = receive(&client, 10).await;
    let [first, second] = [0, 1].map(|at: usize| received[at].receipt_handle().unwrap());
    let change = |id: &str, receipt: &str| {
        Change::builder()
            .id(id)
            .receipt_handle(receipt)
            .visibility_timeout(0)
            .build()
            .unwrap()
    };
    let changed = client
        .change_message_visibility_batch()
        .queue_url(QUEUE)
        .entries(change("a", first))
        .entries(change("b", "unknown"))
        .send()
        .await
        .unwrap();
    assert_eq!(changed.successful()[0].id(), "a");
    assert_eq!(
        changed.failed()[0].code(),
        "AWS.SimpleQueueService.MessageNotInflight"
    );

    let delete = Delete::builder()
        .id("b")
        .receipt_handle(second)
        .build()
        .unwrap();
    client
        .delete_message_batch()
        .queue_url(QUEUE)
        .entries(delete)
        .send()
        .await
        .unwrap();
    assert_eq!(aws.sent(QUEUE), [json!(1)]);
    assert!(aws.in_flight(QUEUE).is_empty());
}

#[tokio::test]
async fn a_queue_counts_visible_and_in_flight_messages() {
    use aws_sdk_sqs::types::QueueAttributeName::{
        ApproximateNumberOfMessages as Waiting, ApproximateNumberOfMessagesNotVisible as InFlight,
        QueueArn,
    };
    let aws = Aws::new();
    let client = aws.sqs();
    for _ in 0..3 {
        aws.enqueue(QUEUE, "{}");
    }
    receive(&client, 1).await;
    let counts = || async {
        let asked = client.get_queue_attributes().queue_url(QUEUE);
        let asked = asked.attribute_names(Waiting).attribute_names(InFlight);
        let counted = asked.send().await.unwrap().attributes.unwrap();
        [&Waiting, &InFlight].map(|name| counted[name].clone())
    };
    assert_eq!(counts().await, ["2", "1"]);
    // Messages held by the test count too.
    aws.keep_elsewhere(QUEUE, 5, 7);
    assert_eq!(counts().await, ["7", "8"]);
    let asked = client.get_queue_attributes().queue_url(QUEUE);
    let refused = asked.attribute_names(QueueArn).send().await.unwrap_err();
    assert_eq!(
        refused.code(),
        Some("AWS.SimpleQueueService.InvalidAttributeName")
    );
}
