//! Orders with injected faults: permission, rows, responses and commands.

use orders::domain::{Command, Ending, Fault, InjectedFaults, MAX_ATTEMPTS, State};
use orders::messages::owed_message;
use serde_json::{Value, json};
use shared_lambda::Stage;
use shared_lambda::http::Request;
use test_support::contracts::{assert_enveloped, assert_valid};

use crate::domain::faults::order_with_faults;
use crate::samples::{ANN, STATES, order_in, set_attribute};
use crate::world::{
    USERS_QUEUE, World, about, body, customer, id_of, posting, reply, routes, user,
};

fn cups() -> Value {
    json!({"lines": [{"sku": "cup", "quantity": 2}], "payment_method": "pm_card_visa"})
}

fn with_faults(faults: &str, key: Option<&str>) -> Request {
    posting(&cups(), key).with_header("waybill-fault", faults)
}

// ---- Commands

#[test]
fn every_command_has_its_fault_in_the_envelope() {
    let context = World::new().context();
    for state in STATES {
        let Some(command) = state.command() else {
            continue;
        };
        let step = command.action().name;
        let plain = owed_message(&order_in(state), &routes(), &context)
            .unwrap()
            .unwrap();
        let plain: Value = serde_json::from_str(plain.body()).unwrap();
        let kind = plain["type"].as_str().unwrap();
        let participant = command.step().participant.as_str();
        assert_enveloped(participant, &plain);
        assert_enveloped("orders", &plain);
        for fault in Fault::ALL.iter().map(|fault| fault.as_str()) {
            let mut order = order_with_faults(state, &format!("{step}={fault}"));
            order.attempt = 1;
            let sent = owed_message(&order, &routes(), &context).unwrap().unwrap();
            let mut sent: Value = serde_json::from_str(sent.body()).unwrap();
            assert_enveloped(participant, &sent);
            assert_enveloped("orders", &sent);
            assert_valid(participant, kind, &sent["data"]);
            let found = sent.as_object_mut().unwrap().remove("fault");
            assert_eq!(found, Some(json!(fault)), "{step}={fault}");
            assert_eq!(sent, plain, "{step}={fault} changes nothing else");
        }
    }
}

#[tokio::test]
async fn a_repeated_command_has_the_fault_of_its_attempt() {
    let world = World::new();
    let ann = customer(ANN);
    let placed = world
        .place(
            &ann,
            with_faults("reserve_stock=lost_reply_once", Some("k")),
        )
        .await;
    world
        .place(
            &ann,
            with_faults("reserve_stock=lost_reply_once", Some("k")),
        )
        .await;
    let faults = |commands: &[Value]| -> Vec<Value> {
        commands
            .iter()
            .map(|command| command["fault"].clone())
            .collect()
    };
    let first = world.commands();
    assert_eq!(faults(&first), ["lost_reply_once", "lost_reply_once"]);
    world.clock.pass(31);
    world.sweep().await.unwrap();
    let second = world.commands();
    assert_eq!(faults(&second), [Value::Null]);
    assert_eq!(second[0]["type"], "ReserveStock");

    let reserved = json!({"lines": [
        {"sku": "cup", "quantity": 2, "unit_price": {"amount": 5, "currency": "USD"}}]});
    let id = id_of(&placed);
    world
        .deliver(&reply(id, "StockReserved", &reserved))
        .await
        .unwrap();
    let third = world.commands();
    assert_eq!((third.len(), faults(&third)), (1, vec![Value::Null]));
}

#[tokio::test]
async fn a_lasting_timeout_ends_like_a_missing_answer() {
    let world = World::new();
    let placed = world
        .place(&customer(ANN), with_faults("reserve_stock=timeout", None))
        .await;
    let id = id_of(&placed);
    let mut carried = world.commands();
    for _ in 0..MAX_ATTEMPTS {
        world.clock.pass(3600);
        world.sweep().await.unwrap();
        carried.extend(world.commands());
    }
    let seen: Vec<(&str, &str)> = carried
        .iter()
        .map(|command| {
            let fault = command["fault"].as_str().unwrap_or("none");
            (command["type"].as_str().unwrap(), fault)
        })
        .collect();
    let mut expected = vec![("ReserveStock", "timeout"); MAX_ATTEMPTS as usize];
    expected.push(("ReleaseStock", "none"));
    assert_eq!(seen, expected);
    let order = world.order(id).await;
    assert_eq!(order.state, State::Releasing(Ending::Rejected));
    assert_eq!(order.failure.unwrap().code, "timed_out");
}

// ---- POST /api/v1/orders

#[tokio::test]
async fn faults_are_stored_and_shown() {
    for stage in [Stage::Dev, Stage::Staging] {
        let world = World::in_stage(stage);
        let ann = customer(ANN);
        let faults = "release_stock=fail,charge_payment=lost_reply";
        let canonical = "charge_payment=lost_reply, release_stock=fail";
        let placed = world.place(&ann, with_faults(faults, None)).await;
        assert_eq!(placed.status, 202);
        assert_eq!(body(&placed)["rehearsal"], canonical);
        let id = id_of(&placed);
        assert_eq!(world.aws.dump(&world.table)[0]["rehearsal"], canonical);
        assert_eq!(world.order(id).await.faults.unwrap().to_string(), canonical);
        let shown = world.get(&ann, about(id.0)).await;
        assert_eq!(body(&shown)["rehearsal"], canonical);
        let timeline = body(&world.timeline(&ann, about(id.0)).await);
        assert_eq!(
            timeline["items"][1],
            json!({"at": "2026-01-02T03:04:05.678Z", "event": "rehearsal_begun", "detail": canonical})
        );
    }
}

#[tokio::test]
async fn an_order_without_faults_is_the_same_in_every_stage() {
    let mut rows = Vec::new();
    for stage in [Stage::Dev, Stage::Staging, Stage::Production] {
        let world = World::in_stage(stage);
        let placed = world.place(&customer(ANN), posting(&cups(), None)).await;
        assert_eq!(placed.status, 202);
        let seen = [
            body(&placed),
            world.aws.dump(&world.table).remove(0),
            world.commands().remove(0),
        ];
        for value in &seen {
            let text = value.to_string();
            assert!(
                !text.contains("rehearsal") && !text.contains("fault"),
                "{text}"
            );
        }
        rows.push(seen);
    }
    assert_eq!(rows[0], rows[2]);
    assert_eq!(rows[1], rows[2]);
}

#[tokio::test]
async fn production_refuses_every_fault_header() {
    let world = World::in_stage(Stage::Production);
    for faults in ["charge_payment=fail", "nonsense", ""] {
        for request in [
            with_faults(faults, None),
            with_faults(faults, Some("key")),
            Request::new().with_header("waybill-fault", faults),
        ] {
            let refused = world.place(&customer(ANN), request).await;
            assert_eq!(refused.status, 403, "{faults:?}");
            assert_eq!(body(&refused)["type"], "/problems/fault-switches-refused");
        }
    }
    assert!(world.aws.dump(&world.table).is_empty());
    assert!(world.commands().is_empty());
    assert_eq!(world.users.count(), 0, "users is not asked");
}

#[tokio::test]
async fn an_invalid_header_is_reported_with_the_other_errors() {
    let world = World::new();
    let empty = json!({"lines": [], "payment_method": "pm_card_visa"});
    let wrong = posting(&empty, None).with_header("waybill-fault", "charge_payment=explode");
    let refused = world.place(&customer(ANN), wrong).await;
    assert_eq!(refused.status, 400);
    let problem = body(&refused);
    let errors = &problem["errors"];
    assert_eq!(errors[0]["header"], "Waybill-Fault");
    assert_eq!(errors[1]["pointer"], "/lines");
    assert!(world.aws.dump(&world.table).is_empty());
}

#[tokio::test]
async fn the_same_key_with_other_faults_is_another_request() {
    let world = World::new();
    let ann = customer(ANN);
    let place = async |faults: Option<&str>| {
        let request = match faults {
            None => posting(&cups(), Some("key")),
            Some(faults) => with_faults(faults, Some("key")),
        };
        world.place(&ann, request).await
    };
    let first = place(Some("charge_payment=fail,reserve_stock=fail")).await;
    assert_eq!(first.status, 202);
    let again = place(Some("reserve_stock=fail, charge_payment=fail")).await;
    assert_eq!((again.status, id_of(&again)), (202, id_of(&first)));
    for other in [
        None,
        Some("charge_payment=fail"),
        Some("reserve_stock=fail"),
    ] {
        let refused = place(other).await;
        assert_eq!(refused.status, 422, "{other:?}");
        assert_eq!(body(&refused)["type"], "/problems/idempotency-key-reused");
    }
    assert_eq!(world.aws.dump(&world.table).len(), 1);
}

#[tokio::test]
async fn a_fault_in_verify_user_asks_users_by_queue() {
    let world = World::new();
    world.users.always(user(ANN, "deactivated"));
    let placed = world
        .place(&customer(ANN), with_faults("verify_user=fail_once", None))
        .await;
    assert_eq!((placed.status, world.users.count()), (202, 0));
    let id = id_of(&placed);
    let sent = world.aws.sent(USERS_QUEUE);
    assert_eq!(
        (&sent[0]["type"], &sent[0]["fault"]),
        (&json!("VerifyUser"), &json!("fail_once"))
    );
    assert!(world.commands().is_empty());
    let refusal = json!({"code": "user_not_allowed", "detail": "deactivated"});
    world
        .deliver(&reply(id, "UserRefused", &refusal))
        .await
        .unwrap();
    assert_eq!(world.order(id).await.state, State::Rejected);

    // With a fault in another step users is asked over REST first.
    let refused = world
        .place(&customer(ANN), with_faults("reserve_stock=fail", None))
        .await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn an_invalid_stored_fault_is_an_error() {
    let order = order_with_faults(State::Charging, "charge_payment=fail");
    let world = World::with(&order).await;
    let store = |faults| set_attribute(&world.aws, &world.table, "rehearsal", json!(faults));
    store("charge_payment=answer_twice");
    assert_eq!(world.order(order.id).await.faults, None);
    store("charge_payment=explode");
    let error = world.store().get(order.id).await.unwrap_err();
    let text = shared_lambda::telemetry::chain(&error);
    assert!(text.contains("rehearsal"), "{text}");
}

#[test]
fn openapi_accepts_exactly_the_known_faults() {
    let path = test_support::template::workspace_root().join("functions/orders/openapi.yaml");
    let openapi: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let parameters = &openapi["paths"]["/api/v1/orders"]["post"]["parameters"];
    let header = parameters
        .as_array()
        .unwrap()
        .iter()
        .find(|parameter| parameter["name"] == "Waybill-Fault")
        .unwrap();
    let validator = jsonschema::validator_for(&header["schema"]).unwrap();
    assert!(validator.is_valid(&header["example"]));
    let text = header["description"].as_str().unwrap();
    for step in Command::all().map(|command| command.action().name) {
        assert!(text.contains(&format!("`{step}`")), "{step}");
        for fault in Fault::ALL {
            assert!(text.contains(&format!("`{}`", fault.as_str())), "{fault:?}");
            let one = format!("{step}={}", fault.as_str());
            let two = format!("{one}, release_stock=fail");
            assert!(validator.is_valid(&json!(one)), "{one}");
            assert!(validator.is_valid(&json!(two)), "{two}");
        }
    }
    for text in ["", "charge_payment=explode", "charge_payment=fail,", "fail"] {
        assert!(!validator.is_valid(&json!(text)), "{text}");
        assert!(InjectedFaults::parse(text).is_err(), "{text}");
    }
}
