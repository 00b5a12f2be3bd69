//! A customer who never pays sends six requests at once and ignores every `Retry-After`. Beside
//! them, twenty-five customers each buy one unit.

use std::sync::{Arc, Mutex};

use aws_lambda_events::event::sqs::SqsMessage;
use futures_util::future::join_all;
use orders::domain::{OrderId, UserId};
use serde_json::{Value, json};
use simulation::clock::Millis;
use simulation::fault_profile::{FaultKind, FaultProfile};
use simulation::participants::Queue;
use simulation::pending_calls::PendingCalls;
use simulation::run::on_a_clock_of_its_own;
use simulation::system::System;
use uuid::Uuid;

const THREADS: usize = 6;
const HONEST: usize = 25;
const PRICE: i64 = 700;
const SKU: &str = "SKU-0";

/// The delivery time of a message.
const LATENCY: Millis = 100;
/// The time between two requests of one thread, and between two honest orders.
const PAUSE: Millis = 50;
const LASTS: Millis = 1_500;

const ATTACKER: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0bad);

/// A attack to reserve stock without paying.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attack {
    Declined,
    /// The customer expects another total.
    ExpectsAnotherTotal,
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
        let pending = PendingCalls::default();
        pending.open();
        let profile = Arc::new(Mutex::new(FaultProfile::new(seed, FaultKind::ALL)));
        let system = System::new(seed, &pending, &profile);
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

    /// Advances the time by ten milliseconds and delivers the messages that arrived.
    async fn pass(&mut self) {
        self.system.clock.advance(10).await;
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
async fn send_attack(system: &System, key: &str, attack: Attack, units: i64) {
    let body = match attack {
        Attack::Declined => body(units, "pm_card_chargeDeclined"),
        Attack::Cancelled => body(units, "pm_card_visa"),
        Attack::ExpectsAnotherTotal => {
            let mut body = body(units, "pm_card_visa");
            body["expected_total"] = json!({"amount": PRICE * units + 1, "currency": "USD"});
            body
        }
    };
    let placed = system.place(ATTACKER, key, &body.to_string()).await;
    if placed.status == 202 && attack == Attack::Cancelled {
        let order = OrderId::of_key(UserId(ATTACKER), key).0;
        let cancelled = system.cancel(ATTACKER, order).await;
        assert_eq!(cancelled.status, 202, "{:?}", cancelled.body);
    }
}

#[test]
fn an_attacker_who_never_pays_blocks_no_honest_order() {
    let attacks_to_try = [
        (Attack::Declined, 1),
        (Attack::Declined, 5),
        (Attack::ExpectsAnotherTotal, 2),
        (Attack::Cancelled, 2),
    ];
    for (attack, units) in attacks_to_try {
        // All six may be accepted once, before any of them counts as unpaid.
        let stock = HONEST as i64 + THREADS as i64 * units;
        on_a_clock_of_its_own(async {
            let mut shop = Shop::new(stock, 1).await;
            let mut requests = 0;
            while shop.now() < LASTS {
                if shop.now() % PAUSE == 0 {
                    let keys: Vec<String> = (0..THREADS)
                        .map(|thread| format!("{requests}-{thread}"))
                        .collect();
                    let attacks = keys
                        .iter()
                        .map(|key| send_attack(&shop.system, key, attack, units));
                    join_all(attacks).await;
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
                "{attack:?}, {units} units: {} of {HONEST} honest orders failed: {failures:?}; the \
                     attack placed {taken} orders",
                failures.len()
            );
            // Only the first requests, of the hundreds that were sent.
            assert!(taken <= 2 * THREADS, "{attack:?}, {units} units: {taken}");
        });
    }
}
