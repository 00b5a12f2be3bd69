//! Outages of one part of the system.

use orders::domain::Participant;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Customer, World, eventually, first_step_at, order_body, world};

/// A function that cannot start, until this is dropped: one of its variables is taken away.
pub struct Broken<'w> {
    world: &'w World,
    function: String,
    variables: Value,
}

impl<'w> Broken<'w> {
    pub fn new(world: &'w World, function: &str, without: &str) -> Self {
        let function = world.stack.name(function);
        let configuration = world
            .aws
            .call(
                "lambda",
                "GetFunctionConfiguration",
                json!({"FunctionName": function}),
            )
            .unwrap();
        let variables = configuration["Environment"]["Variables"].clone();
        let mut fewer = variables.clone();
        let taken = fewer.as_object_mut().unwrap().remove(without);
        assert!(taken.is_some(), "{function} has no {without}");
        let broken = Self {
            world,
            function,
            variables,
        };
        world.configure(&broken.function, &fewer);
        broken
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        self.world.configure(&self.function, &self.variables);
    }
}

/// A queue's trigger that is off, until this is dropped.
pub struct Paused<'w> {
    world: &'w World,
    function: &'static str,
}

impl<'w> Paused<'w> {
    pub fn new(world: &'w World, function: &'static str) -> Self {
        world.set_trigger(function, false);
        Self { world, function }
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.world.set_trigger(self.function, true);
    }
}

fn set_status(world: &World, user_id: &str, status: &str) {
    world
        .aws
        .call(
            "dynamodb",
            "UpdateItem",
            json!({
                "TableName": world.stack.name("users"),
                "Key": {"pk": {"S": format!("USER#{user_id}")}, "sk": {"S": "USER"}},
                "UpdateExpression": "SET #status = :status",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {":status": {"S": status}},
            }),
        )
        .unwrap();
}

#[test]
fn orders_are_taken_and_carried_out_while_users_cannot_be_asked() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let key = Uuid::new_v4().to_string();
    let body = order_body(&sku, 1, "pm_card_visa");
    let id = {
        let _rest_is_down = Broken::new(world, "users-get", "USERS_TABLE");
        let placed = customer
            .try_place(Some(&key), &body)
            .expect(202, "placing")
            .unwrap();
        let id = placed["id"].as_str().unwrap().to_owned();
        customer.ends(&id, "CONFIRMED");
        assert_eq!(
            customer.events(&id)[..4],
            [
                "order_placed",
                "verify_user_requested",
                "user_verified",
                "reserve_stock_requested",
            ]
        );
        id
    };
    // Deactivated since: what was acknowledged is still answered with itself, anything new refused.
    set_status(world, &customer.id, "deactivated");
    eventually("users says no", || {
        (customer
            .try_place(None, &order_body("none", 1, "pm_card_visa"))
            .status
            == 403)
            .then_some(())
    });
    let again = customer.try_place(Some(&key), &body);
    assert!(matches!(again.status, 200 | 202), "{}", again.body);
    assert_eq!(again.value()["id"], id.as_str());
    let other = customer.try_place(Some(&key), &order_body(&sku, 2, "pm_card_visa"));
    assert_eq!(other.status, 422, "{}", other.body);
}

#[test]
fn orders_wait_for_users_and_a_refused_user_is_rejected() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let (customer, refused) = (Customer::new(), Customer::new());
    let (id, never) = {
        let _rest_is_down = Broken::new(world, "users-get", "USERS_TABLE");
        let _queue_is_down = Paused::new(world, "users-verify");
        let id = customer.place(&sku, 1, "pm_card_visa");
        let never = refused.place(&sku, 1, "pm_card_visa");
        let cancelled = customer.place(&sku, 1, "pm_card_visa");
        assert_eq!(customer.order(&id)["status"], "PENDING");
        assert_eq!(customer.cancel(&cancelled).value()["status"], "CANCELLED");
        set_status(world, &refused.id, "deactivated");
        (id, never)
    };
    customer.ends(&id, "CONFIRMED");
    let order = refused.ends(&never, "REJECTED");
    assert_eq!(order["failure"]["code"], "user_not_allowed");
    assert_eq!(world.stock(&sku), (5, 4, 1));
}

#[test]
fn an_order_cancelled_while_it_is_pending_gives_everything_back() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let asked = first_step_at(Participant::Payments).action.requested;
    let (reserving, charging) = {
        let _payments_are_down = Paused::new(world, "payments-commands");
        let charging = customer.place(&sku, 1, "pm_card_visa");
        eventually("the stock is reserved", || {
            customer
                .events(&charging)
                .contains(&asked.as_str().to_owned())
                .then_some(())
        });
        let _inventory_is_down = Paused::new(world, "inventory-commands");
        let reserving = customer.place(&sku, 1, "pm_card_visa");
        for id in [&reserving, &charging] {
            assert_eq!(customer.order(id)["status"], "PENDING");
            let answer = customer.cancel(id);
            assert_eq!(answer.status, 202, "{}", answer.body);
            assert_eq!(answer.value()["status"], "CANCELLING");
        }
        // Each cancellation sent its compensation after the command it makes up for, at once and
        // not by way of the sweeper.
        eventually("two commands and two compensations wait", || {
            let queues = ["inventory-commands", "payments-commands"];
            let waiting = queues.map(|queue| world.queue_depth(queue));
            (waiting.iter().sum::<u64>() == 4).then_some(())
        });
        (reserving, charging)
    };
    for id in [&reserving, &charging] {
        customer.ends(id, "CANCELLED");
        assert_eq!(world.net_charge(id), 0);
    }
    assert_eq!(world.stock(&sku), (5, 5, 0));
}

/// Deletes the one message of a queue without a consumer.
fn lose_message(world: &World, queue: &str) {
    let url = world.queue_url(queue);
    eventually(&format!("a message in {queue}"), || {
        let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
        let answer = world.aws.call("sqs", "ReceiveMessage", request).unwrap();
        let lost = answer["Messages"][0].as_object()?.clone();
        let request = json!({"QueueUrl": url, "ReceiptHandle": lost["ReceiptHandle"]});
        world.aws.call("sqs", "DeleteMessage", request).unwrap();
        Some(())
    });
}

#[test]
fn the_sweeper_makes_up_for_messages_that_were_lost() {
    let world = world();
    let _alone = world.alone();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let charging = {
        let _payments_are_down = Paused::new(world, "payments-commands");
        let id = customer.place(&sku, 1, "pm_card_visa");
        lose_message(world, "payments-commands");
        id
    };
    let reserving = {
        let _inventory_is_down = Paused::new(world, "inventory-commands");
        let id = customer.place(&sku, 1, "pm_card_visa");
        lose_message(world, "inventory-commands");
        id
    };
    // Not yet known to any instance of orders-place, which therefore has to ask.
    let newcomer = Customer::new();
    let verifying = {
        let _rest_is_down = Broken::new(world, "users-get", "USERS_TABLE");
        let _queue_is_down = Paused::new(world, "users-verify");
        let id = newcomer.place(&sku, 1, "pm_card_visa");
        lose_message(world, "users-commands");
        id
    };
    for (who, id, asked) in [
        (&customer, &charging, Participant::Payments),
        (&customer, &reserving, Participant::Inventory),
        (&newcomer, &verifying, Participant::Users),
    ] {
        let asked = first_step_at(asked).action.requested.as_str();
        eventually(&format!("the sweeper finds order {id}"), || {
            world.sweep();
            (who.order(id)["status"] == "CONFIRMED").then_some(())
        });
        let times = who
            .events(id)
            .iter()
            .filter(|event| *event == asked)
            .count();
        assert!(times >= 2, "{asked} {times} times");
    }
    assert_eq!(world.stock(&sku), (5, 2, 3));
}
