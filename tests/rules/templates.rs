//! Templates, binaries, variables and routes agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::permissions::statements;
use crate::{Service, read, served, services, template, yaml};

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
    let constructors: [(&str, &[&str]); 7] = [
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
        // Its new value starts new instances, which load the new key.
        ("Issuer::", &["AUTH_SIGNING_KEY_VERSION"]),
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
            let triggers = service.triggers();
            let trigger = triggers.iter().find(|(_, from, _)| *from == id);
            let (consumer, _, trigger) = trigger.unwrap_or_else(|| panic!("{id} triggers nothing"));
            assert_eq!(trigger["BatchSize"], 10, "{id}");
            let partial = json!(["ReportBatchItemFailures"]);
            assert_eq!(trigger["FunctionResponseTypes"], partial, "{id}");
            let most = service
                .template
                .resolve(&trigger["ScalingConfig"]["MaximumConcurrency"]);
            assert!(most.is_number(), "{id}");
            let default = &service.template.document()["Globals"]["Function"]["Timeout"];
            let timeout = &service.written(consumer)["Timeout"];
            let timeout = timeout.as_u64().or(default.as_u64()).unwrap();
            let visibility = queue["VisibilityTimeout"].as_u64().unwrap();
            assert!(
                visibility >= 6 * timeout,
                "{id}: {visibility} s for {timeout} s"
            );
        }
    }
}

#[test]
fn every_service_has_one_table_which_can_be_restored() {
    for service in services() {
        if service.name == "site" {
            assert!(!service.has_table(), "the site stores nothing");
            continue;
        }
        let tables = service.resources("AWS::DynamoDB::Table");
        assert_eq!(tables.len(), 1, "{} has one table", service.name);
        let (_, table) = &tables[0];
        assert_eq!(
            table["TableName"],
            format!("waybill-{}", service.name).as_str()
        );
        let recoverable = json!({"Fn::If": ["TableIsRecoverable", true, false]});
        let recovery = &table["PointInTimeRecoverySpecification"];
        assert_eq!(recovery["PointInTimeRecoveryEnabled"], recoverable);
        let parameters = &service.template.document()["Parameters"];
        assert_eq!(parameters["PointInTimeRecovery"]["Default"], "true");
    }
}

/// Route keys (`GET /api/v1/items`) with the function each one reaches.
pub fn routes(service: &Service) -> BTreeMap<String, String> {
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
            let function = served(&integration["IntegrationUri"]).to_owned();
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
        let routes = routes(&service);
        // The tests of the site call what its document describes.
        if routes.keys().eq(["$default"]) {
            continue;
        }
        // HEAD is wherever GET is, with the same function (RFC 9110 §9.1).
        for route in documented.clone() {
            if let Some(path) = route.strip_prefix("GET ") {
                let head = format!("HEAD {path}");
                assert_eq!(routes.get(&head), routes.get(&route), "{head}");
                documented.insert(head);
            }
        }
        let routed: BTreeSet<String> = routes.into_keys().collect();
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
fn every_function_has_a_trigger_or_an_operator() {
    for service in services() {
        // A route of GET and one of HEAD reach the same function.
        let reached: BTreeSet<String> = routes(&service).into_values().collect();
        let mut reached = Vec::from_iter(reached);
        let permitted: BTreeSet<String> = service
            .resources("AWS::Lambda::Permission")
            .into_iter()
            .map(|(_, permission)| served(&permission["FunctionName"]).to_owned())
            .collect();
        for function in &reached {
            assert!(
                permitted.contains(function),
                "the gateway may not call {function}"
            );
        }
        reached.extend(service.triggers().into_iter().map(|trigger| trigger.0));
        for (_, schedule) in service.resources("AWS::Scheduler::Schedule") {
            reached.push(served(&schedule["Target"]["Arn"]).to_owned());
        }
        // Operators call this one by name; they may call others too.
        for (_, policy) in service.resources("AWS::IAM::ManagedPolicy") {
            for (action, function, _) in statements(&policy["PolicyDocument"]) {
                if action != "lambda:InvokeFunction" {
                    continue;
                }
                let function = served(&json!(function)).to_owned();
                if !reached.contains(&function) {
                    reached.push(function);
                }
            }
        }
        reached.sort();
        let mut functions: Vec<String> = service.functions().into_iter().map(|f| f.0).collect();
        functions.sort();
        assert_eq!(reached, functions, "{}", service.name);
    }
}

/// A caller of the bare function gets new code at once, and cannot be taken back from it.
#[test]
fn nothing_reaches_a_function_past_its_alias() {
    for service in services() {
        let document = service.template.document();
        let globals = &document["Globals"]["Function"];
        assert_eq!(globals["AutoPublishAlias"], "live", "{}", service.name);
        for (id, resource) in document["Resources"].as_object().unwrap() {
            // Alarms watch all versions.
            if resource["Type"] == "AWS::CloudWatch::Alarm" {
                continue;
            }
            let text = service
                .template
                .resolve(&resource["Properties"])
                .to_string();
            for (function, _, properties) in service.functions() {
                assert!(properties["AutoPublishAlias"].is_null(), "{function}");
                let mention = format!("\"{function}");
                let mut mentions = text.split(&mention).skip(1);
                let is_alias = |after: &str| after.starts_with(".Alias\"");
                assert!(mentions.all(is_alias), "{id} reaches {function} itself");
            }
        }
    }
}

/// The parameters in a value, also those that decide its conditions.
fn parameters_in(value: &Value, document: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => {
            for value in values {
                parameters_in(value, document, found);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                let text = value.as_str().unwrap_or_default();
                let names: Vec<&str> = match name.as_str() {
                    "Ref" => vec![text],
                    "Fn::Sub" => text.split(['{', '}']).collect(),
                    _ => Vec::new(),
                };
                let known = |name: &&str| document["Parameters"][*name].is_object();
                found.extend(names.into_iter().filter(known).map(str::to_owned));
                if name == "Fn::If" {
                    let condition = value[0].as_str().unwrap();
                    parameters_in(&document["Conditions"][condition], document, found);
                }
                parameters_in(value, document, found);
            }
        }
        _ => {}
    }
}

/// CloudFormation publishes a version when its code or its description changes, not with the values
/// of parameters. A description that changes more often than the function fails to deploy.
#[test]
fn a_version_is_described_by_the_parameters_of_its_function() {
    // These are not part of a version, or change with the code or the prefix.
    let apart = [
        "AutoPublishAlias",
        "Architectures",
        "CodeUri",
        "Description",
        "DeploymentPreference",
        "EventInvokeConfig",
        "FunctionName",
        "ReservedConcurrentExecutions",
        "Role",
        "VersionDescription",
    ];
    for service in services() {
        let document = service.template.document();
        let globals = document["Globals"]["Function"].as_object().unwrap();
        for (id, _, _) in service.functions() {
            let mut parameters = BTreeSet::new();
            let own = service.written(&id);
            for (name, value) in own.as_object().unwrap().iter().chain(globals) {
                // Only the variables of both are merged.
                let overridden =
                    name != "Environment" && ![&Value::Null, value].contains(&&own[name]);
                if !apart.contains(&name.as_str()) && !overridden {
                    parameters_in(value, document, &mut parameters);
                }
            }
            parameters.remove("Prefix");
            // The set itself is too long for a description.
            if parameters.remove("AuthJwks") {
                parameters.insert("AuthJwksVersion".to_owned());
            }
            // It can change alone: a deployment may set an older version of the same keys.
            let changes = &document["Globals"]["Function"]["Description"]["Fn::Sub"];
            let has_keys = document["Parameters"]["AuthJwksVersion"].is_object();
            let keys = has_keys.then_some("Keys ${AuthJwksVersion}");
            assert_eq!(changes.as_str(), keys, "{}", service.name);
            assert!(own["Description"].is_null(), "{id}");
            let words: Vec<_> = parameters.iter().map(|one| format!("${{{one}}}")).collect();
            let written = &service.written(&id)["VersionDescription"]["Fn::Sub"];
            assert_eq!(*written, words.join(" "), "VersionDescription of {id}");
        }
    }
}

/// A schedule comes round again, so a run that failed is repeated neither by the scheduler, which only
/// delivers the call, nor by Lambda, which takes it for later.
#[test]
fn a_schedule_calls_its_function_once_each_time() {
    let mut seen = 0;
    for service in services() {
        for (id, schedule) in service.resources("AWS::Scheduler::Schedule") {
            let target = &schedule["Target"];
            assert_eq!(target["RetryPolicy"]["MaximumRetryAttempts"], 0, "{id}");
            let function = service.written(served(&target["Arn"]));
            let expected = json!({"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60});
            assert_eq!(function["EventInvokeConfig"], expected, "{id}");
            seen += 1;
        }
    }
    assert!(seen > 0, "the sweeper has a schedule");
}

#[test]
fn the_root_template_nests_every_service_with_parameters_it_has() {
    let root = template("template.yaml");
    let resources = root.document()["Resources"].as_object().unwrap();
    let mut nested = BTreeSet::new();
    for (id, resource) in resources {
        assert_eq!(resource["Type"], "AWS::Serverless::Application", "{id}");
        let location = resource["Properties"]["Location"].as_str().unwrap();
        let inner = template(location);
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
    let root = template("template.yaml");
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

#[test]
fn an_endpoint_costs_at_most_45_lines_of_a_template() {
    let parts = [
        "Function",
        "Role",
        "LogGroup",
        "Integration",
        "Route",
        "HeadRoute",
        "Permission",
    ];
    for service in services() {
        let template = read(&service.folder.join("template.yaml"));
        for (route, function) in routes(&service) {
            if route.starts_with("HEAD ") {
                continue;
            }
            let stem = function.strip_suffix("Function").unwrap();
            let in_alarm = [&format!("!Ref {function}"), &format!("{route:?}")];
            let in_alarm = in_alarm.map(|value| format!("Value: {value} }}] }} }} }}"));
            let mut inside = false;
            let lines = template.lines().filter(|line| {
                let code = line.trim_start();
                if line.len() - code.len() <= 2 && !code.is_empty() && !code.starts_with('#') {
                    let id = code.split(':').next().unwrap();
                    inside = id
                        .strip_prefix(stem)
                        .is_some_and(|part| parts.contains(&part));
                }
                let metric = in_alarm.iter().any(|end| line.ends_with(end));
                (inside || metric) && !code.is_empty() && !code.starts_with('#')
            });
            // And its part of an alarm's expression.
            let lines = lines.count() + 1;
            assert!(lines <= 45, "{function} takes {lines} lines");
        }
    }
}

/// Every function that takes orders or commands reads the stage itself, and a stack without a stage
/// is in production.
#[test]
fn faults_are_injected_only_outside_production() {
    let outer = template("template.yaml");
    let mut asking = Vec::new();
    let is_safe = |stage: &Value| {
        assert_eq!(stage["Default"], "production");
        let allowed = json!(["dev", "staging", "production"]);
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
        let expected = json!({"Ref": "Stage"});
        assert_eq!(passed, vec![&expected; usize::from(staged)]);
    }
    asking.sort();
    // The site only names its stage.
    let mut acting = vec!["orders-place".to_owned(), "site-default".to_owned()];
    for service in services() {
        // The functions of queues of commands.
        for (function, _, _) in service.triggers() {
            let all = service.functions();
            let (_, binary, _) = all.iter().find(|(id, _, _)| *id == function).unwrap();
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
