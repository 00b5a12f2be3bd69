//! Requirements of AWS that the emulator does not check.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use test_support::template::{Template, workspace_root};

use crate::templates::routes;
use crate::{files, only_if, read, served, services, template};

/// The nested stacks of the root template, by logical id.
fn nested(root: &Template) -> BTreeMap<&String, &Value> {
    let resources = root.document()["Resources"].as_object().unwrap();
    resources.iter().collect()
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

/// Each service writes its routes to the one API, which refuses changes made at the same moment.
#[test]
fn the_nested_stacks_are_made_one_after_another() {
    let root = template("template.yaml");
    let stacks = nested(&root);
    let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    while before.len() < stacks.len() {
        let made: BTreeSet<&str> = before.keys().copied().collect();
        let next: Vec<&str> = stacks
            .iter()
            .filter(|(id, _)| !made.contains(id.as_str()))
            .filter(|(_, stack)| needs(stack).is_subset(&made))
            .map(|(id, _)| id.as_str())
            .collect();
        assert_eq!(next.len(), 1, "made at once after {made:?}: {next:?}");
        before.insert(next[0], made);
    }
}

/// The stacks that one waits for: by `DependsOn`, and by their outputs.
fn needs(stack: &Value) -> BTreeSet<&str> {
    let mut needs: BTreeSet<&str> = stack["DependsOn"].as_str().into_iter().collect();
    let mut values = vec![stack];
    while let Some(value) = values.pop() {
        match value {
            Value::Array(inner) => values.extend(inner),
            Value::Object(inner) => {
                let output = inner.get("Fn::GetAtt").and_then(Value::as_str);
                needs.extend(output.and_then(|output| output.split('.').next()));
                values.extend(inner.values());
            }
            _ => {}
        }
    }
    needs
}

#[test]
fn the_root_passes_on_every_parameter_it_shares_with_a_stack() {
    let root = template("template.yaml");
    let own = root.document()["Parameters"].as_object().unwrap();
    for (id, stack) in nested(&root) {
        let properties = &stack["Properties"];
        let inner = template(properties["Location"].as_str().unwrap());
        for (parameter, definition) in inner.document()["Parameters"].as_object().unwrap() {
            let Some(offered) = own.get(parameter) else {
                continue;
            };
            let given = properties["Parameters"][parameter].to_string();
            let reference = json!({"Ref": parameter}).to_string();
            assert!(given.contains(&reference), "{id} is not given {parameter}");
            for part in ["Type", "AllowedValues", "MinValue", "MaxValue"] {
                assert_eq!(offered[part], definition[part], "{id}: {parameter}");
            }
        }
    }
}

/// Lambda takes the orders of a batch for one chain of calls, and would drop them as a loop.
#[test]
fn a_queues_function_is_never_taken_for_a_loop() {
    for service in services() {
        let alarms = service.resources("AWS::CloudWatch::Alarm");
        for (function, _, _) in service.triggers() {
            let loops = &service.written(&function)["RecursiveLoop"];
            assert_eq!(*loops, "Allow", "{function}");
            let rings = alarms.iter().any(|(_, alarm)| {
                alarm["Namespace"] == "AWS/Lambda"
                    && alarm["MetricName"] == "RecursiveInvocationsDropped"
                    && alarm["Dimensions"][0]["Value"] == function.as_str()
            });
            assert!(rings, "{function} has no alarm on calls that were dropped");
        }
    }
}

/// Without the permission API Gateway answers 500.
#[test]
fn the_gateway_may_call_a_function_by_each_of_its_routes() {
    for service in services() {
        let permissions = service.resources("AWS::Lambda::Permission");
        for (route, function) in routes(&service) {
            let called = route.replace(' ', "");
            let permits = permissions.iter().any(|(_, permission)| {
                let source = permission["SourceArn"].as_str().unwrap();
                let (_, allowed) = source.split_once(":ApiId/*/").expect(source);
                served(&permission["FunctionName"]) == function && is_like(allowed, &called)
            });
            assert!(permits, "{route} may not call {function}");
        }
    }
}

/// Whether a text fits a pattern in which `*` stands for any text (IAM, `ArnLike`).
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|after| {
            let mut ends = after.char_indices().map(|(at, _)| at).chain([after.len()]);
            ends.any(|at| is_like(rest, &after[at..]))
        }),
    }
}

/// A browser sends and shows only the methods and headers that are listed here.
#[test]
fn browsers_may_use_every_method_and_header_but_no_cookies() {
    let gateway = template("infra/gateway/template.yaml");
    let cors = &gateway.document()["Resources"]["Api"]["Properties"]["CorsConfiguration"];
    let [condition, cors, without] = &cors["Fn::If"].as_array().unwrap()[..] else {
        panic!("CORS is on a condition");
    };
    assert_eq!(*condition, "BrowsersMayCall");
    assert_eq!(*without, json!({"Ref": "AWS::NoValue"}));
    let origins = json!({"Fn::Split": [",", {"Ref": "AllowedOrigins"}]});
    assert_eq!(cors["AllowOrigins"], origins);
    assert!(cors["AllowCredentials"].is_null());
    let listed =
        |name: &str| -> BTreeSet<String> { serde_json::from_value(cors[name].clone()).unwrap() };
    let all = services();
    let routes = all.iter().flat_map(|service| routes(service).into_keys());
    let methods = routes.filter_map(|route| Some(route.split_once(' ')?.0.to_owned()));
    assert_eq!(listed("AllowMethods"), methods.collect());
    let exposed = listed("ExposeHeaders");
    let sources = all.iter().map(|service| service.folder.join("src"));
    let sources = sources.chain([workspace_root().join("shared-lambda/src")]);
    for file in sources.flat_map(|folder| files(&folder)) {
        for call in read(&file).split("with_header(").skip(1) {
            let name = call.trim_start().strip_prefix('"');
            let name = name.and_then(|rest| rest.split('"').next());
            // Browsers show some headers anyway (WHATWG Fetch, "CORS-safelisted response-header name").
            let shown = |name: &&str| {
                ["accept", "accept-encoding", "vary"].contains(name)
                    || name.starts_with("content-")
                    || *name == "cache-control"
            };
            for name in name.into_iter().filter(|name| !shown(name)) {
                assert!(exposed.contains(name), "{}: {name}", file.display());
            }
        }
    }
}

/// The functions that no customer calls: what must go on while customers use up the account's.
#[test]
fn instances_can_be_reserved_for_all_that_no_route_reaches() {
    for service in services() {
        let parameters = &service.template.document()["Parameters"];
        let routed: BTreeSet<String> = routes(&service).into_values().collect();
        let triggers = service.triggers();
        for (id, _, _) in service.functions() {
            // A migration runs seldom, and its lease lets one run work.
            if routed.contains(&id) || id.ends_with("MigrateFunction") {
                continue;
            }
            assert_eq!(parameters["ReserveConcurrency"]["Default"], "false");
            let reserved = &service.written(&id)["ReservedConcurrentExecutions"];
            // More messages than instances would be taken in vain, and come to the dead letters.
            let size = match triggers.iter().find(|(function, _, _)| *function == id) {
                Some((_, _, mapping)) => {
                    let most = &mapping["ScalingConfig"]["MaximumConcurrency"];
                    let parameter = &parameters[most["Ref"].as_str().expect(&id)];
                    assert_eq!(parameter["MinValue"], 2, "{id}");
                    most.clone()
                }
                None => json!(2),
            };
            let expected = only_if("ConcurrencyIsReserved", size);
            assert_eq!(*reserved, expected, "{id}");
        }
    }
}

/// Callers without an account could otherwise use up all instances, each with a whole CPU.
#[test]
fn the_functions_that_hash_passwords_can_be_limited() {
    let mut limited = Vec::new();
    for service in services() {
        let parameters = &service.template.document()["Parameters"];
        for (id, binary, properties) in service.functions() {
            if properties["MemorySize"].as_u64() >= Some(1769) {
                let reserved = &service.written(&id)["ReservedConcurrentExecutions"];
                let limit = json!({"Ref": "PasswordConcurrency"});
                assert_eq!(*reserved, only_if("PasswordsAreLimited", limit), "{id}");
                assert_eq!(parameters["PasswordConcurrency"]["Default"], 0);
                limited.push(binary);
            }
        }
    }
    limited.sort();
    let hashing = ["users-login", "users-password", "users-register"];
    assert_eq!(limited, hashing);
}

#[test]
fn every_queue_refuses_calls_without_tls() {
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
                    "codedeploy.amazonaws.com" => {
                        let expected =
                            json!({"StringEquals": {"aws:SourceAccount": "123456789012"}});
                        assert_eq!(statement["Condition"], expected, "{id}");
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

#[test]
fn the_gateway_costs_nothing_that_is_not_asked_for() {
    let gateway = template("infra/gateway/template.yaml");
    let document = gateway.document();
    let asked = |parameter: &str, condition: &str, value: &Value| {
        assert_eq!(document["Parameters"][parameter]["Default"], "false");
        let given = json!({"Fn::Equals": [{"Ref": parameter}, "true"]});
        assert_eq!(document["Conditions"][condition], given);
        assert_eq!(*value, json!({"Fn::If": [condition, true, false]}));
    };
    let resources = &document["Resources"];
    let settings = &resources["DefaultStage"]["Properties"]["DefaultRouteSettings"];
    asked(
        "DetailedRouteMetrics",
        "RoutesAreMeasured",
        &settings["DetailedMetricsEnabled"],
    );
    asked(
        "DisableExecuteApiEndpoint",
        "OnlyTheCustomDomain",
        &resources["Api"]["Properties"]["DisableExecuteApiEndpoint"],
    );
}

#[test]
fn orders_asks_users_where_the_root_says_the_api_is() {
    let root = template("template.yaml");
    let document = root.document();
    let url = json!({"Fn::If": ["ApiHasItsOwnAddress",
        {"Fn::GetAtt": "Gateway.Outputs.ApiUrl"}, {"Ref": "ApiUrl"}]});
    assert_eq!(
        document["Resources"]["Orders"]["Properties"]["Parameters"]["ApiUrl"],
        url
    );
    assert_eq!(document["Outputs"]["ApiUrl"]["Value"], url);
    assert_eq!(document["Parameters"]["ApiUrl"]["Default"], "");
    // One of the two addresses is needed to reach users.
    let rules = document["Rules"].as_object().unwrap().values();
    let rule = json!({"Fn::Equals": [{"Ref": "DisableExecuteApiEndpoint"}, "true"]});
    let asserted = json!({"Fn::Not": [{"Fn::Equals": [{"Ref": "ApiUrl"}, ""]}]});
    let found = rules
        .filter(|found| found["RuleCondition"] == rule)
        .any(|found| found["Assertions"][0]["Assert"] == asserted);
    assert!(found, "an API without an address is deployed");
}

/// The crates of password hashes and token signatures. The rest is built small.
#[test]
fn crates_optimised_for_the_local_stack_are_so_for_aws() {
    let manifest = read(&workspace_root().join("Cargo.toml"));
    let optimised = |profile: &str| -> BTreeSet<String> {
        let title = format!("\n[profile.{profile}.package]\n");
        let section = manifest.split(&title).nth(1).expect(&title);
        let section = section.split("\n\n").next().unwrap();
        let names = section
            .lines()
            .filter_map(|line| line.strip_suffix(" = { opt-level = 3 }"));
        names.map(str::to_owned).collect()
    };
    // Crates that no function links.
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
