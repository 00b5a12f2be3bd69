//! Alarms: which exist, where they are sent, and that the runbook has each.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_support::alarms::{Metrics, PERIODS};
use test_support::template::{Template, workspace_root};

use crate::templates::routes;
use crate::{Service, only_if, read, services, template};

/// Adds a function's calls in the last period. Where none fails, CloudWatch has no number of failures.
fn add_calls(metrics: &mut Metrics, function: &Watched, failed: u32, calls: u32) {
    let last = |count: u32| [None, None, None, None, Some(f64::from(count))];
    metrics.set("Invocations", &function.id, last(calls));
    if failed > 0 {
        match &function.route {
            Some(route) => metrics.set("ServerErrors", route, last(failed)),
            None => metrics.set("Errors", &function.id, last(failed)),
        }
    }
}

/// A function whose callers are a route or a queue.
struct Watched {
    id: String,
    route: Option<String>,
}

fn watched_functions(service: &Service) -> Vec<Watched> {
    // HEAD reaches the same functions, and asks them less.
    let routed = routes(service).into_iter();
    let routed = routed.filter(|(route, _)| !route.starts_with("HEAD "));
    let routed = routed.map(|(route, id)| Watched {
        id,
        route: Some(route),
    });
    let queued = service
        .triggers()
        .into_iter()
        .map(|(id, _, _)| Watched { id, route: None });
    routed.chain(queued).collect()
}

/// Its own percentage counts: in a sum, a busy function would hide it.
#[test]
fn a_function_that_fails_rings_although_others_are_busy() {
    for service in services() {
        let all = watched_functions(&service);
        for failing in &all {
            let mut metrics = Metrics::default();
            for other in &all {
                add_calls(&mut metrics, other, 0, 1_000_000);
            }
            add_calls(&mut metrics, failing, 3, 3);
            let rings = metrics.rings(&service.template);
            assert!(
                rings.len() == 1 && rings[0].ends_with("-errors"),
                "{}: {rings:?}",
                failing.id
            );
        }
    }
}

#[test]
fn alarms_on_failures_scale_with_the_calls() {
    let cases = [
        ("quiet", 0, 100, false),
        ("one error of one call", 1, 1, false),
        ("two of two", 2, 2, false),
        ("three of three", 3, 3, true),
        ("1 % of much", 1_000, 100_000, false),
        ("more than 1 % of much", 1_001, 100_000, true),
        (
            "a tenth of the calls reaches a version that fails at 20 %",
            6,
            300,
            true,
        ),
        (
            "a tenth reaches a version that does not start",
            30,
            300,
            true,
        ),
    ];
    for service in services() {
        for function in watched_functions(&service) {
            for (case, failed, calls, expected) in cases {
                let mut metrics = Metrics::default();
                add_calls(&mut metrics, &function, failed, calls);
                let rings = !metrics.rings(&service.template).is_empty();
                assert_eq!(rings, expected, "{}: {case}", function.id);
            }
        }
        // Without calls there is no data at all.
        let none = Metrics::default().rings(&service.template);
        assert_eq!(none, Vec::<String>::new());
    }
}

#[test]
fn a_slow_function_rings_after_three_slow_minutes() {
    // Callers of these functions may wait ten seconds for an order's end.
    let waits = [
        "OrdersPlaceFunction",
        "OrdersGetFunction",
        "OrdersCancelFunction",
    ];
    let fast = Some(90.0);
    let cases = |limit: f64| {
        let slow = Some(limit + 1.0);
        [
            ("fast", [fast; PERIODS], false),
            ("at the limit", [Some(limit); PERIODS], false),
            (
                "one slow call of one",
                [None, None, None, None, slow],
                false,
            ),
            ("two slow minutes", [fast, fast, fast, slow, slow], false),
            ("three slow minutes", [fast, fast, slow, slow, slow], true),
            (
                "three slow minutes and no calls between",
                [slow, None, slow, None, slow],
                true,
            ),
        ]
    };
    for service in services() {
        let all = watched_functions(&service);
        for function in all.iter().filter(|one| one.route.is_some()) {
            let may_wait = waits.contains(&function.id.as_str());
            for (case, series, expected) in cases(if may_wait { 13_000.0 } else { 3_000.0 }) {
                let mut metrics = Metrics::default();
                for other in &all {
                    metrics.set("Duration", &other.id, [fast; PERIODS]);
                }
                metrics.set("Duration", &function.id, series);
                let rings = metrics.rings(&service.template);
                let right = rings.iter().all(|name| name.ends_with("-slow"));
                assert!(
                    right && rings.len() == usize::from(expected),
                    "{case}: {rings:?}"
                );
            }
        }
    }
}

#[test]
fn the_gateway_rings_at_1_percent_of_its_requests() {
    let template = template("infra/gateway/template.yaml");
    for (failed, requests, expected) in [
        (1, 1, false),
        (3, 3, true),
        (10, 1_000, false),
        (11, 1_000, true),
    ] {
        for (metric, total, alarm) in [
            ("5xx", "Count", "gateway-5xx"),
            ("Throttles", "Invocations", "gateway-throttles"),
        ] {
            let mut metrics = Metrics::default();
            let of = if metric == "5xx" { "Api" } else { "" };
            metrics.set(metric, of, [Some(f64::from(failed)); PERIODS]);
            // Lambda does not count a refused call as an invocation.
            let counted = if metric == "5xx" {
                requests
            } else {
                requests - failed
            };
            metrics.set(total, of, [Some(f64::from(counted)); PERIODS]);
            let expected = Vec::from_iter(expected.then(|| format!("waybill-{alarm}")));
            assert_eq!(metrics.rings(&template), expected, "{failed} of {requests}");
        }
    }
}

/// A route and its failures have one name in the gateway's log, in the metric and in the alarms.
#[test]
fn the_gateway_counts_failures_by_route() {
    let template = template("infra/gateway/template.yaml");
    let filter = template.properties("ServerErrorsMetric", "AWS::Logs::MetricFilter");
    assert_eq!(filter["FilterPattern"], "{ $.status = \"5*\" }");
    let metric = &filter["MetricTransformations"][0];
    assert_eq!(metric["MetricName"], "ServerErrors");
    assert_eq!(metric["MetricNamespace"], "Waybill/waybill");
    assert_eq!(
        metric["Dimensions"],
        json!([{"Key": "Route", "Value": "$.route"}])
    );
    let stage = template.properties("DefaultStage", "AWS::ApiGatewayV2::Stage");
    let line = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["status"], "$context.status");
    assert_eq!(line["route"], "$context.routeKey");
    for service in services() {
        for (id, _, alarm) in alarms(&service.template) {
            for query in alarm["Metrics"].as_array().into_iter().flatten() {
                let counted = &query["MetricStat"]["Metric"];
                if counted["MetricName"] == "ServerErrors" {
                    assert_eq!(counted["Namespace"], metric["MetricNamespace"], "{id}");
                }
            }
        }
    }
}

/// No caller of the sweeper can retry.
#[test]
fn a_scheduled_function_rings_at_its_first_error() {
    let mut metrics = Metrics::default();
    metrics.set(
        "Errors",
        "OrdersSweepFunction",
        [None, None, None, None, Some(1.0)],
    );
    let orders = Template::of_service("orders");
    assert_eq!(metrics.rings(&orders), ["waybill-orders-sweep-errors"]);
}

#[test]
fn a_gradual_deployment_watches_failures_and_slowness() {
    for service in services() {
        let preference =
            &service.template.document()["Globals"]["Function"]["DeploymentPreference"];
        let watched = service.template.resolve(&preference["Alarms"]["Fn::If"][1]);
        let watched: BTreeSet<&str> = watched
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let all = alarms(&service.template);
        let expected = all.iter().filter(|(_, _, alarm)| {
            let name = alarm["AlarmName"].as_str().unwrap();
            name.ends_with("-errors") || name.ends_with("-slow")
        });
        let expected: BTreeSet<&str> = expected.map(|(id, _, _)| id.as_str()).collect();
        assert_eq!(watched, expected, "{}", service.name);
        // CodeDeploy's quota for a deployment group.
        assert!(watched.len() <= 10, "{}", service.name);
        for (id, _, alarm) in all {
            // CloudWatch user guide, "Limits that apply to alarms based on metric math expressions".
            let metrics = alarm["Metrics"].as_array().into_iter().flatten();
            let metrics = metrics.filter(|query| query["MetricStat"].is_object());
            assert!(metrics.count() <= 10, "{id}");
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
