//! One customer who never pays, in six threads that ignore every `Retry-After`, beside twenty-five
//! customers who each buy one unit.

use std::sync::{Arc, Mutex};

use aws_lambda_events::event::sqs::SqsMessage;
use futures_util::future::join_all;
use orders::domain::{OrderId, UserId};
use serde_json::{Value, json};
use simulation::chance::{Trouble, Weather};
use simulation::clock::Millis;
use simulation::gate::Gate;
use simulation::participants::Queue;
use simulation::run::on_a_clock_of_its_own;
use simulation::system::System;
use uuid::Uuid;

const THREADS: usize = 6;
const HONEST: usize = 25;
const PRICE: i64 = 700;
const SKU: &str = "SKU-0";

/// How long a message is on its way.
const LATENCY: Millis = 100;
/// What passes between two requests of one thread, and between two honest orders.
const PAUSE: Millis = 50;
const LASTS: Millis = 1_500;

const ATTACKER: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0bad);

/// How an order takes stock and leaves no money.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Declined,
    /// Another total is expected than it comes to.
    Dearer,
    /// Cancelled before it is charged.
    Cancelled,
}

struct Shop {
    system: System,
    sent: Vec<(Millis, Queue, String)>,
}

impl Shop {
    async fn new(stock: i64, seed: u64) -> Self {
        fastrand::seed(seed);
        let gate = Gate::default();
        gate.open();
        let weather = Arc::new(Mutex::new(Weather::new(seed, Trouble::ALL)));
        let system = System::new(seed, &gate, &weather);
        let customers: Vec<Uuid> = (0..HONEST).map(honest).chain([ATTACKER]).collect();
        system
            .seed(&customers, &[(SKU.to_owned(), PRICE, stock)])
            .await;
        system.aws.interleave(seed);
        Self {
            system,
            sent: Vec::new(),
        }
    }

    fn now(&self) -> Millis {
        self.system.clock.now()
    }

    /// Lets ten milliseconds pass, and delivers what has arrived by then.
    async fn pass(&mut self) {
        self.system.clock.pass(10).await;
        let now = self.now();
        for queue in Queue::ALL {
            let arrived = |(at, to, _): &mut (Millis, Queue, String)| *to == queue && *at <= now;
            let bodies: Vec<_> = self.sent.extract_if(.., arrived).collect();
            for batch in bodies.chunks(10) {
                let messages = batch.iter().enumerate().map(|(number, (_, _, body))| {
                    let mut message = SqsMessage::default();
                    message.message_id = Some(number.to_string());
                    message.body = Some(body.clone());
                    message
                });
                self.system.batch(queue, messages.collect()).await;
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        let at = self.now() + LATENCY;
        for queue in Queue::ALL {
            let messages = self.system.aws.sent_messages(queue.url());
            self.sent.extend(
                messages
                    .into_iter()
                    .map(|message| (at, queue, message.body)),
            );
        }
    }

    fn orders_of(&self, user: Uuid) -> Vec<Value> {
        let mut orders = self.system.aws.dump(&self.system.tables.orders);
        orders.retain(|order| order["user_id"] == json!(user));
        orders
    }
}

fn honest(number: usize) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0001_0000 + number as u128)
}

fn body(units: i64, method: &str) -> Value {
    json!({"lines": [{"sku": SKU, "quantity": units}], "payment_method": method})
}

/// One request of the attack.
async fn strike(system: &System, key: &str, way: Way, units: i64) {
    let body = match way {
        Way::Declined => body(units, "pm_card_chargeDeclined"),
        Way::Cancelled => body(units, "pm_card_visa"),
        Way::Dearer => {
            let mut body = body(units, "pm_card_visa");
            body["expected_total"] = json!({"amount": PRICE * units + 1, "currency": "USD"});
            body
        }
    };
    let placed = system.place(ATTACKER, key, &body.to_string()).await;
    if placed.status == 202 && way == Way::Cancelled {
        let order = OrderId::of_key(UserId(ATTACKER), key).0;
        let cancelled = system.cancel(ATTACKER, order).await;
        assert_eq!(cancelled.status, 202, "{:?}", cancelled.body);
    }
}

#[test]
fn a_customer_who_never_pays_takes_no_honest_order_its_stock() {
    let ways = [
        (Way::Declined, 1),
        (Way::Declined, 5),
        (Way::Dearer, 2),
        (Way::Cancelled, 2),
    ];
    for (way, units) in ways {
        // All six may be let in once, before any of them is seen.
        let stock = HONEST as i64 + THREADS as i64 * units;
        on_a_clock_of_its_own(async {
            let mut shop = Shop::new(stock, 1).await;
            let mut requests = 0;
            while shop.now() < LASTS {
                if shop.now() % PAUSE == 0 {
                    let keys: Vec<String> = (0..THREADS)
                        .map(|thread| format!("{requests}-{thread}"))
                        .collect();
                    let strikes = keys.iter().map(|key| strike(&shop.system, key, way, units));
                    join_all(strikes).await;
                    if let Some(user) = (requests < HONEST).then(|| honest(requests)) {
                        let body = body(1, "pm_card_visa").to_string();
                        let placed = shop.system.place(user, "one", &body).await;
                        assert_eq!(placed.status, 202, "{:?}", placed.body);
                    }
                    requests += 1;
                    shop.collect();
                }
                shop.pass().await;
            }
            while !shop.sent.is_empty() {
                shop.pass().await;
            }
            let failures: Vec<Value> = (0..HONEST)
                .flat_map(|number| shop.orders_of(honest(number)))
                .filter(|order| order["state"] != "confirmed")
                .map(|order| order["failure"]["code"].clone())
                .collect();
            let taken = shop.orders_of(ATTACKER).len();
            assert!(
                failures.is_empty(),
                "{way:?}, {units} units: {} of {HONEST} honest orders failed: {failures:?}; the \
                     attack placed {taken} orders",
                failures.len()
            );
            // Those of the first moment and no more, of the hundreds that were asked for.
            assert!(taken <= 2 * THREADS, "{way:?}, {units} units: {taken}");
        });
    }
}
