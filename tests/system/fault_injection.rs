//! Orders with injected faults: each ends as docs/fault-injection.md says, and production ignores the
//! faults.

use ops::{audit, dlq, saga};
use serde_json::{Value, json};

use crate::world::{Configured, Customer, World, confirmed_journey, eventually, order_body, world};

const PRICE: i64 = 700;

/// An order with injected faults and stock of its own.
struct Faulty<'w> {
    world: &'w World,
    customer: &'w Customer,
    faults: &'static str,
    sku: String,
    id: String,
}

impl<'w> Faulty<'w> {
    fn place(
        world: &'w World,
        customer: &'w Customer,
        faults: &'static str,
        payment_method: &str,
    ) -> Self {
        let sku = world.item(5, PRICE);
        let answer = customer.try_with_faults(faults, &order_body(&sku, 2, payment_method));
        let order = answer.expect(202, "placing an order with faults").unwrap();
        assert_eq!(order["rehearsal"], faults);
        let id = order["id"].as_str().unwrap().to_owned();
        Self {
            world,
            customer,
            faults,
            sku,
            id,
        }
    }

    fn events(&self) -> Vec<String> {
        self.customer.events(&self.id)
    }

    /// The timeline without repetitions, for how often a step was asked for depends on the machine;
    /// and without the question by queue, which is asked whenever users is slow to answer over REST.
    /// `ends` has checked the event of the faults.
    fn journey(&self) -> Vec<String> {
        let mut events = self.customer.journey(&self.id);
        events.retain(|event| event != "rehearsal_begun");
        events.dedup();
        events
    }

    fn times(&self, event: &str) -> usize {
        self.events().iter().filter(|seen| *seen == event).count()
    }

    /// Waits for this end, with the sweeper's help, and holds the books to it.
    fn ends(&self, status: &str) -> Value {
        let order = eventually(&format!("{} ends", self.faults), || {
            let order = self.customer.order(&self.id);
            if order["status"] == status {
                return Some(order);
            }
            self.world.sweep();
            None
        });
        let (held, charged) = match status {
            "CONFIRMED" => (2, 2 * PRICE),
            _ => (0, 0),
        };
        assert_eq!(
            self.world.stock(&self.sku),
            (5, 5 - held, held),
            "{}",
            self.faults
        );
        assert_eq!(self.world.net_charge(&self.id), charged, "{}", self.faults);
        assert_eq!(self.customer.events(&self.id)[1], "rehearsal_begun");
        order
    }
}

/// Empties the dead-letter queues. They hold commands with the fault `fail` and nothing else.
fn discard_dead_letters(world: &World) {
    for queue in [
        "users-commands-dlq",
        "inventory-commands-dlq",
        "payments-commands-dlq",
    ] {
        let url = world.queue_url(queue);
        eventually(&format!("{queue} is empty"), || {
            let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
            let answer = world.aws.call("sqs", "ReceiveMessage", request).unwrap();
            for message in answer["Messages"].as_array().into_iter().flatten() {
                let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
                assert_eq!(body["fault"], "fail", "{queue} holds {body}");
                let receipt = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
                world.aws.call("sqs", "DeleteMessage", receipt).unwrap();
            }
            (world.queue_depth(queue) == 0).then_some(())
        });
    }
}

#[test]
fn a_delivery_that_fails_once_is_retried() {
    let world = world();
    let _shared = world.shared();
    let customer = Customer::new();
    let place = |faults, method| Faulty::place(world, &customer, faults, method);
    let asked_again = place("verify_user=fail_once", "pm_card_visa");
    let delayed = place(
        "reserve_stock=fail_once, charge_payment=fail_once",
        "pm_card_visa",
    );
    let undone = place("release_stock=fail_once", "pm_card_chargeDeclined");

    asked_again.ends("CONFIRMED");
    assert_eq!(asked_again.journey(), confirmed_journey());
    assert_eq!(asked_again.events()[2], "verify_user_requested");
    delayed.ends("CONFIRMED");
    assert_eq!(delayed.journey(), confirmed_journey());
    let order = undone.ends("REJECTED");
    assert_eq!(order["failure"]["code"], "payment_declined");
    assert_eq!(undone.times("stock_released"), 1);
}

#[test]
fn lost_steps_are_retried_then_given_up_or_parked() {
    let world = world();
    // Alone, because the test runs the sweeper often and reads the dead-letter queues.
    let _alone = world.alone();
    // No customer may have more than five orders open and unpaid.
    let [customer, another] = [(); 2].map(|()| Customer::new());
    let _soon = Configured::new(
        world,
        &[
            "orders-place",
            "orders-replies",
            "orders-cancel",
            "orders-sweep",
        ],
        "ORDERS_STEP_TIMEOUT_SECONDS",
        "1",
    );
    let place = |faults, method| Faulty::place(world, &customer, faults, method);
    let place_another = |faults, method| Faulty::place(world, &another, faults, method);
    let lost_reply = place("charge_payment=lost_reply_once", "pm_card_visa");
    let lost_command = place("reserve_stock=timeout_once", "pm_card_visa");
    let cancelled = place("refund_payment=lost_reply_once", "pm_card_visa");
    let failing = place("charge_payment=fail", "pm_card_visa");
    let unverified = place_another("verify_user=timeout", "pm_card_visa");
    let unreserved = place_another("reserve_stock=timeout", "pm_card_visa");
    let unanswered = place_another("charge_payment=lost_reply", "pm_card_visa");
    let parked = place_another("release_stock=fail", "pm_card_chargeDeclined");

    for (order, asked, answered) in [
        (&lost_reply, "charge_payment_requested", "payment_charged"),
        (&lost_command, "reserve_stock_requested", "stock_reserved"),
    ] {
        order.ends("CONFIRMED");
        assert!(order.times(asked) >= 2, "{:?}", order.events());
        assert_eq!(order.times(answered), 1);
        assert_eq!(order.journey(), confirmed_journey());
    }

    cancelled.ends("CONFIRMED");
    assert_eq!(customer.cancel(&cancelled.id).status, 202);
    cancelled.ends("CANCELLED");
    assert!(cancelled.times("refund_payment_requested") >= 2);
    assert_eq!(cancelled.times("payment_refunded"), 1);

    for (order, asked) in [
        (&failing, "charge_payment_requested"),
        (&unverified, "verify_user_requested"),
        (&unreserved, "reserve_stock_requested"),
        (&unanswered, "charge_payment_requested"),
    ] {
        let rejected = order.ends("REJECTED");
        assert_eq!(rejected["failure"]["code"], "timed_out", "{}", order.faults);
        assert_eq!(order.times(asked), 5, "{:?}", order.events());
        assert_eq!(order.times("step_timed_out"), 1);
    }
    let list = dlq::Action::List(dlq::List::default());
    let listed = dlq::run(&world.aws, &world.stack.prefix, &list).unwrap();
    assert!(listed.contains("ChargePayment"), "{listed}");
    assert!(
        listed.contains("an injected fault makes this step fail"),
        "{listed}"
    );

    let saga = |action| saga::run(&world.aws, &world.stack.prefix, &action).unwrap();
    let told = "injected faults: release_stock=fail";
    eventually("the release is parked", || {
        world.sweep();
        let listed = saga(saga::Action::List(saga::List {
            stuck: true,
            ..saga::List::default()
        }));
        listed
            .split("\n\n")
            .any(|order| {
                order.starts_with(&parked.id) && order.contains(", parked") && order.contains(told)
            })
            .then_some(())
    });
    assert_eq!(
        world.stock(&parked.sku),
        (5, 3, 2),
        "parked, it holds its stock"
    );
    saga(saga::Action::Retry {
        order: parked.id.parse().unwrap(),
    });
    parked.ends("REJECTED");
    let end = parked.events();
    assert_eq!(
        end[end.len() - 4..],
        [
            "retry_requested",
            "release_stock_requested",
            "stock_released",
            "order_rejected"
        ]
    );

    discard_dead_letters(world);
    let audit = audit::take(&world.aws, &world.stack.prefix).unwrap();
    assert!(audit.verdict().is_ok(), "{}", audit.report());
}

#[test]
fn production_refuses_and_ignores_injected_faults() {
    let world = world();
    let _alone = world.alone();
    let customer = Customer::new();
    let sku = world.item(5, PRICE);
    {
        let _production = Configured::new(world, &["orders-place"], "STAGE", "production");
        let body = order_body(&sku, 1, "pm_card_visa");
        let refused = customer.try_with_faults("charge_payment=fail", &body);
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert_eq!(refused.value()["type"], "/problems/fault-switches-refused");
        let listed = customer
            .get("/api/v1/orders")
            .expect(200, "listing")
            .unwrap();
        assert_eq!(listed["items"], json!([]), "no order was taken");
        // Orders without faults are taken.
        let id = customer.place(&sku, 1, "pm_card_visa");
        customer.ends(&id, "CONFIRMED");
    }
    // An order placed in dev with faults, and participants in production.
    let payments = ["payments-commands"];
    let _simulated = Configured::new(world, &payments, "SIMULATOR_IN_PRODUCTION", "true");
    let _production = Configured::new(
        world,
        &["users-verify", "inventory-commands", "payments-commands"],
        "STAGE",
        "production",
    );
    let all = "verify_user=fail, reserve_stock=timeout, charge_payment=fail";
    let ignored = Faulty::place(world, &customer, all, "pm_card_visa");
    ignored.ends("CONFIRMED");
    assert_eq!(ignored.journey(), confirmed_journey());
    let token = customer.place(&sku, 1, "pm_sim_lostReply");
    let rejected = customer.ends(&token, "REJECTED");
    assert_eq!(rejected["failure"]["code"], "payment_declined");
    let said = customer
        .get(&format!("/api/v1/orders/{token}/timeline"))
        .expect(200, "reading a timeline")
        .unwrap();
    assert!(
        said.to_string().contains("fault_switches_refused"),
        "{said}"
    );
    assert_eq!(world.stock(&sku), (5, 4, 1));
}
