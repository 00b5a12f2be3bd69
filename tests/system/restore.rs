//! Backups under traffic, and back to one of them after rows are lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use ops::audit;
use ops::restore::{Installation, Options, Pace};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Configured, Customer, World, eventually, order_body, world};

#[test]
fn a_backup_under_traffic_restores_to_a_system_that_balances() {
    const CUSTOMERS: usize = 4;
    // A customer's most orders, so that the test ends if the backup fails.
    const MOST: usize = 200;
    let world = world();
    let _alone = world.alone();
    // Messages are purged, so each unfinished order waits for its deadline.
    let functions = ["orders-place", "orders-replies", "orders-sweep"];
    let _soon = Configured::new(world, &functions, "ORDERS_STEP_TIMEOUT_SECONDS", "5");
    let sku = world.item(1_000, 700);
    let customers: Vec<Customer> = (0..CUSTOMERS).map(|_| Customer::new()).collect();
    let first = customers[0].place(&sku, 1, "pm_card_visa");
    customers[0].ends(&first, "CONFIRMED");
    let aws = &world.aws;
    let tags = json!([{"Key": "team", "Value": "shop"}]);
    let arn = table(world, "payments")["TableArn"].clone();
    call(
        world,
        "TagResource",
        json!({"ResourceArn": arn, "Tags": tags}),
    );
    protect(world, true);
    // The emulator does not take these from the templates.
    let users = json!({"TableName": world.stack.name("users")});
    let with = |name: &str, value: Value| {
        let mut params = users.clone();
        params[name] = value;
        params
    };
    let expiry = json!({"Enabled": true, "AttributeName": "expires_at"});
    call(
        world,
        "UpdateTimeToLive",
        with("TimeToLiveSpecification", expiry),
    );
    let recovery = json!({"PointInTimeRecoveryEnabled": true});
    let recovery = with("PointInTimeRecoverySpecification", recovery);
    call(world, "UpdateContinuousBackups", recovery);
    let settings = ["users", "orders", "inventory", "payments"].map(|name| settings(world, name));

    let installation = || Installation::of(aws, &world.stack.prefix, Pace::LOCAL).unwrap();
    let (is_over, accepted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (backup, kept, all) = std::thread::scope(|scope| {
        let (sku, is_over, accepted) = (&sku, &is_over, &accepted);
        let reach = |count: usize| {
            eventually("customers place orders", || {
                (accepted.load(Ordering::Relaxed) >= count).then_some(())
            });
        };
        let placing: Vec<_> = customers
            .iter()
            .map(|customer| {
                scope.spawn(move || {
                    let mut placed = Vec::new();
                    while !is_over.load(Ordering::Relaxed) && placed.len() < MOST {
                        placed.push((Timestamp::now(), place(customer, sku)));
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    placed
                })
            })
            .collect();
        // One of the customers is then in its third order or later.
        reach(2 * CUSTOMERS + 1);
        let begun = Timestamp::now();
        let backup = installation().back_up(begun).unwrap();
        reach(accepted.load(Ordering::Relaxed) + 1);
        is_over.store(true, Ordering::Relaxed);
        let mut all = 0;
        let mut kept = Vec::new();
        for (customer, placing) in customers.iter().zip(placing) {
            let placed = placing.join().unwrap();
            all += placed.len();
            // A thread was in its next order when the backup began.
            let before = placed.windows(2).filter(|pair| pair[1].0 < begun);
            kept.extend(before.map(|pair| (customer, pair[0].1.clone())));
        }
        (backup, kept, all)
    });
    assert!(
        !kept.is_empty() && kept.len() < all,
        "{} of {all} orders",
        kept.len()
    );

    for (table, sk) in [("inventory", "RESERVATION"), ("payments", "PAYMENT")] {
        let key = json!({"pk": {"S": format!("ORDER#{first}")}, "sk": {"S": sk}});
        let params = json!({"TableName": world.stack.name(table), "Key": key});
        call(world, "DeleteItem", params);
    }
    let broken = audit::take(aws, &world.stack.prefix).unwrap();
    assert!(broken.verdict().unwrap_err().to_string().contains(&first));

    let options = Options {
        from: Some(backup.clone()),
        ..Options::default()
    };
    let restored = installation().restore(&options, Timestamp::now()).unwrap();
    assert_eq!(restored.backup, backup);
    let names: Vec<String> = installation()
        .backups()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert!(names.contains(&restored.safety), "{names:?}");
    for (customer, order) in &kept {
        eventually(&format!("{order} is confirmed"), || {
            world.sweep();
            (customer.order(order)["status"] == "CONFIRMED").then_some(())
        });
    }
    let after =
        ["users", "orders", "inventory", "payments"].map(|name| self::settings(world, name));
    assert_eq!(after, settings);
    protect(world, false);
    eventually("everything balances", || {
        world.sweep();
        let audit = audit::take(aws, &world.stack.prefix).unwrap();
        audit.verdict().is_ok().then_some(())
    });
    let customer = Customer::new();
    let order = customer.place(&sku, 1, "pm_card_visa");
    customer.ends(&order, "CONFIRMED");

    // The emulator ignores the moment, so nothing is lost; the way is the same.
    let options = Options {
        to: Some(Timestamp::now()),
        ..Options::default()
    };
    installation().restore(&options, Timestamp::now()).unwrap();
    assert_eq!(customer.order(&order)["status"], "CONFIRMED");
}

/// The API refuses while the functions are stopped.
fn place(customer: &Customer, sku: &str) -> String {
    let key = Uuid::new_v4().to_string();
    let body = order_body(sku, 1, "pm_card_visa");
    eventually("an order is accepted", || {
        let answer = customer.try_place(Some(&key), &body);
        (answer.status == 202).then(|| answer.value()["id"].as_str().unwrap().to_owned())
    })
}

fn call(world: &World, operation: &str, params: Value) -> Value {
    world.aws.call("dynamodb", operation, params).unwrap()
}

fn table(world: &World, name: &str) -> Value {
    let params = json!({"TableName": world.stack.name(name)});
    call(world, "DescribeTable", params)["Table"].take()
}

fn protect(world: &World, is_protected: bool) {
    let params = json!({"TableName": world.stack.name("orders"),
                        "DeletionProtectionEnabled": is_protected});
    call(world, "UpdateTable", params);
}

/// The settings that a restore from a backup drops.
fn settings(world: &World, name: &str) -> Value {
    let params = json!({"TableName": world.stack.name(name)});
    let table = table(world, name);
    let recovery = call(world, "DescribeContinuousBackups", params.clone());
    let recovery = &recovery["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
    let arn = json!({"ResourceArn": table["TableArn"]});
    let mut tags = call(world, "ListTagsOfResource", arn)["Tags"].take();
    // Only CloudFormation sets its own.
    let is_own = |tag: &Value| !tag["Key"].as_str().unwrap().starts_with("aws:");
    tags.as_array_mut().unwrap().retain(is_own);
    json!({
        "indexes": table["GlobalSecondaryIndexes"].as_array().map(Vec::len),
        "protected": table["DeletionProtectionEnabled"],
        "recovery": recovery["PointInTimeRecoveryStatus"],
        "expiry": call(world, "DescribeTimeToLive", params)["TimeToLiveDescription"],
        "tags": tags,
    })
}
