//! Reads templates as they are deployed.

use super::*;
use serde_json::json;

#[test]
fn short_tags_resolve_to_parameter_defaults() {
    let template = Template::parse("template.yaml", TEMPLATE);
    assert_eq!(
        template.properties("Queue", "AWS::SQS::Queue"),
        json!({
            "QueueName": "waybill-orders-replies",
            "RedrivePolicy": { "deadLetterTargetArn": "DeadLetters.Arn" },
        })
    );
}

#[test]
fn every_form_of_substitution_is_resolved() {
    let template = Template::parse("template.yaml", TEMPLATE);
    let resolved = template.resolve(&json!([
        { "Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${Prefix}-x" },
        { "Fn::Sub": ["${!kept} ${Local}", { "Local": { "Ref": "Prefix" } }] },
        { "Fn::Join": ["/", ["a", { "Ref": "Prefix" }]] },
        { "Fn::GetAtt": ["Table", "Arn"] },
        { "Fn::If": ["IsArm", 1, 2] },
    ]));
    assert_eq!(
        resolved,
        json!([
            "arn:aws:sqs:us-east-1:123456789012:waybill-x",
            "${kept} waybill",
            "a/waybill",
            "Table.Arn",
            { "Fn::If": ["IsArm", 1, 2] },
        ])
    );
}

#[test]
fn a_table_takes_its_name_from_the_template() {
    let (_, table) = aws_with_table();
    assert_eq!(table, "waybill-orders");
}

#[test]
#[should_panic(expected = "template.yaml has no resource UsersTable")]
fn a_missing_resource_is_named() {
    let template = Template::parse("template.yaml", TEMPLATE);
    Aws::new().create_table_from(&template, "UsersTable");
}

#[test]
#[should_panic(expected = "functions/shipping/template.yaml cannot be read")]
fn a_missing_template_is_named() {
    Template::of_service("shipping");
}
