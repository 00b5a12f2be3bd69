//! Templates, binaries, variables and routes agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use test_support::template::{Template, workspace_root};

use crate::permissions::statements;
use crate::{Service, read, services, yaml};

#[test]
fn every_binary_is_a_function_and_every_function_a_binary() {
    for service in services() {
        let mut functions: Vec<String> = service
            .functions()
            .into_iter()
            .map(|(id, binary, properties)| {
                let code = format!("../../target/lambda/{binary}/");
                assert_eq!(properties["CodeUri"], code.as_str(), "{id}");
                assert!(
                    binary.starts_with(&format!("{}-", service.name)),
                    "{binary} does not begin with its service's name"
                );
                binary
            })
            .collect();
        functions.sort();
        assert_eq!(functions, service.binaries(), "{}", service.name);
    }
}

/// The variables a binary reads: those it names, and those of the constructors it calls.
fn variables_read(service: &Service, binary: &str) -> BTreeSet<String> {
    let source = service.binary_source(binary);
    let mut names: BTreeSet<String> = source
        .split("env(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    let constructors: [(&str, &[&str]); 6] = [
        (
            "Verifier::from_env",
            &["AUTH_JWKS", "AUTH_ISSUER", "AUTH_AUDIENCE"],
        ),
        (
            "Saga::wire",
            &["ORDERS_TABLE", "ORDERS_STEP_TIMEOUT_SECONDS"],
        ),
        ("::run", &["LOG_LEVEL"]),
        (".run", &["LOG_LEVEL"]),
        ("TrustedFront::wire", &["TRUSTED_FRONT_SHA256"]),
        ("Provider::from_env", &["PAYMENT_PROVIDER"]),
    ];
    for (call, variables) in constructors {
        if source.contains(call) {
            names.extend(variables.iter().map(|&name| name.to_owned()));
        }
    }
    names
}

#[test]
fn every_function_is_given_the_variables_it_reads_and_no_others() {
    for service in services() {
        let globals =
            &service.template.document()["Globals"]["Function"]["Environment"]["Variables"];
        for (id, binary, properties) in service.functions() {
            let own = &properties["Environment"]["Variables"];
            let given: BTreeSet<String> = [globals, own]
                .into_iter()
                .filter_map(Value::as_object)
                .flat_map(|variables| variables.keys().cloned())
                .collect();
            assert_eq!(given, variables_read(&service, &binary), "{id}");
        }
    }
}

#[test]
fn every_queue_gives_a_message_time_and_five_tries() {
    for service in services() {
        for (id, queue) in service.resources("AWS::SQS::Queue") {
            assert_eq!(queue["MessageRetentionPeriod"], 1_209_600, "{id}");
            assert_eq!(queue["SqsManagedSseEnabled"], true, "{id}");
            let name = queue["QueueName"].as_str().unwrap();
            if name.ends_with("-dlq") {
                continue;
            }
            assert_eq!(queue["RedrivePolicy"]["maxReceiveCount"], 5, "{id}");
            let trigger = service
                .resources("AWS::Lambda::EventSourceMapping")
                .into_iter()
                .map(|(_, trigger)| trigger)
                .find(|trigger| trigger["EventSourceArn"] == format!("{id}.Arn").as_str())
                .unwrap_or_else(|| panic!("{id} triggers nothing"));
            assert_eq!(trigger["BatchSize"], 10, "{id}");
            assert_eq!(
                trigger["FunctionResponseTypes"],
                serde_json::json!(["ReportBatchItemFailures"]),
                "{id}"
            );
            assert!(
                trigger["ScalingConfig"]["MaximumConcurrency"].is_number(),
                "{id}"
            );
            let consumer = trigger["FunctionName"].as_str().unwrap();
            let function = service
                .template
                .properties(consumer, "AWS::Serverless::Function");
            let default = &service.template.document()["Globals"]["Function"]["Timeout"];
            let timeout = function["Timeout"].as_u64().or(default.as_u64()).unwrap();
            let visibility = queue["VisibilityTimeout"].as_u64().unwrap();
            assert!(
                visibility >= 6 * timeout,
                "{id}: {visibility} s for {timeout} s"
            );
        }
    }
}

#[test]
fn every_dead_letter_queue_rings_an_alarm() {
    for service in services() {
        let alarms = service.resources("AWS::CloudWatch::Alarm");
        for (id, queue) in service.resources("AWS::SQS::Queue") {
            if queue["QueueName"].as_str().unwrap().ends_with("-dlq") {
                let named = format!("{id}.QueueName");
                let rings = alarms.iter().any(|(_, alarm)| {
                    alarm["Dimensions"][0]["Value"] == named.as_str() && alarm["Threshold"] == 0
                });
                assert!(rings, "{} {id} has no alarm", service.name);
            }
        }
    }
}

#[test]
fn every_service_has_one_table_which_can_be_restored() {
    for service in services() {
        let tables = service.resources("AWS::DynamoDB::Table");
        assert_eq!(tables.len(), 1, "{} has one table", service.name);
        let (_, table) = &tables[0];
        assert_eq!(
            table["TableName"],
            format!("waybill-{}", service.name).as_str()
        );
        assert_eq!(
            table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
            true
        );
    }
}

/// Route keys (`GET /api/v1/items`) with the function each one reaches.
fn routes(service: &Service) -> BTreeMap<String, String> {
    let integrations: BTreeMap<String, Value> = service
        .resources("AWS::ApiGatewayV2::Integration")
        .into_iter()
        .collect();
    service
        .resources("AWS::ApiGatewayV2::Route")
        .into_iter()
        .map(|(id, route)| {
            let target = route["Target"].as_str().unwrap();
            let integration = &integrations[target.strip_prefix("integrations/").unwrap()];
            assert_eq!(integration["PayloadFormatVersion"], "2.0", "{id}");
            let function = integration["IntegrationUri"].as_str().unwrap();
            let function = function.strip_suffix(".Arn").unwrap().to_owned();
            (route["RouteKey"].as_str().unwrap().to_owned(), function)
        })
        .collect()
}

#[test]
fn every_route_is_documented_and_every_documented_route_exists() {
    for service in services() {
        let document = yaml(&service.folder.join("openapi.yaml"));
        assert!(
            document["openapi"].as_str().unwrap().starts_with("3.1"),
            "{}",
            service.name
        );
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                    documented.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        let routed: BTreeSet<String> = routes(&service).into_keys().collect();
        assert_eq!(routed, documented, "{}", service.name);
        for route in &routed {
            let path = route.split(' ').nth(1).unwrap();
            assert!(
                path.starts_with("/api/v1/") || path == "/.well-known/jwks.json",
                "{route} carries no version"
            );
        }
    }
}

#[test]
fn every_function_is_reached_by_a_route_a_queue_a_schedule_or_an_operator() {
    for service in services() {
        let mut reached: Vec<String> = routes(&service).into_values().collect();
        let permitted: BTreeSet<String> = service
            .resources("AWS::Lambda::Permission")
            .into_iter()
            .map(|(_, permission)| permission["FunctionName"].as_str().unwrap().to_owned())
            .collect();
        for function in &reached {
            assert!(
                permitted.contains(function),
                "the gateway may not call {function}"
            );
        }
        for (_, trigger) in service.resources("AWS::Lambda::EventSourceMapping") {
            reached.push(trigger["FunctionName"].as_str().unwrap().to_owned());
        }
        for (_, schedule) in service.resources("AWS::Scheduler::Schedule") {
            let target = schedule["Target"]["Arn"].as_str().unwrap();
            reached.push(target.strip_suffix(".Arn").unwrap().to_owned());
        }
        // What operators call by name; they may call others too.
        for (id, policy) in service.resources("AWS::IAM::ManagedPolicy") {
            for (action, function, _) in statements(&policy["PolicyDocument"]) {
                let function = function.strip_suffix(".Arn").expect(&id);
                let called = action == "lambda:InvokeFunction";
                if called && !reached.iter().any(|known| known == function) {
                    reached.push(function.to_owned());
                }
            }
        }
        reached.sort();
        let mut functions: Vec<String> = service.functions().into_iter().map(|f| f.0).collect();
        functions.sort();
        assert_eq!(reached, functions, "{}", service.name);
    }
}

/// A schedule comes round again, so a run that failed is repeated neither by the scheduler, which only
/// delivers the call, nor by Lambda, which takes it for later.
#[test]
fn what_a_schedule_calls_is_called_once_each_time() {
    let mut seen = 0;
    for service in services() {
        for (id, schedule) in service.resources("AWS::Scheduler::Schedule") {
            let target = &schedule["Target"];
            assert_eq!(target["RetryPolicy"]["MaximumRetryAttempts"], 0, "{id}");
            let function = target["Arn"].as_str().unwrap();
            let function = function.strip_suffix(".Arn").unwrap();
            let function = service
                .template
                .properties(function, "AWS::Serverless::Function");
            let expected = json!({"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60});
            assert_eq!(function["EventInvokeConfig"], expected, "{id}");
            seen += 1;
        }
    }
    assert!(seen > 0, "the sweeper has a schedule");
}

#[test]
fn the_root_template_nests_every_service_with_parameters_it_has() {
    let root = workspace_root();
    let template = Template::parse("template.yaml", &read(&root.join("template.yaml")));
    let resources = template.document()["Resources"].as_object().unwrap();
    let mut nested = BTreeSet::new();
    for (id, resource) in resources {
        assert_eq!(resource["Type"], "AWS::Serverless::Application", "{id}");
        let location = resource["Properties"]["Location"].as_str().unwrap();
        let inner = Template::parse(location, &read(&root.join(location)));
        let given: BTreeSet<&String> = resource["Properties"]["Parameters"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        let parameters = inner.document()["Parameters"].as_object().unwrap();
        for parameter in &given {
            assert!(
                parameters.contains_key(*parameter),
                "{location} has no {parameter}"
            );
        }
        for (parameter, definition) in parameters {
            assert!(
                given.contains(parameter) || !definition["Default"].is_null(),
                "{location} needs {parameter}"
            );
        }
        nested.insert(location.to_owned());
    }
    let mut expected: BTreeSet<String> = services()
        .iter()
        .map(|service| format!("functions/{}/template.yaml", service.name))
        .collect();
    expected.insert("infra/gateway/template.yaml".to_owned());
    assert_eq!(nested, expected);
}

/// Two installations with one key or issuer would take each other's tokens.
#[test]
fn no_two_installations_share_keys_or_issuer_by_default() {
    let own = [
        "AuthJwks",
        "AuthSigningKeyParameter",
        "AuthKmsKeyArn",
        "AuthIssuer",
    ];
    for service in services() {
        let parameters = &service.template.document()["Parameters"];
        for name in own {
            let default = &parameters[name]["Default"];
            assert!(default.is_null(), "{}: {name}: {default}", service.name);
        }
    }
    let root = read(&workspace_root().join("template.yaml"));
    let root = Template::parse("template.yaml", &root);
    let parameters = root.document()["Parameters"].as_object().unwrap();
    // Where nothing is given, each is made from the prefix.
    let resources = root.document()["Resources"].as_object().unwrap();
    for (id, nested) in resources.iter().filter(|(id, _)| *id != "Gateway") {
        let given = nested["Properties"]["Parameters"].as_object().unwrap();
        for name in own.iter().filter(|name| given.contains_key(**name)) {
            let choice = given[*name]["Fn::If"].as_array().expect(name);
            let condition = choice[0].as_str().unwrap();
            let condition = &root.document()["Conditions"][condition]["Fn::Equals"];
            assert_eq!(condition[1], "", "{id}: {name}");
            let asked = condition[0]["Ref"].as_str().unwrap();
            assert_eq!(parameters[asked]["Default"], "", "{id}: {name}");
            let derived = choice[1]["Fn::Sub"].as_str().expect(name);
            assert!(derived.contains("${Prefix}"), "{id}: {name}: {derived}");
        }
    }
}

/// Routes share alarms on how many of their calls fail; every error of another function rings.
#[test]
fn every_function_that_fails_rings_an_alarm() {
    for service in services() {
        let alarms = alarms(&service.template);
        let mut shared = Vec::new();
        for (id, _, alarm) in &alarms {
            let queries = alarm["Metrics"].as_array().map_or(&[][..], Vec::as_slice);
            let Some((expressions, metrics)) = queries.split_at_checked(3) else {
                continue;
            };
            if expressions[0]["Id"] != "percent" {
                continue;
            }
            let sum = |part: &str| format!("SUM(FILL(METRICS(\"{part}\"), 0))");
            let expected = json!([
                {"Id": "percent", "Expression": "IF(failed >= 3, 100 * failed / called, 0)", "ReturnData": true},
                {"Id": "failed", "Expression": sum("errors"), "ReturnData": false},
                {"Id": "called", "Expression": sum("calls"), "ReturnData": false},
            ]);
            assert_eq!(json!(expressions), expected, "{id}");
            assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold", "{id}");
            assert_eq!(alarm["Threshold"], 1, "{id}");
            // CloudWatch user guide, "Limits that apply to alarms based on metric math expressions".
            assert!(metrics.len() <= 10, "{id}");
            for pair in metrics.chunks(2) {
                let function = &pair[0]["MetricStat"]["Metric"]["Dimensions"][0]["Value"];
                let function = function.as_str().expect(id);
                let verb = function.strip_suffix("Function").expect(id);
                let verb = &snake(verb)[service.name.len() + 1..];
                let query = |part: &str, name: &str| {
                    let dimensions = json!([{"Name": "FunctionName", "Value": function}]);
                    let metric = json!({"Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": dimensions});
                    json!({"Id": format!("{part}_{verb}"), "ReturnData": false,
                        "MetricStat": {"Period": 300, "Stat": "Sum", "Metric": metric}})
                };
                let expected = [query("errors", "Errors"), query("calls", "Invocations")];
                assert_eq!(*pair, expected, "{id}");
                shared.push(function.to_owned());
            }
        }
        shared.sort();
        let mut routed: Vec<String> = routes(&service).into_values().collect();
        routed.sort();
        assert_eq!(shared, routed, "{}", service.name);
        for (id, _, _) in service.functions() {
            let rings = alarms.iter().any(|(_, _, alarm)| {
                alarm["MetricName"] == "Errors"
                    && alarm["Dimensions"][0]["Value"] == id.as_str()
                    && alarm["Threshold"] == 0
            });
            assert_eq!(rings, !routed.contains(&id), "{id}");
        }
    }
}

/// `UsersUpdateMe` as `users_update_me`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

#[test]
fn an_endpoint_costs_at_most_45_lines_of_a_template() {
    let parts = [
        "Function",
        "Role",
        "LogGroup",
        "Integration",
        "Route",
        "Permission",
    ];
    for service in services() {
        let template = read(&service.folder.join("template.yaml"));
        for function in routes(&service).into_values() {
            let stem = function.strip_suffix("Function").unwrap();
            let in_alarm = format!("Value: !Ref {function} }}] }} }} }}");
            let mut inside = false;
            let lines = template.lines().filter(|line| {
                let code = line.trim_start();
                if line.len() - code.len() <= 2 && !code.is_empty() && !code.starts_with('#') {
                    let id = code.split(':').next().unwrap();
                    inside = id
                        .strip_prefix(stem)
                        .is_some_and(|part| parts.contains(&part));
                }
                (inside || line.ends_with(&in_alarm)) && !code.is_empty() && !code.starts_with('#')
            });
            let lines = lines.count();
            assert!(lines <= 45, "{function} takes {lines} lines");
        }
    }
}

/// The templates that have alarms, by the name that the root template's resources locate them with.
fn templates_with_alarms() -> Vec<(String, Template)> {
    let gateway = "infra/gateway/template.yaml";
    let text = read(&workspace_root().join(gateway));
    let mut templates = vec![(gateway.to_owned(), Template::parse(gateway, &text))];
    for service in services() {
        let location = format!("functions/{}/template.yaml", service.name);
        templates.push((location, service.template));
    }
    templates
}

/// The alarms of a template: logical id, resource as written, properties with references resolved.
fn alarms(template: &Template) -> Vec<(String, Value, Value)> {
    let kind = "AWS::CloudWatch::Alarm";
    let resources = template.document()["Resources"].as_object().unwrap();
    let alarms = resources
        .iter()
        .filter(|(_, resource)| resource["Type"] == kind);
    alarms
        .map(|(id, resource)| (id.clone(), resource.clone(), template.properties(id, kind)))
        .collect()
}

#[test]
fn every_alarm_is_sent_to_the_topic_where_one_is_given() {
    let root = workspace_root();
    let outer = Template::parse("template.yaml", &read(&root.join("template.yaml")));
    let if_any = json!({"Fn::If": ["AlarmsAreSent",
        [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
    let always = json!([{"Ref": "AlarmTopicArn"}]);
    for (location, template) in templates_with_alarms() {
        let document = template.document();
        assert_eq!(document["Parameters"]["AlarmTopicArn"]["Default"], "");
        let given = json!({"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]});
        assert_eq!(document["Conditions"]["AlarmsAreSent"], given, "{location}");
        for (id, resource, _) in alarms(&template) {
            let sent = match resource["Condition"].as_str() {
                None => &if_any,
                Some("AlarmsAreSent") => &always,
                Some(other) => panic!("{location} {id} is there only if {other}"),
            };
            let alarm = &resource["Properties"];
            assert_eq!(alarm["AlarmActions"], *sent, "{location} {id}");
            assert_eq!(alarm["OKActions"], *sent, "{location} {id}");
        }
        let nested = outer.document()["Resources"].as_object().unwrap().values();
        let passed = nested
            .filter(|resource| resource["Properties"]["Location"] == location.as_str())
            .map(|resource| &resource["Properties"]["Parameters"]["AlarmTopicArn"]);
        let passed: Vec<_> = passed.collect();
        assert_eq!(passed, [&json!({"Ref": "AlarmTopicArn"})], "{location}");
    }
}

/// The rows of the README's runbook: the alarms each is about, and the commands it names.
fn runbook() -> Vec<(Vec<String>, Vec<String>)> {
    let readme = read(&workspace_root().join("README.md"));
    let table = readme.split("| alarm | what to run |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let quoted = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    table
        .lines()
        .skip(2)
        .map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            (quoted(cells[1]), quoted(cells[2]))
        })
        .collect()
}

/// Whether the runbook's name for alarms (`…-dlq`, `orders-parked`) means this one.
fn means(pattern: &str, alarm: &str) -> bool {
    match pattern.strip_prefix('…') {
        Some(end) => alarm.ends_with(end),
        None => alarm == pattern,
    }
}

#[test]
fn every_alarm_has_a_name_that_the_runbook_knows_and_says_which_command_to_run() {
    let runbook = runbook();
    let mut known = BTreeSet::new();
    for (location, template) in templates_with_alarms() {
        for (id, _, alarm) in alarms(&template) {
            let shown = format!("{location} {id}");
            assert!(alarm["TreatMissingData"].is_string(), "{shown}");
            let name = alarm["AlarmName"].as_str().expect(&shown);
            let name = name.strip_prefix("waybill-").expect(&shown);
            assert!(known.insert(name.to_owned()), "{name} is there twice");
            let rows: Vec<_> = runbook
                .iter()
                .filter(|(patterns, _)| patterns.iter().any(|pattern| means(pattern, name)))
                .collect();
            assert_eq!(rows.len(), 1, "{name} is in so many rows of the runbook");
            let service = name.split('-').next().unwrap();
            let description = alarm["AlarmDescription"].as_str().expect(&shown);
            // CloudWatch API reference, PutMetricAlarm.
            assert!(description.len() <= 1024, "{shown}");
            let told = rows[0].1.iter().any(|command| {
                let command = command.replace("SERVICE", service);
                description.contains(&format!("{command} "))
            });
            assert!(told, "{name} names no command of its row: {description}");
        }
    }
    for (patterns, _) in &runbook {
        for pattern in patterns {
            let meant = known.iter().any(|name| means(pattern, name));
            assert!(meant, "no alarm is called {pattern}");
        }
    }
}

/// What an alarm watches: the namespace, name and dimensions of a metric.
fn watched(metric: &Value) -> [Value; 3] {
    ["Namespace", "MetricName", "Dimensions"].map(|part| metric[part].clone())
}

/// An alarm on how many there are is silent about the second one while the first is there.
#[test]
fn every_alarm_on_how_many_there_are_has_one_on_more_beside_it() {
    let mut seen = 0;
    for (location, template) in templates_with_alarms() {
        let alarms = alarms(&template);
        let levels = alarms
            .iter()
            .filter(|(_, _, alarm)| alarm["Statistic"] == "Maximum" && alarm["Threshold"] == 0);
        for (id, _, level) in levels {
            let name = format!("{}-growing", level["AlarmName"].as_str().unwrap());
            let (_, resource, growing) = alarms
                .iter()
                .find(|(_, _, alarm)| alarm["AlarmName"] == name.as_str())
                .unwrap_or_else(|| panic!("{location} {id} has no alarm {name}"));
            // The emulator refuses metric math, and without a topic there is nobody to tell.
            assert_eq!(resource["Condition"], "AlarmsAreSent", "{name}");
            let queries = growing["Metrics"].as_array().unwrap();
            let [expression, counted, others @ ..] = queries.as_slice() else {
                panic!("{name} computes nothing")
            };
            let stat = &counted["MetricStat"];
            assert_eq!(watched(&stat["Metric"]), watched(level), "{name}");
            assert_eq!(stat["Stat"], level["Statistic"], "{name}");
            assert_eq!(stat["Period"], level["Period"], "{name}");
            let counted = counted["Id"].as_str().unwrap();
            let computed = match level["Namespace"].as_str().unwrap() {
                "AWS/SQS" => {
                    let hidden = &others[0]["MetricStat"]["Metric"];
                    assert_eq!(hidden["Dimensions"], level["Dimensions"], "{name}");
                    let metric = "ApproximateNumberOfMessagesNotVisible";
                    assert_eq!(hidden["MetricName"], metric, "{name}");
                    let hidden = others[0]["Id"].as_str().unwrap();
                    // Nothing is filled in: a gap would look like growth behind it.
                    format!("DIFF({counted} + {hidden})")
                }
                _ => format!("DIFF({counted})"),
            };
            assert_eq!(expression["Expression"], computed.as_str(), "{name}");
            let returned: Vec<_> = queries.iter().map(|query| &query["ReturnData"]).collect();
            let alone = returned[0] == true && returned[1..].iter().all(|other| *other == false);
            assert!(alone, "{name} returns {returned:?}");
            assert_eq!(growing["Threshold"], 0, "{name}");
            assert_eq!(growing["ComparisonOperator"], "GreaterThanThreshold");
            assert_eq!(growing["TreatMissingData"], "notBreaching", "{name}");
            // One minute that grew is enough, and there is always another to compare it with.
            assert_eq!(growing["DatapointsToAlarm"], 1, "{name}");
            assert!(growing["EvaluationPeriods"].as_u64() >= Some(2), "{name}");
            seen += 1;
        }
    }
    assert_eq!(
        seen, 6,
        "four dead-letter queues, parked and unreadable orders"
    );
}

#[test]
fn every_queue_that_nobody_takes_from_rings_an_alarm() {
    for service in services() {
        let alarms = alarms(&service.template);
        for (id, queue) in service.resources("AWS::SQS::Queue") {
            let name = queue["QueueName"].as_str().unwrap();
            if name.ends_with("-dlq") {
                continue;
            }
            let metric = json!({"Namespace": "AWS/SQS",
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": format!("{id}.QueueName")}]});
            let (_, _, alarm) = alarms
                .iter()
                .find(|(_, _, alarm)| watched(alarm) == watched(&metric))
                .unwrap_or_else(|| panic!("{name} has no alarm on the age of its messages"));
            assert_eq!(alarm["AlarmName"], format!("{name}-stale").as_str());
            // A message that fails for good is tried for three minutes and must not ring it.
            assert_eq!(alarm["Threshold"], 300, "{name}");
            assert_eq!(alarm["EvaluationPeriods"], 3, "{name}");
        }
    }
}

#[test]
fn every_metric_taken_from_a_log_is_in_the_line_it_is_taken_from_and_rings_an_alarm() {
    let mut seen = 0;
    for service in services() {
        let alarms = service.resources("AWS::CloudWatch::Alarm");
        for (id, filter) in service.resources("AWS::Logs::MetricFilter") {
            let event = filter["FilterPattern"].as_str().unwrap();
            let event = event.split('"').nth(1).unwrap();
            let transformation = &filter["MetricTransformations"][0];
            let field = transformation["MetricValue"].as_str().unwrap();
            let field = field.strip_prefix("$.").unwrap();
            let logging = crate::files(&service.folder.join("src"))
                .iter()
                .map(|path| read(path))
                .any(|source| {
                    let line = source.split(&format!("event = \"{event}\"")).nth(1);
                    let line = line.and_then(|rest| rest.split(");").next());
                    let always =
                        format!("target: telemetry::METRICS,\n            event = \"{event}\"");
                    assert!(
                        source.contains(&always) || line.is_none(),
                        "{id}: {event} can fall silent"
                    );
                    line.is_some_and(|line| line.contains(&format!(" {field}")))
                });
            assert!(logging, "{id}: no line {event} has {field}");
            let rings = alarms.iter().any(|(_, alarm)| {
                alarm["MetricName"] == transformation["MetricName"]
                    && alarm["Namespace"] == transformation["MetricNamespace"]
            });
            assert!(rings, "{id} rings no alarm");
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} metric filters");
}

/// Whoever takes orders or commands asks by itself whether anything may go wrong on purpose, and a
/// stack that is not told where it is takes itself to be in production.
#[test]
fn nothing_goes_wrong_on_purpose_unless_a_stack_is_told_that_it_is_not_in_production() {
    let root = workspace_root();
    let outer = Template::parse("template.yaml", &read(&root.join("template.yaml")));
    let mut asking = Vec::new();
    let is_safe = |stage: &Value| {
        assert_eq!(stage["Default"], "production");
        let allowed = serde_json::json!(["dev", "staging", "production"]);
        assert_eq!(stage["AllowedValues"], allowed);
        let allowed = allowed.as_array().unwrap();
        assert!(
            allowed
                .iter()
                .all(|stage| shared_lambda::Stage::parse(stage.as_str().unwrap()).is_ok())
        );
    };
    is_safe(&outer.document()["Parameters"]["Stage"]);
    for service in services() {
        let stage = &service.template.document()["Parameters"]["Stage"];
        let staged = !stage.is_null();
        if staged {
            is_safe(stage);
        }
        for (id, binary, properties) in service.functions() {
            let variables = &properties["Environment"]["Variables"];
            if !variables["STAGE"].is_null() {
                assert!(staged, "{id} has a stage that nothing gives");
                assert_eq!(variables["STAGE"], "production", "{id}");
                asking.push(binary);
            }
        }
        let location = format!("functions/{}/template.yaml", service.name);
        let nested = outer.document()["Resources"].as_object().unwrap().values();
        let passed: Vec<_> = nested
            .filter(|resource| resource["Properties"]["Location"] == location.as_str())
            .map(|resource| &resource["Properties"]["Parameters"]["Stage"])
            .filter(|given| staged || !given.is_null())
            .collect();
        let expected = serde_json::json!({"Ref": "Stage"});
        assert_eq!(passed, vec![&expected; usize::from(staged)]);
    }
    asking.sort();
    let mut acting = vec!["orders-place".to_owned()];
    for service in services() {
        // The functions of queues of commands.
        for (_, trigger) in service.resources("AWS::Lambda::EventSourceMapping") {
            let function = trigger["FunctionName"].as_str().unwrap();
            let all = service.functions();
            let (_, binary, _) = all.iter().find(|(id, _, _)| id == function).unwrap();
            if service.name != "orders" {
                acting.push(binary.clone());
            }
        }
    }
    acting.sort();
    assert_eq!(asking, acting);
}

#[test]
fn a_function_that_counts_by_source_hears_the_trusted_front() {
    let mut counting = 0;
    for service in services() {
        for binary in service.binaries() {
            let verb = binary.split_once('-').unwrap().1.replace('-', "_");
            let handler = service.folder.join(format!("src/handlers/{verb}.rs"));
            let handler = read(&handler);
            if handler.contains("guard::") || handler.contains("source_address") {
                counting += 1;
                let source = service.binary_source(&binary);
                assert!(source.contains("front.locate(request)"), "{binary}");
            }
        }
    }
    assert_eq!(counting, 4);
}
