//! Chaos: functions are killed, the emulator is restarted, users fails and queues are poisoned
//! while fifty clients order. Nothing acknowledged is lost, and the books balance afterwards.
//!
//! The seed decides what is ordered and what is done to the system when; how the two meet is the
//! machine's business. `WAYBILL_CHAOS_SEED` repeats a plan.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;
use xtask::audit;
use xtask::dlq::{self, Redrive};
use xtask::emulator::{self, Condition};
use xtask::process;
use xtask::project::Project;
use xtask::state::Home;

use crate::outages::Broken;
use crate::world::{Customer, World, eventually, world};

const CLIENTS: usize = 50;
const ORDERS_EACH: usize = 5;
const PRICE: i64 = 700;

/// How long the clients are disturbed.
const CHAOS: Duration = Duration::from_secs(45);

/// How long the system may take afterwards: messages whose function was killed come back after the
/// queues' visibility timeout of 90 s.
const RECOVERY: Duration = Duration::from_secs(240);

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn pick<'a, T>(&mut self, options: &'a [T]) -> &'a T {
        &options[self.below(options.len() as u64) as usize]
    }
}

/// What is done to the system.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill,
    Poison(&'static str),
    UsersFails(Duration),
    Restart,
}

/// The blows in their order, each with the pause before it.
fn plan(dice: &mut Dice) -> Vec<(Duration, Blow)> {
    let mut blows = Vec::new();
    let mut at = Duration::ZERO;
    while at < CHAOS {
        let pause = Duration::from_millis(200 + dice.below(600));
        at += pause;
        blows.push((pause, Blow::Kill));
    }
    // Each of the others somewhere between the kills, the restart in the middle.
    let somewhere = |blows: &[_], dice: &mut Dice| dice.below(blows.len() as u64) as usize;
    for queue in QUEUES {
        let place = somewhere(&blows, dice);
        blows.insert(place, (Duration::ZERO, Blow::Poison(queue)));
    }
    let place = somewhere(&blows, dice);
    let outage = Blow::UsersFails(Duration::from_secs(5));
    blows.insert(place, (Duration::ZERO, outage));
    let middle = blows.len() / 2;
    blows.insert(middle, (Duration::ZERO, Blow::Restart));
    blows
}

const QUEUES: [&str; 4] = [
    "users-commands",
    "inventory-commands",
    "payments-commands",
    "orders-replies",
];

const POISON: &str = "poison: nobody can read this";

/// What came of it all.
#[derive(Default)]
struct Tally {
    kills: AtomicUsize,
    restarts: AtomicUsize,
    poison: AtomicUsize,
    retried: Mutex<BTreeMap<String, usize>>,
}

impl Tally {
    fn retry(&self, why: String) {
        *self.retried.lock().unwrap().entry(why).or_default() += 1;
    }
}

struct Order {
    id: String,
    cancelled: bool,
}

#[test]
fn nothing_acknowledged_is_lost_while_functions_are_killed_and_the_emulator_restarts() {
    let world = world();
    let _alone = world.alone();
    let seed = std::env::var("WAYBILL_CHAOS_SEED").ok();
    let seed = seed
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| Uuid::new_v4().as_u128() as u64);
    println!("chaos: WAYBILL_CHAOS_SEED={seed}");

    // One that runs out and one that does not.
    let skus = [
        (world.item(60, PRICE), 60),
        (world.item(10_000, PRICE), 10_000),
    ];
    let customers: Vec<Customer> = (0..5).map(|_| Customer::new()).collect();
    let (tally, placed) = (Tally::default(), Mutex::new(Vec::new()));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (customer, skus) = (&customers[number % customers.len()], &skus);
                let (tally, placed) = (&tally, &placed);
                scope.spawn(move || {
                    let mut dice = Dice(seed ^ (number as u64 + 1) << 32);
                    for _ in 0..ORDERS_EACH {
                        let sku = &dice.pick(skus).0;
                        let order = be_a_customer(customer, sku, tally, &mut dice);
                        placed.lock().unwrap().push(order);
                        std::thread::sleep(Duration::from_millis(
                            dice.below(CHAOS.as_millis() as u64 / ORDERS_EACH as u64),
                        ));
                    }
                })
            })
            .collect();
        let storm = scope.spawn(|| {
            let mut dice = Dice(seed);
            for (pause, blow) in plan(&mut dice) {
                std::thread::sleep(pause);
                strike(world, blow, &tally, &mut dice);
            }
        });
        storm.join().unwrap();
        for client in clients {
            client.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    let orders = placed.into_inner().unwrap();
    assert_eq!(orders.len(), CLIENTS * ORDERS_EACH);

    let endings = come_to_rest(world, &orders);
    println!("{:>8}  orders, all acknowledged and ended", orders.len());
    for (ending, count) in &endings {
        println!("{count:>8}    {ending}");
    }
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    println!("{:>8}  functions killed", count(&tally.kills));
    println!("{:>8}  restarts of the emulator", count(&tally.restarts));
    println!("{:>8}  poisonous messages", count(&tally.poison));
    for (why, count) in tally.retried.lock().unwrap().iter() {
        println!("{count:>8}  calls tried again: {why}");
    }
    assert!(count(&tally.kills) > 10, "hardly anything was killed");
    assert_eq!(count(&tally.restarts), 1);
    assert!(endings.contains_key("CONFIRMED"), "{endings:?}");

    // The books, by the services' own word and by their tables.
    let held: i64 = skus
        .iter()
        .map(|(sku, stocked)| {
            let (now, _, held) = world.stock(sku);
            assert_eq!(now, *stocked, "{sku}");
            held
        })
        .sum();
    assert_eq!(held, endings["CONFIRMED"] as i64, "one unit an order");
    for order in &orders {
        let confirmed = status(world, &order.id) == "CONFIRMED";
        let due = if confirmed { PRICE } else { 0 };
        assert_eq!(world.net_charge(&order.id), due, "{}", order.id);
        assert!(
            !(order.cancelled && confirmed),
            "{} was cancelled",
            order.id
        );
    }
    let audit = audit::take(&world.aws, &world.stack.prefix).unwrap();
    assert!(audit.verdict().is_ok(), "{}", audit.report());
    take_poison(world, count(&tally.poison));
}

/// Orders one unit as a patient client does, and perhaps cancels.
fn be_a_customer(customer: &Customer, sku: &str, tally: &Tally, dice: &mut Dice) -> Order {
    let method = *dice.pick(&[
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_sim_lostReply",
        "pm_sim_slow",
    ]);
    let key = Uuid::new_v4().to_string();
    let body = json!({"lines": [{"sku": sku, "quantity": 1}], "payment_method": method});
    let headers = [("idempotency-key", key.as_str())];
    let answer = insist(customer, "/api/v1/orders", &headers, Some(&body), tally);
    assert_eq!(answer.0, 202, "placing: {}", answer.1);
    let id = answer.1["id"].as_str().unwrap().to_owned();
    let mut cancelled = false;
    if dice.below(4) == 0 {
        std::thread::sleep(Duration::from_millis(dice.below(3_000)));
        let path = format!("/api/v1/orders/{id}/cancel");
        let answer = insist(customer, &path, &[], None, tally);
        match answer.0 {
            202 => cancelled = true,
            409 => {}
            status => panic!("cancelling {id} was answered {status}: {}", answer.1),
        }
    }
    Order { id, cancelled }
}

/// Sends a request until somebody answers it.
fn insist(
    customer: &Customer,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
    tally: &Tally,
) -> (u16, Value) {
    let begun = Instant::now();
    let body = body.map(|body| body.to_string().into_bytes());
    loop {
        let body = body.as_deref();
        let sent = world()
            .http
            .send("POST", path, Some(&customer.token), headers, body);
        match sent {
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                return (answer.status, answer.value());
            }
            Ok(answer) => tally.retry(format!("answered {}", answer.status)),
            Err(_) => tally.retry("no connection".to_owned()),
        }
        assert!(begun.elapsed() < RECOVERY, "{path} is never answered");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn strike(world: &World, blow: Blow, tally: &Tally, dice: &mut Dice) {
    match blow {
        Blow::Kill => {
            let Condition::Running(emulator) = emulator::condition(&home()) else {
                return;
            };
            let functions = emulator.functions(&home());
            if !functions.is_empty() {
                process::signal("KILL", &[*dice.pick(&functions)]);
                tally.kills.fetch_add(1, Ordering::Relaxed);
            }
        }
        Blow::Poison(queue) => {
            let request = json!({"QueueUrl": world.queue_url(queue), "MessageBody": POISON});
            world.aws.call("sqs", "SendMessage", request).unwrap();
            tally.poison.fetch_add(1, Ordering::Relaxed);
        }
        Blow::UsersFails(duration) => {
            let _rest_is_down = Broken::new(world, "users-get", "USERS_TABLE");
            std::thread::sleep(duration);
        }
        Blow::Restart => {
            let Condition::Running(emulator) = emulator::condition(&home()) else {
                panic!("the emulator is gone by itself");
            };
            emulator.stop(&home()).unwrap();
            let project = Project::find().unwrap();
            emulator::start(&project, &home(), emulator.port).unwrap();
            tally.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where the stack under test lives.
fn home() -> Home {
    match std::env::var_os("WAYBILL_STACK") {
        Some(description) => Home::of(&PathBuf::from(description)).unwrap(),
        None => Home::developer(&Project::find().unwrap()),
    }
}

/// Waits until every order has ended and no message is under way, sweeping in between as the
/// schedule would; how many ended how.
fn come_to_rest(world: &World, orders: &[Order]) -> BTreeMap<String, usize> {
    let begun = Instant::now();
    let mut open: Vec<&str> = orders.iter().map(|order| order.id.as_str()).collect();
    loop {
        world.sweep();
        // A killed function's message counts as received; five of them, and it is here.
        let redrive = dlq::Action::Redrive(Redrive {
            queue: None,
            max: None,
            dry_run: false,
            id: None,
            unparseable: false,
        });
        dlq::run(&world.aws, &world.stack.prefix, &redrive).unwrap();
        open.retain(|id| !matches!(&*status(world, id), "CONFIRMED" | "REJECTED" | "CANCELLED"));
        let waiting: u64 = QUEUES.iter().map(|queue| world.queue_depth(queue)).sum();
        if open.is_empty() && waiting == 0 {
            break;
        }
        assert!(
            begun.elapsed() < RECOVERY,
            "still open: {open:?}; {waiting} messages under way"
        );
        std::thread::sleep(Duration::from_secs(2));
    }
    let mut endings = BTreeMap::new();
    for order in orders {
        *endings.entry(status(world, &order.id)).or_default() += 1;
    }
    endings
}

fn status(world: &World, id: &str) -> String {
    let path = format!("/api/v1/orders/{id}");
    let order = world.http.get(&path, Some(&world.admin())).unwrap();
    let order = order.expect(200, "reading an acknowledged order").unwrap();
    order["status"].as_str().unwrap().to_owned()
}

/// What is left in the dead-letter queues is the poison, all of it and nothing else.
fn take_poison(world: &World, poison: usize) {
    let mut taken = 0;
    eventually("the poison is in the dead-letter queues", || {
        for queue in QUEUES {
            let url = world.queue_url(&format!("{queue}-dlq"));
            let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
            let answer = world.aws.call("sqs", "ReceiveMessage", request).unwrap();
            for message in answer["Messages"].as_array().into_iter().flatten() {
                assert_eq!(message["Body"], POISON, "{queue}");
                let receipt = &message["ReceiptHandle"];
                let request = json!({"QueueUrl": url, "ReceiptHandle": receipt});
                world.aws.call("sqs", "DeleteMessage", request).unwrap();
                taken += 1;
            }
        }
        (taken == poison).then_some(())
    });
}
