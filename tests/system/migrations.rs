//! `waybill migrate` on the deployed system.

use ops::audit;
use ops::migrate::{self, Migrate};
use serde_json::{Value, json};
use xtask::project::Project;

use crate::world::{Customer, World, world};

fn migrated(world: &World, service: &str, asked: &Migrate) -> Value {
    let mut progress = |_| {};
    let prefix = &world.stack.prefix;
    migrate::migrate(&world.aws, prefix, service, asked, &mut progress).unwrap()
}

/// Writes an order's row again as a release of schema 1 wrote it.
fn make_old(world: &World, id: &str, entries: &[Value]) {
    let table = world.stack.name("orders");
    let key = json!({"pk": {"S": format!("ORDER#{id}")}, "sk": {"S": "ORDER"}});
    let read = json!({"TableName": table, "Key": key, "ConsistentRead": true});
    let mut row = world.aws.call("dynamodb", "GetItem", read).unwrap()["Item"].take();
    let entries = entries.iter().map(|entry| {
        let mut map = json!({"at": {"S": entry["at"]}, "what": {"S": entry["event"]}});
        if let Some(attempt) = entry["attempt"].as_u64() {
            map["attempt"] = json!({"N": attempt.to_string()});
        }
        if entry["detail"].is_string() {
            map["detail"] = json!({"S": entry["detail"]});
        }
        json!({"M": map})
    });
    row["timeline"] = json!({"L": entries.collect::<Vec<_>>()});
    row["schema"] = json!({"N": "1"});
    let put = json!({"TableName": table, "Item": row});
    world.aws.call("dynamodb", "PutItem", put).unwrap();
}

#[test]
fn an_old_order_is_migrated_and_answers_the_same() {
    let world = world();
    let _alone = world.alone();
    let customer = Customer::new();
    let id = customer.place(&world.item(1, 700), 1, "pm_card_visa");
    customer.ends(&id, "CONFIRMED");
    let path = format!("/api/v1/orders/{id}/timeline");
    let timeline = || {
        customer
            .get(&path)
            .expect(200, "reading a timeline")
            .unwrap()
    };
    let before = timeline();
    let asked = |dry_run| Migrate {
        to: Some(2),
        rate: 1000,
        dry_run,
        ..Migrate::default()
    };
    // Rows of an older release, if the stack has any.
    migrated(world, "orders", &asked(false));
    make_old(world, &id, before["items"].as_array().unwrap());
    assert_eq!(timeline(), before);

    for (dry_run, expected) in [(true, 1), (false, 1), (true, 0)] {
        let report = migrated(world, "orders", &asked(dry_run));
        assert_eq!(report["migrations"][0]["changed"], expected, "{report}");
    }
    assert_eq!(timeline(), before);
    let unknown = Migrate {
        to: Some(9),
        ..asked(false)
    };
    let prefix = &world.stack.prefix;
    let error = migrate::migrate(&world.aws, prefix, "orders", &unknown, &mut |_| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("deploy a release that writes 9 first"),
        "{error}"
    );

    let listed = migrate::list(&world.aws, prefix).unwrap();
    let names: Vec<&str> = listed
        .iter()
        .map(|one| one["service"].as_str().unwrap())
        .collect();
    assert_eq!(names, stored());
    // The rows about migrations are no orders.
    let audit = audit::take(&world.aws, prefix).unwrap();
    assert!(audit.verdict().is_ok(), "{}", audit.report());
}

/// The services with a table.
fn stored() -> Vec<&'static str> {
    let services = test_support::template_config::services().iter();
    let stored = services.filter(|service| service.table.is_some());
    stored.map(|service| service.name.as_str()).collect()
}

#[test]
fn every_deployed_service_admits_the_same_release() {
    let world = world();
    let project = Project::find().unwrap();
    for service in stored() {
        let answer = migrate::check(&world.aws, &world.stack.prefix, &project, service).unwrap();
        assert!(answer.contains("may be deployed"), "{answer}");
    }
}
