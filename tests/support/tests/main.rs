//! The stand-ins answer as AWS does, tested through the SDK.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod contracts;
mod dynamodb;
mod faults;
mod sqs;
mod ssm;
mod template;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use test_support::{Aws, template::Template};

type Row = HashMap<String, AttributeValue>;

/// A template like those of the services.
const TEMPLATE: &str = r#"
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Prefix: { Type: String, Default: waybill }
Conditions:
  IsArm: !Equals [!Ref Prefix, arm]
Resources:
  OrdersTable:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    Properties:
      TableName: !Sub ${Prefix}-orders
      BillingMode: PAY_PER_REQUEST
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true }
      SSESpecification: { SSEEnabled: true }
      AttributeDefinitions:
        - { AttributeName: pk, AttributeType: S }
        - { AttributeName: sk, AttributeType: S }
        - { AttributeName: due, AttributeType: S }
        - { AttributeName: due_at, AttributeType: S }
      KeySchema:
        - { AttributeName: pk, KeyType: HASH }
        - { AttributeName: sk, KeyType: RANGE }
      GlobalSecondaryIndexes:
        - IndexName: due
          KeySchema:
            - { AttributeName: due, KeyType: HASH }
            - { AttributeName: due_at, KeyType: RANGE }
          Projection: { ProjectionType: KEYS_ONLY }
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub '${Prefix}-orders-replies'
      RedrivePolicy:
        deadLetterTargetArn: !GetAtt DeadLetters.Arn
"#;

const QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-orders-replies";

fn aws_with_table() -> (Aws, String) {
    let aws = Aws::new();
    let template = Template::parse("template.yaml", TEMPLATE);
    let table = aws.create_table_from(&template, "OrdersTable");
    (aws, table)
}

fn row(pk: &str) -> Row {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text("s"))])
}

fn put_of(table: &str, pk: &str) -> PutBuilder {
    Put::builder().table_name(table).set_item(Some(row(pk)))
}

fn in_transaction(put: PutBuilder) -> TransactWriteItem {
    TransactWriteItem::builder()
        .put(put.build().unwrap())
        .build()
}
