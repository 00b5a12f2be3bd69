//! What an AWS account needs of the templates and the emulator does not notice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use test_support::template::{Template, workspace_root};

use crate::{Service, read, services};

fn template(location: &str) -> Template {
    Template::parse(location, &read(&workspace_root().join(location)))
}

/// The nested stacks of the root template, by logical id.
fn nested(root: &Template) -> BTreeMap<&String, &Value> {
    let resources = root.document()["Resources"].as_object().unwrap();
    resources.iter().collect()
}

/// What is there on a condition, and nothing otherwise.
fn only_if(condition: &str, value: Value) -> Value {
    json!({"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]})
}

/// A resource's properties as they are written.
fn written<'s>(service: &'s Service, id: &str) -> &'s Value {
    &service.template.document()["Resources"][id]["Properties"]
}

fn triggers(service: &Service) -> Vec<(String, &Value)> {
    let triggers = service.resources("AWS::Lambda::EventSourceMapping");
    triggers
        .into_iter()
        .map(|(id, trigger)| {
            let function = trigger["FunctionName"].as_str().unwrap().to_owned();
            (function, &written(service, &id)["ScalingConfig"])
        })
        .collect()
}

/// A creation that is rolled back must leave no table in the way of the next one.
#[test]
fn a_table_outlives_its_stack_but_not_a_failed_creation() {
    for service in services() {
        for (id, table) in service.resources("AWS::DynamoDB::Table") {
            let resource = &service.template.document()["Resources"][&id];
            assert_eq!(resource["DeletionPolicy"], "RetainExceptOnCreate", "{id}");
            assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{id}");
            // Without it the table is encrypted with a key of DynamoDB's own, which is free.
            assert!(table["SSESpecification"].is_null(), "{id}");
        }
    }
}

/// Lambda takes the orders of a batch for one chain of calls, and would drop them as a loop.
#[test]
fn a_queues_function_is_never_taken_for_a_loop() {
    for service in services() {
        let alarms = service.resources("AWS::CloudWatch::Alarm");
        for (function, _) in triggers(&service) {
            let properties = written(&service, &function);
            assert_eq!(properties["RecursiveLoop"], "Allow", "{function}");
            let rings = alarms.iter().any(|(_, alarm)| {
                alarm["Namespace"] == "AWS/Lambda"
                    && alarm["MetricName"] == "RecursiveInvocationsDropped"
                    && alarm["Dimensions"][0]["Value"] == function.as_str()
            });
            assert!(rings, "{function} has no alarm on calls that were dropped");
        }
    }
}

#[test]
fn every_queue_refuses_whoever_does_not_use_tls() {
    for service in services() {
        let policies = service.resources("AWS::SQS::QueuePolicy");
        for (id, _) in service.resources("AWS::SQS::Queue") {
            let refuses = policies.iter().any(|(_, policy)| {
                let queues = policy["Queues"].as_array().unwrap();
                let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
                queues.contains(&json!(id))
                    && statements.iter().any(|statement| {
                        statement["Effect"] == "Deny"
                            && statement["Principal"] == "*"
                            && statement["Action"] == "sqs:*"
                            && statement["Resource"] == "*"
                            && statement["Condition"]
                                == json!({"Bool": {"aws:SecureTransport": "false"}})
                    })
            });
            assert!(refuses, "{} {id} may be used without TLS", service.name);
        }
    }
}

#[test]
fn a_dead_letter_queue_takes_from_its_own_queue_alone() {
    for service in services() {
        let queues = service.resources("AWS::SQS::Queue");
        let targets: BTreeMap<&str, &Value> = queues
            .iter()
            .filter_map(|(_, queue)| {
                let target = queue["RedrivePolicy"]["deadLetterTargetArn"].as_str()?;
                Some((target.strip_suffix(".Arn").unwrap(), &queue["QueueName"]))
            })
            .collect();
        for (id, queue) in &queues {
            let name = queue["QueueName"].as_str().unwrap();
            let Some(source) = targets.get(id.as_str()) else {
                assert!(!name.ends_with("-dlq"), "{name} is no queue's");
                continue;
            };
            let arn = format!(
                "arn:aws:sqs:us-east-1:123456789012:{}",
                source.as_str().unwrap()
            );
            let expected = json!({"redrivePermission": "byQueue", "sourceQueueArns": [arn]});
            assert_eq!(queue["RedriveAllowPolicy"], expected, "{name}");
        }
    }
}

/// A service other than Lambda could be asked by another account to use the role (confused deputy).
#[test]
fn a_role_that_another_service_takes_is_for_this_account_alone() {
    let mut seen = 0;
    for service in services() {
        for (id, role) in service.resources("AWS::IAM::Role") {
            for statement in role["AssumeRolePolicyDocument"]["Statement"]
                .as_array()
                .unwrap()
            {
                match statement["Principal"]["Service"].as_str().expect(&id) {
                    // Lambda takes a role for the functions that have it, and only their owner
                    // can give it to one.
                    "lambda.amazonaws.com" => {}
                    "scheduler.amazonaws.com" => {
                        let group =
                            "arn:aws:scheduler:us-east-1:123456789012:schedule-group/default";
                        let expected = json!({
                            "StringEquals": {"aws:SourceAccount": "123456789012"},
                            "ArnEquals": {"aws:SourceArn": group},
                        });
                        assert_eq!(statement["Condition"], expected, "{id}");
                        seen += 1;
                    }
                    other => panic!("{id} is for {other}: which condition does it need?"),
                }
            }
        }
        for (id, schedule) in service.resources("AWS::Scheduler::Schedule") {
            assert!(
                schedule["GroupName"].is_null(),
                "{id} is in the default group"
            );
        }
    }
    assert!(seen > 0, "the sweeper's schedule has a role");
}

/// Nothing is measured before the first call, so missing data at a first deployment says nothing.
#[test]
fn no_alarm_rings_at_a_first_deployment() {
    let topic = json!([{"Ref": "AlarmTopicArn"}]);
    let mut told = Vec::new();
    for service in services() {
        for (id, alarm) in service.resources("AWS::CloudWatch::Alarm") {
            let missing = alarm["TreatMissingData"].as_str().expect(&id);
            assert_ne!(missing, "breaching", "{id}");
            let action = &written(&service, &id)["InsufficientDataActions"];
            if missing == "missing" {
                assert_eq!(*action, only_if("AlarmsAreSent", topic.clone()), "{id}");
                told.push(alarm["MetricName"].as_str().unwrap().to_owned());
            } else {
                assert!(action.is_null(), "{id}");
            }
        }
    }
    // The sweeper's silence is told.
    assert_eq!(told, ["OldestDueOrderSeconds"]);
}

/// What a password's hash and a token's signature take their time in. The rest is built small.
#[test]
fn what_is_optimised_for_the_local_stack_is_so_for_aws() {
    let manifest = read(&workspace_root().join("Cargo.toml"));
    let optimised = |profile: &str| -> BTreeSet<String> {
        let title = format!("\n[profile.{profile}.package]\n");
        let section = manifest.split(&title).nth(1).expect(&title);
        let section = section.split("\n\n").next().unwrap();
        section
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, level) = line.split_once(" = ").expect(line);
                assert_eq!(level, "{ opt-level = 3 }", "{name}");
                name.to_owned()
            })
            .collect()
    };
    // What no function is built of.
    let of_tests = ["dynoxide-rs", "libsqlite3-sys", "proptest"].map(str::to_owned);
    let local = optimised("dev");
    let mut expected: BTreeSet<String> = local.difference(&of_tests.into()).cloned().collect();
    // With LTO the level of the crate that is linked decides.
    for service in services() {
        if read(&service.folder.join("Cargo.toml")).contains("\nargon2.workspace") {
            expected.insert(service.name.to_owned());
        }
    }
    assert_eq!(optimised("release"), expected);
}
