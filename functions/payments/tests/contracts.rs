//! The contracts and this service's types agree.

use payments::domain::Command;
use payments::messages;
use serde_json::Value;
use shared_auth::{Caller, Role};
use shared_lambda::http::Request;
use test_support::contracts::{is_valid, schema, types};
use test_support::template::{Template, workspace_root};

use super::*;

/// The types of the messages on a channel of asyncapi.yaml, sorted.
fn on(channel: &str) -> Vec<String> {
    let asyncapi = document("asyncapi.yaml");
    let messages = asyncapi["channels"][channel]["messages"].as_object();
    let mut names: Vec<String> = messages.unwrap().keys().cloned().collect();
    names.sort();
    names
}

fn accepted(kind: &str, data: &Value) -> bool {
    let envelope = Envelope::parse(&message(kind, data.clone()).to_string()).unwrap();
    messages::command(&envelope).is_ok()
}

fn document(name: &str) -> Value {
    let path = workspace_root().join("functions/payments").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    Template::parse(name, &text).document().clone()
}

#[test]
fn there_is_a_contract_for_each_message_and_no_other() {
    let mut all = [on("commands"), on("replies")].concat();
    all.sort_unstable();
    assert_eq!(types("payments"), all);
}

#[test]
fn every_contract_has_its_name_and_valid_examples() {
    let commands = on("commands");
    for kind in commands.iter().chain(&on("replies")) {
        let schema = schema("payments", kind);
        assert_eq!(schema["title"], *kind);
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty());
        for example in examples {
            test_support::contracts::assert_valid("payments", kind, example);
            if commands.contains(kind) {
                assert!(accepted(kind, example), "{kind}: {example}");
            }
        }
    }
}

#[test]
fn a_command_is_accepted_exactly_by_its_contract() {
    let good = charge("pm_card_visa")["data"].clone();
    let with = |pointer: &str, value: Value| {
        let mut data = good.clone();
        *data.pointer_mut(pointer).unwrap() = value;
        data
    };
    let without = |name: &str| {
        let mut data = good.clone();
        data.as_object_mut().unwrap().remove(name);
        data
    };
    let mut newer = good.clone();
    newer["statement_descriptor"] = json!("WAYBILL");
    let charges = [
        good.clone(),
        newer,
        with("/amount/amount", json!(1)),
        with("/amount/amount", json!(9_007_199_254_740_991_i64)),
        with("/amount/currency", json!("UDS")),
        with("/payment_method", json!("x".repeat(128))),
        with("/payment_method", json!("4242-4242-4242-4242")),
        with("/amount/amount", json!(0)),
        with("/amount/amount", json!(-1)),
        with("/amount/amount", json!(19.99)),
        with("/amount/amount", json!("4990")),
        with("/amount/amount", json!(9_007_199_254_740_992_i64)),
        with("/amount/currency", json!("usd")),
        with("/amount/currency", json!("USDT")),
        with("/amount", json!(4990)),
        with("/payment_method", json!("")),
        with("/payment_method", json!("pm card")),
        with("/payment_method", json!("x".repeat(129))),
        with("/payment_method", json!("4242424242424242")),
        with("/user_id", json!("not-an-id")),
        with("/user_id", json!(null)),
        without("user_id"),
        without("amount"),
        without("payment_method"),
        json!([]),
    ];
    let taken = charges
        .iter()
        .filter(|data| accepted("ChargePayment", data));
    assert_eq!(taken.count(), 7);
    let refunds = [
        refund()["data"].clone(),
        json!({ "user_id": OWNER.0, "reason": "newer" }),
        json!({ "user_id": "not-an-id" }),
        json!({}),
        json!(null),
    ];
    let taken = refunds
        .iter()
        .filter(|data| accepted("RefundPayment", data));
    assert_eq!(taken.count(), 2);
    for (kind, all) in [("ChargePayment", &charges[..]), ("RefundPayment", &refunds)] {
        for data in all {
            assert_eq!(
                accepted(kind, data),
                is_valid("payments", kind, data),
                "{kind}: {data}"
            );
        }
    }
}

#[test]
fn a_command_is_read_as_sent() {
    let envelope = Envelope::parse(&charge("pm_card_visa").to_string()).unwrap();
    let expected = Command::Charge {
        user_id: OWNER,
        amount: usd(AMOUNT),
        method: PaymentMethod::stored("pm_card_visa").unwrap(),
    };
    assert_eq!(messages::command(&envelope).unwrap(), expected);
}

#[test]
fn another_type_or_version_is_refused() {
    let mut newer = charge("pm_card_visa");
    newer["version"] = json!(2);
    for message in [newer, message("ReserveStock", json!({ "lines": [] }))] {
        let envelope = Envelope::parse(&message.to_string()).unwrap();
        let failure = messages::command(&envelope).unwrap_err();
        assert!(!failure.is_retried(), "{}", failure.detail());
    }
}

/// [`World::deliver`] validates every reply of every test; this test covers all types.
#[tokio::test]
async fn every_reply_is_sent_and_keeps_its_contract() {
    let mut sent = Vec::new();
    for messages in [
        vec![charge("pm_card_visa"), refund()],
        vec![charge("pm_card_chargeDeclined"), refund()],
        vec![refund(), charge("pm_card_visa")],
    ] {
        let world = World::new().await;
        for message in messages {
            sent.push(world.deliver(&message).await.unwrap().0);
        }
    }
    for kind in on("commands") {
        for example in schema("payments", &kind)["examples"].as_array().unwrap() {
            let world = World::new().await;
            let example = message(&kind, example.clone());
            sent.push(world.deliver(&example).await.unwrap().0);
        }
    }
    sent.sort();
    sent.dedup();
    assert_eq!(sent, on("replies"));
}

#[tokio::test(start_paused = true)]
async fn every_http_answer_matches_openapi() {
    let openapi = document("openapi.yaml");
    let responses = &openapi["paths"]["/api/v1/payments/{order_id}"]["get"]["responses"];
    let mut statuses = Vec::new();
    for messages in [
        vec![],
        vec![charge("pm_card_visa")],
        vec![charge("pm_card_visa"), refund()],
        vec![charge("pm_card_chargeDeclined")],
        vec![charge("pm_sim_unavailable")],
        vec![charge("pm_sim_unavailable"), refund()],
        vec![refund()],
    ] {
        let world = World::new().await;
        for message in &messages {
            let _ = world.deliver(message).await;
        }
        let request = Request::new().with_path_parameter("order_id", ORDER.0.to_string());
        let response = shared_lambda::http::respond(&world.origin, request, |context, request| {
            let caller = Caller {
                user_id: OWNER.0,
                role: Role::Customer,
                token: String::new(),
            };
            payments::handlers::get::handle(&world.store, caller, context, request)
        })
        .await;
        let described = &responses[response.status.to_string()];
        let described = match described["$ref"].as_str() {
            Some(reference) => openapi.pointer(&reference[1..]).unwrap(),
            None => described,
        };
        let described = &described["content"];
        let content_type = response.header("content-type").unwrap();
        let mut schema = described[content_type]["schema"].clone();
        assert!(!schema.is_null(), "{} as {content_type}", response.status);
        schema["components"] = openapi["components"].clone();
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        let body: Value = serde_json::from_str(response.body.as_deref().unwrap()).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&body)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?} in {body:#}");
        statuses.push(body["status"].clone());
    }
    let expected = json!([
        404, "CHARGED", "REFUNDED", "DECLINED", "CHARGING", "VOIDED", "VOIDED"
    ]);
    assert_eq!(Value::Array(statuses), expected);
}

#[tokio::test(start_paused = true)]
async fn each_role_allows_exactly_its_functions_actions() {
    let allowed = |role: &str| {
        let role = Template::of_service("payments").properties(role, "AWS::IAM::Role");
        let statements = role["Policies"][0]["PolicyDocument"]["Statement"].clone();
        let mut actions: Vec<String> = Vec::new();
        for statement in statements.as_array().unwrap() {
            match &statement["Action"] {
                Value::String(action) => actions.push(action.clone()),
                all => actions.extend(
                    all.as_array()
                        .unwrap()
                        .iter()
                        .map(|a| a.as_str().unwrap().to_owned()),
                ),
            }
        }
        actions.retain(|action| action.starts_with("dynamodb:"));
        actions.sort();
        actions
    };
    let used = |world: &World| {
        let mut actions: Vec<String> = world
            .aws
            .calls()
            .iter()
            .map(test_support::Call::name)
            .collect();
        actions.sort();
        actions.dedup();
        world.aws.clear_calls();
        actions
    };
    let world = World::new().await;
    world.deliver(&charge("pm_sim_lostReply")).await.unwrap();
    world.deliver(&refund()).await.unwrap();
    assert_eq!(used(&world), allowed("PaymentsCommandsRole"));
    world.store.find(ORDER).await.unwrap();
    assert_eq!(used(&world), allowed("PaymentsGetRole"));
}
