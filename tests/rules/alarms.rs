//! Alarms: which exist, where they are sent, and that the runbook has each.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_support::template::{Template, workspace_root};

use crate::templates::routes;
use crate::{only_if, read, services, template};

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
                let verb = pair[0]["Id"].as_str().expect(id);
                let verb = verb.strip_prefix("errors_").expect(id);
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
            // Its caller waits, and sees the error.
            if id.ends_with("MigrateFunction") {
                continue;
            }
            let rings = alarms.iter().any(|(_, _, alarm)| {
                alarm["MetricName"] == "Errors"
                    && alarm["Dimensions"][0]["Value"] == id.as_str()
                    && alarm["Threshold"] == 0
            });
            assert_eq!(rings, !routed.contains(&id), "{id}");
        }
    }
}

/// The templates that have alarms, by the name that the root template's resources locate them with.
fn templates_with_alarms() -> Vec<(String, Template)> {
    let services = services().into_iter().map(|service| service.name);
    services
        .map(|name| format!("functions/{name}/template.yaml"))
        .chain(["infra/gateway/template.yaml".to_owned()])
        .map(|location| (location.clone(), template(&location)))
        .collect()
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
    let outer = template("template.yaml");
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

/// The rows of the runbook: the alarms each is about, and the commands it names.
fn runbook() -> Vec<(Vec<String>, Vec<String>)> {
    let page = read(&workspace_root().join("docs/operate.md"));
    let table = page.split("| alarm | run |").nth(1).unwrap();
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
fn every_alarm_is_in_the_runbook_and_names_a_command() {
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
                let mut after = description.split(command.as_str()).skip(1);
                after.any(|rest| !rest.starts_with(char::is_alphanumeric))
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

/// The metric of an alarm: its namespace, name and dimensions.
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
            // The emulator refuses metric math, and without a topic an alarm is sent nowhere.
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

/// Dead letters ring at once, other messages when they wait.
#[test]
fn every_queue_rings_an_alarm() {
    for service in services() {
        let alarms = alarms(&service.template);
        for (id, queue) in service.resources("AWS::SQS::Queue") {
            let name = queue["QueueName"].as_str().unwrap();
            let (metric, alarm, threshold, periods) = match name.strip_suffix("-dlq") {
                Some(_) => ("ApproximateNumberOfMessagesVisible", name.to_owned(), 0, 1),
                // A message that fails for good is tried for three minutes and must not ring it.
                None => (
                    "ApproximateAgeOfOldestMessage",
                    format!("{name}-stale"),
                    300,
                    3,
                ),
            };
            let metric = json!({"Namespace": "AWS/SQS", "MetricName": metric,
                "Dimensions": [{"Name": "QueueName", "Value": format!("{id}.QueueName")}]});
            let (_, _, found) = alarms
                .iter()
                .find(|(_, _, found)| watched(found) == watched(&metric))
                .unwrap_or_else(|| panic!("{name} has no alarm on {metric}"));
            assert_eq!(found["AlarmName"], alarm.as_str());
            assert_eq!(found["Threshold"], threshold, "{name}");
            assert_eq!(found["EvaluationPeriods"], periods, "{name}");
        }
    }
}

#[test]
fn every_metric_of_a_log_is_in_its_line_and_rings_an_alarm() {
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

/// Nothing is measured before the first call, so missing data at a first deployment says nothing.
#[test]
fn no_alarm_rings_at_a_first_deployment() {
    let topic = json!([{"Ref": "AlarmTopicArn"}]);
    let mut told = Vec::new();
    for service in services() {
        for (id, alarm) in service.resources("AWS::CloudWatch::Alarm") {
            let missing = alarm["TreatMissingData"].as_str().expect(&id);
            assert_ne!(missing, "breaching", "{id}");
            let action = &service.written(&id)["InsufficientDataActions"];
            if missing == "missing" {
                assert_eq!(*action, only_if("AlarmsAreSent", topic.clone()), "{id}");
                told.push(alarm["MetricName"].as_str().unwrap().to_owned());
            } else {
                assert!(action.is_null(), "{id}");
            }
        }
    }
    // Missing data of the sweeper raises the alarm.
    assert_eq!(told, ["OldestDueOrderSeconds"]);
}
