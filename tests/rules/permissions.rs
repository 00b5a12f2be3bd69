//! Each function has a role of its own, with exactly the actions it uses; so have operators a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use crate::{Service, owner, read, services};

/// A function's statements: (action, resource) pairs.
fn grants(service: &Service, role: &str) -> BTreeSet<(String, String)> {
    conditional_grants(service, role).into_keys().collect()
}

/// The same, with the condition of each, which may be none.
fn conditional_grants(service: &Service, role: &str) -> BTreeMap<(String, String), Value> {
    let role = service.template.properties(role, "AWS::IAM::Role");
    let mut grants = BTreeMap::new();
    for policy in role["Policies"].as_array().unwrap() {
        for (action, resource, condition) in statements(&policy["PolicyDocument"]) {
            // A KMS key decrypts for one parameter; nothing else is conditional.
            assert_eq!(
                condition.is_null(),
                !action.starts_with("kms:"),
                "{action} on {resource}"
            );
            grants.insert((action, resource), condition);
        }
    }
    grants
}

/// The grants of a policy: action, resource and optional condition.
pub fn statements(document: &Value) -> Vec<(String, String, Value)> {
    let mut statements = Vec::new();
    for statement in document["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        for action in list(&statement["Action"]) {
            for resource in list(&statement["Resource"]) {
                statements.push((action.clone(), resource, statement["Condition"].clone()));
            }
        }
    }
    statements
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values
            .iter()
            .map(|value| value.as_str().unwrap().to_owned())
            .collect(),
        value => vec![value.as_str().unwrap().to_owned()],
    }
}

fn role_of(properties: &Value) -> String {
    owner(&properties["Role"]).to_owned()
}

#[test]
fn every_function_has_its_own_role_without_managed_policies() {
    for service in services() {
        let mut roles = BTreeSet::new();
        for (id, _, properties) in service.functions() {
            let role = role_of(&properties);
            assert!(roles.insert(role.clone()), "{id} shares {role}");
            assert!(properties["Policies"].is_null(), "{id} has SAM policies");
            let role = service.template.properties(&role, "AWS::IAM::Role");
            assert!(role["ManagedPolicyArns"].is_null(), "{id}");
        }
    }
}

#[test]
fn no_role_has_a_wildcard_and_only_migrations_scan() {
    for service in services() {
        for (role, _) in service.resources("AWS::IAM::Role") {
            for (action, resource) in grants(&service, &role) {
                assert!(!action.contains('*'), "{role}: {action}");
                let is_migration = role.ends_with("MigrateRole");
                assert!(action != "dynamodb:Scan" || is_migration, "{role}");
                let any = resource.contains('*') && role != "DeploymentRole";
                assert!(!any, "{role}: {action} on {resource}");
            }
        }
    }
}

/// The policy that AWS manages for this lets CodeDeploy move every alias of the account.
#[test]
fn codedeploy_moves_the_aliases_of_one_service() {
    for service in services() {
        let of = |what: &str| format!("arn:aws:{what}:waybill-{}-*", service.name);
        let functions = of("lambda:us-east-1:123456789012:function");
        let expected = [
            (
                "cloudwatch:DescribeAlarms",
                of("cloudwatch:us-east-1:123456789012:alarm"),
            ),
            ("lambda:GetAlias", functions.clone()),
            ("lambda:GetProvisionedConcurrencyConfig", functions.clone()),
            ("lambda:UpdateAlias", functions),
        ];
        let expected = expected.map(|(action, resource)| (action.to_owned(), resource));
        let granted = grants(&service, "DeploymentRole");
        assert_eq!(granted, expected.into(), "{}", service.name);
        let preference =
            &service.template.document()["Globals"]["Function"]["DeploymentPreference"];
        assert_eq!(preference["Enabled"], json!({"Ref": "GradualDeployments"}));
        assert_eq!(
            preference["Role"],
            json!({"Fn::GetAtt": "DeploymentRole.Arn"})
        );
    }
}

#[test]
fn every_function_may_write_its_own_log_and_no_other() {
    for service in services() {
        for (id, binary, properties) in service.functions() {
            let (group, _) = service
                .resources("AWS::Logs::LogGroup")
                .into_iter()
                .find(|(_, group)| {
                    group["LogGroupName"] == format!("/aws/lambda/waybill-{binary}").as_str()
                })
                .unwrap_or_else(|| panic!("{id} has no log group"));
            let logs: Vec<_> = grants(&service, &role_of(&properties))
                .into_iter()
                .filter(|(action, _)| action.starts_with("logs:"))
                .collect();
            let arn = format!("{group}.Arn");
            assert_eq!(
                logs,
                [
                    ("logs:CreateLogStream".to_owned(), arn.clone()),
                    ("logs:PutLogEvents".to_owned(), arn)
                ],
                "{id}"
            );
        }
    }
}

#[test]
fn functions_of_queues_have_the_triggers_permissions() {
    for service in services() {
        for (id, queue, _) in service.triggers() {
            let function = service
                .template
                .properties(&id, "AWS::Serverless::Function");
            let grants = grants(&service, &role_of(&function));
            for action in [
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ChangeMessageVisibility",
            ] {
                let grant = (action.to_owned(), format!("{queue}.Arn"));
                assert!(grants.contains(&grant), "{id} lacks {action}");
            }
        }
    }
}

/// To the sweeper a queue is behind when more waits there than its function takes at once.
#[test]
fn the_sweeper_may_ask_every_queue_and_knows_its_limits() {
    let (mut queues, mut most) = (0, 0);
    for service in services() {
        for (_, trigger) in service.resources("AWS::Lambda::EventSourceMapping") {
            let concurrency = &trigger["ScalingConfig"]["MaximumConcurrency"];
            let batch = trigger["BatchSize"].as_u64().unwrap();
            most = concurrency
                .as_u64()
                .unwrap()
                .saturating_mul(batch)
                .max(most);
            queues += 1;
        }
    }
    let services = services();
    let orders = services.iter().find(|service| service.name == "orders");
    let orders = orders.unwrap();
    let source = read(&orders.folder.join("src/handlers/backlog.rs"));
    let constant = source.split("TAKEN_AT_ONCE: u64 = ").nth(1).unwrap();
    assert_eq!(constant.split(';').next().unwrap(), most.to_string());
    let granted = grants(orders, "OrdersSweepRole");
    let may_ask = granted
        .iter()
        .filter(|(action, _)| action == "sqs:GetQueueAttributes");
    assert_eq!(may_ask.count(), queues);
}

/// The permissions that calls of the SDK and of `shared_lambda::table::Table` need.
const CALLS: [(&str, &str); 18] = [
    (".table.get(", "dynamodb:GetItem"),
    (".table.insert(", "dynamodb:PutItem"),
    (".table.batch_get(", "dynamodb:BatchGetItem"),
    (".get_item()", "dynamodb:GetItem"),
    (".put_item()", "dynamodb:PutItem"),
    (".update_item()", "dynamodb:UpdateItem"),
    (".delete_item()", "dynamodb:DeleteItem"),
    (".query()", "dynamodb:Query"),
    (".scan()", "dynamodb:Scan"),
    (".batch_get_item()", "dynamodb:BatchGetItem"),
    ("Put::builder()", "dynamodb:PutItem"),
    ("Update::builder()", "dynamodb:UpdateItem"),
    ("Delete::builder()", "dynamodb:DeleteItem"),
    ("ConditionCheck::builder()", "dynamodb:ConditionCheckItem"),
    ("Migrator::new(", "dynamodb:GetItem"),
    ("Migrator::new(", "dynamodb:PutItem"),
    ("Migrator::new(", "dynamodb:Scan"),
    ("Migrator::new(", "dynamodb:UpdateItem"),
];

#[test]
fn a_service_may_use_exactly_its_codes_table_actions() {
    for service in services() {
        let source: String = crate::files(&service.folder.join("src"))
            .iter()
            .map(|path| read(path).split_whitespace().collect::<String>())
            .collect();
        let used: BTreeSet<String> = CALLS
            .iter()
            .filter(|(call, _)| source.contains(call))
            .map(|(_, action)| (*action).to_owned())
            .collect();
        let granted: BTreeSet<String> = service
            .functions()
            .iter()
            .flat_map(|(_, _, properties)| grants(&service, &role_of(properties)))
            .map(|(action, _)| action)
            .filter(|action| action.starts_with("dynamodb:"))
            .collect();
        assert_eq!(granted, used, "{}", service.name);
    }
}

/// The signing key can impersonate every user, so only functions that issue tokens may read it; and they
/// may read nothing else that is secret.
#[test]
fn the_signing_key_is_read_by_those_who_issue_tokens_alone() {
    let mut issuers = BTreeSet::new();
    for service in services() {
        for (id, binary, properties) in service.functions() {
            let secret: Vec<_> = conditional_grants(&service, &role_of(&properties))
                .into_iter()
                .filter(|((action, _), _)| {
                    !["logs:", "dynamodb:", "sqs:"]
                        .iter()
                        .any(|known| action.starts_with(known))
                })
                .collect();
            let issues = service.binary_source(&binary).contains("Issuer::");
            let variable = &properties["Environment"]["Variables"]["AUTH_SIGNING_KEY_PARAMETER"];
            assert_eq!(variable.is_string(), issues, "{id}");
            if issues {
                let parameter =
                    "arn:aws:ssm:us-east-1:123456789012:parameterAuthSigningKeyParameter";
                let of_it = json!({"StringEquals":
                    {"kms:EncryptionContext:PARAMETER_ARN": parameter}});
                let grant = |action: &str, resource: &str| (action.to_owned(), resource.to_owned());
                let expected = [
                    (grant("kms:Decrypt", "AuthKmsKeyArn"), of_it),
                    (grant("ssm:GetParameter", parameter), Value::Null),
                ];
                assert_eq!(secret, expected, "{id}");
                issuers.insert(binary);
            } else {
                assert!(secret.is_empty(), "{id}: {secret:?}");
            }
        }
    }
    assert!(issuers.contains("users-login"), "{issuers:?}");
}

#[test]
fn the_permissions_are_the_reviewed_ones() {
    let mut text = String::new();
    for service in services() {
        let functions: BTreeMap<String, Value> = service
            .functions()
            .into_iter()
            .map(|(_, binary, properties)| (binary, properties))
            .collect();
        for (binary, properties) in functions {
            writeln!(text, "{binary}").unwrap();
            for ((action, resource), condition) in
                conditional_grants(&service, &role_of(&properties))
            {
                writeln!(text, "    {}", grant_line(&action, &resource, &condition)).unwrap();
            }
        }
    }
    expect_test::expect_file!["../golden/permissions.txt"].assert_eq(&text);
}

/// A grant as the reviewed lists show it.
fn grant_line(action: &str, resource: &str, condition: &Value) -> String {
    match condition {
        Value::Null => format!("{action} {resource}"),
        condition => format!("{action} {resource} if {condition}"),
    }
}

/// The services with a table, because operators have no rights to the others.
fn operated() -> impl Iterator<Item = Service> {
    services().into_iter().filter(Service::has_table)
}

/// A service's one policy for operators. Its stack attaches it to no role.
fn operators_policy(service: &Service) -> Value {
    let mut policies = service.resources("AWS::IAM::ManagedPolicy");
    let (id, policy) = policies.pop().expect(&service.name);
    assert!(policies.is_empty(), "{} has two", service.name);
    let output = &service.template.document()["Outputs"]["OperatorPolicyArn"];
    assert_eq!(output["Value"]["Ref"], id.as_str(), "{}", service.name);
    for holders in ["Roles", "Users", "Groups"] {
        assert!(policy[holders].is_null(), "{} gives it away", service.name);
    }
    policy["PolicyDocument"].clone()
}

/// The commands an operator has: `dlq` for each queue, `audit` and `migrate` for the table, `saga` and
/// `sweep`.
#[test]
fn an_operator_may_do_exactly_the_commands_calls() {
    for service in operated() {
        let mut needed = BTreeSet::new();
        let mut need = |actions: &[&str], resource: &str| {
            for action in actions {
                needed.insert(((*action).to_owned(), resource.to_owned()));
            }
        };
        for (consumer, queue, _) in service.triggers() {
            let source = format!("{queue}.Arn");
            let queue = service.template.properties(&queue, "AWS::SQS::Queue");
            let dead = queue["RedrivePolicy"]["deadLetterTargetArn"].as_str();
            let of_the_dead = [
                "sqs:GetQueueUrl",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
            ];
            need(&of_the_dead, dead.unwrap());
            need(&["sqs:GetQueueUrl", "sqs:SendMessage"], &source);
            let log = consumer.strip_suffix("Function").unwrap();
            need(&["logs:FilterLogEvents"], &format!("{log}LogGroup.Arn"));
        }
        for (table, _) in service.resources("AWS::DynamoDB::Table") {
            let table = format!("{table}.Arn");
            need(&["dynamodb:BatchGetItem"], &table);
            // Of users, only those whose ids are known.
            if service.name != "users" {
                need(&["dynamodb:Scan"], &table);
            }
            let migrate = table.replace("Table.Arn", "MigrateFunction.Alias");
            need(&["lambda:InvokeFunction"], &migrate);
        }
        if service.name == "orders" {
            need(&["lambda:InvokeFunction"], "OrdersAdminFunction.Alias");
            need(&["lambda:InvokeFunction"], "OrdersSweepFunction.Alias");
        }
        let allowed: BTreeSet<_> = statements(&operators_policy(&service))
            .into_iter()
            .map(|(action, resource, _)| (action, resource))
            .collect();
        assert_eq!(allowed, needed, "{}", service.name);
    }
}

/// The AWS calls of `dlq` and `audit`. (A batch of messages is
/// allowed as its messages are; a batch of items is not.)
const OPERATORS_CALLS: [(&str, &str); 14] = [
    ("\"GetQueueUrl\"", "sqs:GetQueueUrl"),
    ("\"GetQueueAttributes\"", "sqs:GetQueueAttributes"),
    ("\"ReceiveMessage\"", "sqs:ReceiveMessage"),
    ("\"ChangeMessageVisibility", "sqs:ChangeMessageVisibility"),
    ("\"DeleteMessage", "sqs:DeleteMessage"),
    ("\"SendMessage", "sqs:SendMessage"),
    ("\"ListQueues\"", "sqs:ListQueues"),
    ("\"FilterLogEvents\"", "logs:FilterLogEvents"),
    ("\"GetLogEvents\"", "logs:GetLogEvents"),
    ("\"StartQuery\"", "logs:StartQuery"),
    ("\"Scan\"", "dynamodb:Scan"),
    ("\"Query\"", "dynamodb:Query"),
    ("\"GetItem\"", "dynamodb:GetItem"),
    ("\"BatchGetItem\"", "dynamodb:BatchGetItem"),
];

#[test]
fn the_calls_of_dlq_and_audit_are_allowed() {
    let sources = test_support::template::workspace_root().join("infra/ops/src");
    let source: String = crate::files(&sources)
        .iter()
        .filter(|path| {
            let name = path.strip_prefix(&sources).unwrap().to_str().unwrap();
            (name.starts_with("dlq") || name.starts_with("audit")) && !name.ends_with("tests.rs")
        })
        .map(|path| read(path))
        .collect();
    let called: BTreeSet<&str> = OPERATORS_CALLS
        .iter()
        .filter(|(call, _)| source.contains(call))
        .map(|(_, action)| *action)
        .collect();
    assert!(called.len() >= 8, "{called:?}");
    // Of the users, whose keys are all that is read, fewer are allowed.
    let queued = |service: &&Service| service.has_queue() && service.name != "users";
    for service in services().iter().filter(queued) {
        let allowed = statements(&operators_policy(service));
        for action in &called {
            let is_allowed = allowed.iter().any(|(known, _, _)| known == action);
            assert!(is_allowed, "{} does not allow {action}", service.name);
        }
    }
}

#[test]
fn the_operators_permissions_are_the_reviewed_ones() {
    let mut text = String::new();
    for service in operated() {
        writeln!(text, "{}", service.name).unwrap();
        let mut allowed = statements(&operators_policy(&service));
        allowed.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        for (action, resource, condition) in allowed {
            writeln!(text, "    {}", grant_line(&action, &resource, &condition)).unwrap();
        }
    }
    expect_test::expect_file!["../golden/operators.txt"].assert_eq(&text);
}
