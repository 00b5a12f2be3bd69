//! The operator's commands after a lasting failure: dead letters, parked
//! orders, books that do not balance.

use ops::audit::{self, Audit};
use ops::{dlq, saga};
use orders::domain::Participant;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::outages::Paused;
use crate::world::{Configured, Customer, World, eventually, first_step_at, world};

fn dlq(world: &World, action: &dlq::Action) -> String {
    dlq::run(&world.aws, &world.stack.prefix, action).unwrap()
}

fn redrive(world: &World, redrive: dlq::Redrive) -> String {
    dlq(world, &dlq::Action::Redrive(redrive))
}

fn listing(stuck: bool) -> saga::Action {
    saga::Action::List(saga::List {
        stuck,
        ..saga::List::default()
    })
}

fn saga(world: &World, action: &saga::Action) -> xtask::error::Result<String> {
    saga::run(&world.aws, &world.stack.prefix, action)
}

fn stuck(world: &World) -> String {
    saga(world, &listing(true)).unwrap()
}

fn audit(world: &World) -> Audit {
    audit::take(&world.aws, &world.stack.prefix).unwrap()
}

fn assert_balanced(world: &World) -> Audit {
    let audit = audit(world);
    assert!(audit.verdict().is_ok(), "{}", audit.report());
    audit
}

/// Sets one attribute of a row behind its service's back, and gives what it was.
fn set(world: &World, table: &str, pk: &str, sk: &str, attribute: &str, value: &str) -> String {
    let answer = world
        .aws
        .call(
            "dynamodb",
            "UpdateItem",
            json!({
                "TableName": world.stack.name(table),
                "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
                "UpdateExpression": "SET #attribute = :value",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeNames": {"#attribute": attribute},
                "ExpressionAttributeValues": {":value": {"S": value}},
                "ReturnValues": "UPDATED_OLD",
            }),
        )
        .unwrap();
    answer["Attributes"][attribute]["S"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A number that each run of the sweeper has logged for its metric.
fn logged_by_sweeper(world: &World, field: &str) -> Vec<u64> {
    let group = format!("/aws/lambda/{}", world.stack.name("orders-sweep"));
    let request = json!({"logGroupName": group, "filterPattern": "swept"});
    let page = world.aws.call("logs", "FilterLogEvents", request).unwrap();
    let lines = page["events"].as_array().unwrap().iter();
    lines
        .filter_map(|event| serde_json::from_str::<Value>(event["message"].as_str()?).ok())
        .filter(|line| line["event"] == "swept")
        .map(|line| {
            let number = line[field].as_u64();
            number.unwrap_or_else(|| panic!("no {field} in {line}"))
        })
        .collect()
}

fn event_seen(customer: &Customer, id: &str, event: &str) {
    eventually(&format!("{event} of {id}"), || {
        let events = customer.events(id);
        events.iter().any(|seen| seen == event).then_some(())
    });
}

/// The id that is printed beneath the group of this error.
fn id_beneath(listed: &str, error: &str) -> String {
    let mut lines = listed.lines().skip_while(|line| !line.contains(error));
    lines.next().unwrap_or_else(|| panic!("{error}: {listed}"));
    let letter = lines.next().unwrap().split_whitespace().next();
    letter
        .unwrap_or_else(|| panic!("no id: {listed}"))
        .to_owned()
}

#[test]
fn a_dead_letter_shows_its_error_and_redrives_after_the_mend() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let asked = &first_step_at(Participant::Payments).action;
    let answer = format!("{:?}", asked.done);
    let (id, pk, before) = {
        let _payments_are_down = Paused::new(world, "payments-commands");
        let id = customer.place(&sku, 1, "pm_card_visa");
        event_seen(&customer, &id, asked.requested.as_str());
        let pk = format!("ORDER#{id}");
        let before = set(world, "orders", &pk, "ORDER", "state", "dreaming");
        (id, pk, before)
    };
    // The reply finds an order that cannot be read, five times.
    eventually("the reply is in the dead-letter queue", || {
        (world.queue_depth("orders-replies-dlq") == 1).then_some(())
    });
    let listed = dlq(world, &dlq::Action::List(dlq::List::default()));
    assert!(listed.contains("orders-replies-dlq  1 message"), "{listed}");
    assert!(listed.contains(&format!("1 x {answer}")), "{listed}");
    let letter = id_beneath(&listed, "invalid state");
    let shown = dlq(
        world,
        &dlq::Action::Show {
            id: letter.parse().unwrap(),
            raw: false,
        },
    );
    for expected in [
        letter.as_str(),
        "invalid state",
        "unreadable",
        answer.as_str(),
        &id,
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    // Looking has taken nothing away.
    assert_eq!(world.queue_depth("orders-replies-dlq"), 1);
    let in_flight = saga(world, &listing(false)).unwrap();
    assert!(
        in_flight.contains(&format!("{id}  cannot be read")),
        "{in_flight}"
    );
    let error = audit(world).verdict().unwrap_err().to_string();
    assert!(error.contains(&id), "{error}");
    // The sweeper goes on with other orders and reports how many it could not read.
    let swept = world.sweep();
    let payload: Value = serde_json::from_str(swept["Payload"].as_str().unwrap()).unwrap();
    assert!(payload["unreadable"].is_number(), "{payload}");

    set(world, "orders", &pk, "ORDER", "state", &before);
    let dry = redrive(
        world,
        dlq::Redrive {
            dry_run: true,
            ..dlq::Redrive::default()
        },
    );
    assert_eq!(dry, "orders-replies: 1 message would go back");
    assert_eq!(world.queue_depth("orders-replies-dlq"), 1);
    let sent = redrive(world, dlq::Redrive::default());
    assert_eq!(sent, "orders-replies: 1 message went back");
    customer.ends(&id, "CONFIRMED");
    assert_eq!(
        redrive(world, dlq::Redrive::default()),
        "there is nothing to send back"
    );
    assert_eq!(
        dlq(world, &dlq::Action::List(dlq::List::default())),
        "nothing has failed for good"
    );
    assert_eq!((world.stock(&sku), world.net_charge(&id)), ((5, 4, 1), 700));
    assert_balanced(world);
}

#[test]
fn an_unreadable_letter_redrives_only_by_id_and_unchanged() {
    let world = world();
    let _alone = world.alone();
    let (queue, dead) = ("users-commands", "users-commands-dlq");
    let origin = format!("shop-{}", Uuid::new_v4());
    world
        .aws
        .call(
            "sqs",
            "SendMessage",
            json!({
                "QueueUrl": world.queue_url(queue),
                "MessageBody": "not JSON",
                "MessageAttributes": {
                    "origin": {"DataType": "String", "StringValue": origin},
                    "raw": {"DataType": "Binary", "BinaryValue": "/wD+"},
                },
            }),
        )
        .unwrap();
    let arrives = || {
        eventually("the poison is in the dead-letter queue", || {
            (world.queue_depth(dead) == 1 && world.queue_depth(queue) == 0).then_some(())
        });
        id_beneath(
            &dlq(world, &dlq::Action::List(dlq::List::default())),
            "not an envelope",
        )
    };
    let first = arrives();
    let left = redrive(world, dlq::Redrive::default());
    assert!(
        left.starts_with(&format!(
            "{queue}: 0 messages went back, 1 skipped that no function can parse"
        )),
        "{left}"
    );

    let only = dlq::Redrive {
        id: Some(first.parse().unwrap()),
        ..dlq::Redrive::default()
    };
    let sent = redrive(world, only);
    let went_back = format!("{queue}: 1 message went back\n");
    assert!(sent.starts_with(&went_back), "{sent}");
    let second = arrives();
    assert_ne!(first, second);
    let id = second.parse().unwrap();
    let shown = dlq(world, &dlq::Action::Show { id, raw: false });
    for expected in ["not JSON", &origin, "/wD+"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }

    let dropped = dlq(
        world,
        &dlq::Action::Drop {
            id: Some(id),
            order: None,
        },
    );
    assert!(dropped.contains(&second), "{dropped}");
    assert_eq!(world.queue_depth(dead), 0);
    let gone = dlq::Action::Show { id, raw: false };
    let error = dlq::run(&world.aws, &world.stack.prefix, &gone).unwrap_err();
    assert!(error.to_string().contains("was not found"), "{error}");
}

#[test]
fn a_parked_order_is_retried_or_abandoned_and_audited() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let retried = customer.place(&sku, 1, "pm_card_visa");
    let abandoned = customer.place(&sku, 2, "pm_card_visa");
    for id in [&retried, &abandoned] {
        customer.ends(id, "CONFIRMED");
    }
    assert_balanced(world);
    let action = |id: &str, reason: Option<&str>| {
        let order = id.parse().unwrap();
        match reason {
            None => saga::Action::Retry { order },
            Some(reason) => saga::Action::Abandon {
                order,
                step: "refund".to_owned(),
                reason: reason.to_owned(),
            },
        }
    };
    // Of an order that is not undoing anything there is nothing to abandon.
    let refused = saga(world, &action(&retried, Some("too early"))).unwrap_err();
    assert!(refused.to_string().contains("only a parked"), "{refused}");
    {
        let _payments_are_down = Paused::new(world, "payments-commands");
        let _soon = Configured::new(
            world,
            &["orders-cancel", "orders-sweep"],
            "ORDERS_STEP_TIMEOUT_SECONDS",
            "1",
        );
        for id in [&retried, &abandoned] {
            assert_eq!(customer.cancel(id).status, 202);
        }
        eventually("both orders are parked", || {
            world.sweep();
            let listed = stuck(world);
            [&retried, &abandoned]
                .iter()
                .all(|id| {
                    listed
                        .split("\n\n")
                        .any(|order| order.starts_with(id.as_str()) && order.contains(", parked"))
                })
                .then_some(())
        });
        // The metric of the alarm.
        eventually("the sweeper's log counts two parked orders", || {
            world.sweep();
            logged_by_sweeper(world, "parked_now")
                .contains(&2)
                .then_some(())
        });
        let listed = stuck(world);
        assert!(listed.contains("waits for RefundPayment"), "{listed}");
        assert!(
            listed.contains(&format!("saga abandon {abandoned} refund --reason TEXT")),
            "{listed}"
        );
        let error = audit(world).verdict().unwrap_err().to_string();
        for id in [&retried, &abandoned] {
            assert!(error.contains(id.as_str()), "{error}");
        }
        // The commands that got no answer are lost, too.
        let url = world.queue_url("payments-commands");
        let purge = json!({"QueueUrl": url});
        world.aws.call("sqs", "PurgeQueue", purge).unwrap();

        let told = saga(world, &action(&abandoned, Some("paid back by hand"))).unwrap();
        assert!(told.contains("abandoned"), "{told}");
        customer.is_cancelled(&abandoned);
        // Again: it has ended, and nothing else is abandoned.
        let again = saga(world, &action(&abandoned, Some("paid back by hand"))).unwrap();
        assert!(again.contains("has ended: CANCELLED"), "{again}");
    }
    for _ in 0..2 {
        let told = saga(world, &action(&retried, None)).unwrap();
        assert!(told.contains(&retried), "{told}");
    }
    customer.is_cancelled(&retried);
    assert_eq!(world.net_charge(&retried), 0);
    assert_eq!(world.stock(&sku), (5, 5, 0));
    let listed = stuck(world);
    assert!(
        !listed.contains(&retried) && !listed.contains(&abandoned),
        "{listed}"
    );

    // The customer sees that it happened; who did it and why is the operators'.
    let timeline = customer.get(&format!("/api/v1/orders/{abandoned}/timeline"));
    let timeline = timeline.expect(200, "reading a timeline").unwrap();
    let entries = timeline["items"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry["event"] == "refund_abandoned");
    assert!(entry.unwrap().get("detail").is_none(), "{timeline}");

    let audit = assert_balanced(world);
    let report = audit.report();
    let written_off = format!("order {abandoned}: 14.00 USD, by root: paid back by hand");
    assert!(report.contains(&written_off), "{report}");
}

#[test]
fn an_audit_names_the_order_whose_rows_were_edited() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let id = customer.place(&sku, 2, "pm_card_visa");
    customer.ends(&id, "CONFIRMED");
    assert_balanced(world);

    let pk = format!("ORDER#{id}");
    let before = set(world, "inventory", &pk, "RESERVATION", "status", "RELEASED");
    let found = audit(world);
    let error = found.verdict().unwrap_err().to_string();
    assert!(error.contains(&format!("order {id}")), "{error}");
    assert!(error.contains(&format!("item {sku}")), "{error}");
    let report = found.report();
    assert!(
        report.contains("it is confirmed and holds no stock"),
        "{report}"
    );
    set(world, "inventory", &pk, "RESERVATION", "status", &before);

    let pk = format!("ORDER#{id}");
    let before = set(world, "payments", &pk, "PAYMENT", "status", "DECLINED");
    let report = audit(world).report();
    assert!(
        report.contains(&format!("order {id}: its payment is DECLINED")),
        "{report}"
    );
    set(world, "payments", &pk, "PAYMENT", "status", &before);
    assert_balanced(world);
}
