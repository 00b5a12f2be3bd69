//! Messages and HTTP responses against the contracts and API descriptions.

use std::collections::BTreeSet;
use std::fmt::Write;

use expect_test::expect_file;
use orders::domain::{Action, Command, PaymentMethod, State, owed};
use orders::messages::{Routes, event, owed_message};
use serde_json::{Value, json};
use shared_lambda::Stage;
use shared_lambda::envelope::Envelope;
use shared_lambda::http::{Request, Response};
use test_support::contracts::{assert_valid, is_valid, schema, types};
use test_support::template::workspace_root;
use uuid::Uuid;

use crate::samples::{ANN, BOB, STATES, order_in, usd};
use crate::world::{
    INVENTORY_QUEUE, PAYMENTS_QUEUE, USERS_QUEUE, World, about, admin, body, customer, posting,
    reply, routes, user,
};

/// Each participant and its queue.
const PARTICIPANTS: [(&str, &str); 3] = [
    ("users", USERS_QUEUE),
    ("inventory", INVENTORY_QUEUE),
    ("payments", PAYMENTS_QUEUE),
];

/// The types of the commands to a participant and of its replies.
fn messages(service: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let to_it = |command: &Command| command.step().participant.as_str() == service;
    let actions = || Command::all().filter(to_it).map(Command::action);
    let replies = actions().flat_map(Action::answers);
    (
        actions().map(|action| action.message.to_owned()).collect(),
        replies.map(|event| format!("{event:?}")).collect(),
    )
}

#[test]
fn every_command_follows_its_contract_in_an_envelope() {
    let context = World::new().context();
    let mut sent = BTreeSet::new();
    for state in STATES {
        let order = order_in(state);
        let Some(command) = owed(&order) else {
            assert_eq!(owed_message(&order, &routes(), &context).unwrap(), None);
            continue;
        };
        let message = owed_message(&order, &routes(), &context).unwrap().unwrap();
        let kind = command.action().message;
        let service = command.step().participant.as_str();
        let (_, queue) = PARTICIPANTS
            .into_iter()
            .find(|(name, _)| *name == service)
            .unwrap();
        assert_eq!(message.queue_url(), queue);
        let envelope: Value = serde_json::from_str(message.body()).unwrap();
        assert_valid(service, kind, &envelope["data"]);
        assert_eq!(
            envelope,
            json!({
                "id": Uuid::new_v5(&order.id.0, kind.as_bytes()),
                "type": kind,
                "version": 1,
                "order_id": order.id.0,
                "time": "2026-01-02T03:04:05.678Z",
                "traceparent": context.traceparent,
                "data": envelope["data"],
            })
        );
        sent.insert(command);
    }
    assert_eq!(sent, Command::all().collect());
}

#[test]
fn a_command_without_a_route_is_an_error_with_the_next_move() {
    let context = World::new().context();
    for state in STATES {
        let order = order_in(state);
        let sent = owed_message(&order, &Routes::default(), &context);
        if owed(&order).is_none() {
            assert_eq!(sent.unwrap(), None);
            continue;
        }
        let error = sent.unwrap_err().to_string();
        let next = format!("waybill saga retry {}", order.id.0);
        for part in [&format!("its step {state:?} owes"), "no route", &next] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn every_command_has_the_reviewed_data() {
    let context = World::new().context();
    let mut written = String::new();
    for state in STATES {
        if let Some(message) = owed_message(&order_in(state), &routes(), &context).unwrap() {
            let sent: Value = serde_json::from_str(message.body()).unwrap();
            writeln!(written, "{state:?}: {} {}", sent["type"], sent["data"]).unwrap();
        }
    }
    expect_file!["golden/commands.txt"].assert_eq(&written);
}

#[test]
fn every_example_of_a_reply_is_read() {
    for (service, _) in PARTICIPANTS {
        for kind in &messages(service).1 {
            let examples = schema(service, kind)["examples"].clone();
            let examples = examples.as_array().unwrap();
            assert!(!examples.is_empty(), "{service}'s {kind} has no example");
            for example in examples {
                assert_valid(service, kind, example);
                let envelope = Envelope::parse(&reply(order_in(State::Charging).id, kind, example));
                let event = event(&envelope.unwrap()).unwrap_or_else(|failure| {
                    panic!("{service}'s {kind} {example}: {}", failure.detail())
                });
                let event = format!("{event:?}");
                assert_eq!(event.split(' ').next(), Some(kind.as_str()));
            }
        }
    }
}

#[test]
fn orders_knows_every_message_of_its_participants() {
    for (service, _) in PARTICIPANTS {
        let (commands, replies) = messages(service);
        let known: BTreeSet<String> = commands.union(&replies).cloned().collect();
        let written: BTreeSet<String> = types(service).into_iter().collect();
        assert_eq!(known, written, "{service}");
    }
}

#[test]
fn contracts_require_the_fields_that_orders_reads() {
    let mut required = 0;
    for (service, _) in PARTICIPANTS {
        for kind in messages(service).1 {
            let example = schema(service, &kind)["examples"][0].clone();
            for field in example.as_object().unwrap().keys() {
                let mut without = example.clone();
                without.as_object_mut().unwrap().remove(field);
                let envelope =
                    Envelope::parse(&reply(order_in(State::Charging).id, &kind, &without));
                if event(&envelope.unwrap()).is_err() {
                    required += 1;
                    assert!(
                        !is_valid(service, &kind, &without),
                        "{kind} without {field}"
                    );
                }
            }
        }
    }
    assert!(required >= 9, "{required}");
}

// ---- openapi.yaml and asyncapi.yaml

fn document(name: &str) -> Value {
    let path = workspace_root().join("functions/orders").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{name} is not YAML: {error}"))
}

/// The target of a `$ref` within the document, or the value itself.
fn resolved<'a>(openapi: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        None => value,
        Some(reference) => openapi
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap_or_else(|| panic!("{reference} is not there")),
    }
}

/// The violations of a schema of the document.
fn violations(openapi: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut root = schema.clone();
    root["components"] = openapi["components"].clone();
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&root)
        .unwrap();
    validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Checks a response and its headers against the description of its route.
fn assert_described(route: &str, response: &Response) {
    let openapi = document("openapi.yaml");
    let (method, path) = route.split_once(' ').unwrap();
    let operation = &openapi["paths"][path][method.to_lowercase()];
    let described = &operation["responses"][response.status.to_string()];
    assert!(
        !described.is_null(),
        "{route} {} is not described",
        response.status
    );
    let described = resolved(&openapi, described);
    if response.status != 304 {
        let media = &described["content"][response.header("content-type").unwrap()];
        let violations = violations(&openapi, &media["schema"], &body(response));
        assert!(
            violations.is_empty(),
            "{route} {}: {violations:#?}",
            response.status
        );
    }
    let headers = described["headers"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for name in [
        "location",
        "retry-after",
        "etag",
        "preference-applied",
        "idempotent-replayed",
        "www-authenticate",
        "accept",
        "accept-encoding",
    ] {
        let mut written = headers.iter();
        let written = written.find(|(header, _)| header.eq_ignore_ascii_case(name));
        let is_required = written.map(|(_, header)| resolved(&openapi, header)["required"] == true);
        let is_there = response.header(name).is_some();
        let (status, case) = (response.status, (is_required, is_there));
        let fits = !matches!(case, (None, true) | (Some(true), false));
        assert!(fits, "{route} {status}: {name}: {case:?}");
    }
}

#[test]
fn openapi_accepts_the_same_payment_methods() {
    let openapi = document("openapi.yaml");
    let schema = &openapi["components"]["schemas"]["NewOrder"]["properties"]["payment_method"];
    let (longest, too_long) = (
        format!("pm_{}", "x".repeat(125)),
        format!("pm_{}", "x".repeat(126)),
    );
    let mut taken = 0;
    for text in [
        "pm_card_visa",
        "pm_1MqLiJLkdIwHu7ixUEgbFdYl",
        "pm_x12345678901",
        "pm_sim_lostReply",
        "pm_card_threeDSecure2Required",
        "pm_x123456789012",
        "pm_4242424242424242",
        "pm_4242_4242_4242_4242",
        "pm_4242-4242-4242-4242",
        "pm_card_4242424242424242",
        "pm_\u{ff14}\u{ff12}\u{ff14}\u{ff12}",
        "4242424242424242",
        "4242-4242-4242-4242",
        "pmcard",
        "pm_visa\n",
        " pm_visa",
        "pm_123456789012x",
        "pm_12345678901x",
        "pm_1x1x1",
        "pm_",
        "pm",
        "pm__x",
        "pm_x_",
        "pm_1",
        "pm_x_1",
        "pm-x",
        "pm_x-y",
        "PM_x",
        "visa",
        "",
        &longest,
        &too_long,
    ] {
        let is_taken = PaymentMethod::parse(text).is_ok();
        let violations = violations(&openapi, schema, &json!(text));
        assert_eq!(is_taken, violations.is_empty(), "{text}: {violations:?}");
        taken += usize::from(is_taken);
    }
    assert_eq!(taken, 8);
}

#[tokio::test]
async fn responses_follow_openapi() {
    let (place, get, list, cancel, timeline) = (
        "POST /api/v1/orders",
        "GET /api/v1/orders/{id}",
        "GET /api/v1/orders",
        "POST /api/v1/orders/{id}/cancel",
        "GET /api/v1/orders/{id}/timeline",
    );
    let world = World::new();
    let ann = customer(ANN);
    let order = json!({
        "lines": [{"sku": "cup", "quantity": 1}],
        "payment_method": "pm_card_visa",
        "expected_total": {"amount": 1, "currency": "USD"},
    });
    let other = json!({"lines": [{"sku": "cup", "quantity": 2}], "payment_method": "pm_x"});
    let wrong = json!({"lines": [], "payment_method": ""});
    assert_described(place, &world.place(&ann, posting(&order, Some("k"))).await);
    assert_described(place, &world.place(&ann, posting(&wrong, Some("k"))).await);
    assert_described(place, &world.place(&ann, posting(&other, Some("k"))).await);
    let huge = Request::new().with_body(vec![b' '; 70_000]);
    assert_described(place, &world.place(&ann, huge).await);
    let form = posting(&order, None).with_header("content-type", "text/plain");
    assert_described(place, &world.place(&ann, form).await);
    for state in STATES {
        let mut order = order_in(state);
        order.expected_total = Some(usd(1));
        world.put(&order).await;
        let about = || about(order.id.0);
        assert_described(get, &world.get(&ann, about()).await);
        assert_described(timeline, &world.timeline(&ann, about()).await);
        let known = about().with_header("if-none-match", "*");
        assert_described(get, &world.get(&ann, known).await);
        assert_described(cancel, &world.cancel(&ann, about()).await);
        let again = about().with_header("idempotency-key", "k");
        let again = again.with_header("prefer", "wait=0");
        assert_described(cancel, &world.cancel(&ann, again).await);
    }
    assert_described(place, &world.place(&ann, posting(&order, Some("k"))).await);
    let all = Request::new().with_query("limit", "3");
    assert_described(list, &world.list(&ann, all).await);
    let wrong = Request::new().with_query("limit", "0");
    assert_described(list, &world.list(&ann, wrong).await);
    let bobs = Request::new().with_query("user_id", Uuid::nil().to_string());
    assert_described(list, &world.list(&ann, bobs).await);
    assert_described(list, &world.list(&admin(), Request::new()).await);
    for id in ["x".to_owned(), Uuid::nil().to_string()] {
        assert_described(get, &world.get(&ann, about(&id)).await);
        assert_described(timeline, &world.timeline(&ann, about(&id)).await);
        assert_described(cancel, &world.cancel(&ann, about(&id)).await);
    }
    let faults = || posting(&order, None).with_header("waybill-fault", "charge_payment=fail");
    // The orders above are unpaid.
    assert_eq!(world.place(&ann, faults()).await.status, 429);
    assert_described(place, &world.place(&ann, faults()).await);
    let ann = customer(BOB);
    let fault = world.place(&ann, faults()).await;
    assert_described(place, &fault);
    let id = body(&fault)["id"].as_str().unwrap().to_owned();
    assert_described(timeline, &world.timeline(&ann, about(id)).await);
    let production = World::in_stage(Stage::Production);
    assert_described(place, &production.place(&ann, faults()).await);
    let refused = World::new();
    refused.users.always(user(ANN, "deactivated"));
    assert_described(place, &refused.place(&ann, posting(&order, None)).await);
}

/// Collects every `$ref` of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(reference) if name == "$ref" => found.push(reference.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_of_the_descriptions_resolves() {
    let folder = workspace_root().join("functions/orders");
    for name in ["openapi.yaml", "asyncapi.yaml"] {
        let document = document(name);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            match reference.strip_prefix('#') {
                Some(pointer) => {
                    assert!(document.pointer(pointer).is_some(), "{name}: {reference}");
                }
                None => {
                    let (file, pointer) = reference.split_once('#').unwrap_or((&reference, ""));
                    let found = serde_yaml_ng::from_str::<Value>(
                        &std::fs::read_to_string(folder.join(file)).expect(&reference),
                    );
                    assert!(found.unwrap().pointer(pointer).is_some(), "{reference}");
                }
            }
        }
    }
}

/// The channels are the participants' own, so their messages are described once.
#[test]
fn asyncapi_has_the_channels_of_every_participant() {
    let asyncapi = document("asyncapi.yaml");
    assert!(asyncapi["asyncapi"].as_str().unwrap().starts_with("3.0."));
    let mut channels = Vec::new();
    references(&asyncapi["channels"], &mut channels);
    let known = PARTICIPANTS.map(|(service, _)| {
        let of = |channel| format!("../{service}/asyncapi.yaml#/channels/{channel}");
        [of("commands"), of("replies")]
    });
    let mut known = known.concat();
    channels.sort();
    known.sort();
    assert_eq!(channels, known);
    for (service, _) in PARTICIPANTS {
        let described = document(&format!("../{service}/asyncapi.yaml"));
        let named = |channel: &str| -> BTreeSet<String> {
            let messages = described["channels"][channel]["messages"].as_object();
            messages.unwrap().keys().cloned().collect()
        };
        assert_eq!((named("commands"), named("replies")), messages(service));
    }
}
