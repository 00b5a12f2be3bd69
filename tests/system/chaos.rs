//! Chaos: functions are killed, the emulator is restarted, users is gone, messages are lost and
//! queues are poisoned while fifty clients order. Nothing acknowledged is lost, nothing happens
//! twice, and stock and money balance afterwards.
//!
//! The seed decides the orders and the disturbances with their times. How they interleave depends on
//! the machine. `WAYBILL_CHAOS_SEED` repeats a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ops::audit;
use ops::dlq::{self, Redrive};
use serde_json::{Value, json};
use uuid::Uuid;
use xtask::emulator::{self, Condition};
use xtask::process;
use xtask::project::Project;
use xtask::state::Home;

use crate::outages::{Broken, Paused};
use crate::world::{Customer, World, eventually, retry_after, world};

const CLIENTS: usize = 50;
const ORDERS_EACH: usize = 5;
const PRICE: i64 = 700;

/// The first item runs out; the second does not.
const STOCKED: [i64; 2] = [60, 10_000];

/// How long the disturbances last.
const CHAOS: Duration = Duration::from_secs(40);

const OUTAGE: Duration = Duration::from_secs(8);

/// How often messages are taken off a queue and thrown away.
const LOSSES: usize = 16;

/// The visibility timeout in seconds during the test, instead of the templates' 90 s. It is longer
/// than any function may run.
const VISIBILITY: &str = "20";

/// How long a client retries, and how long the system may take to end all orders afterwards. The
/// sweeper, which runs all the time here, sends an order's next step again after 30 s.
const RECOVERY: Duration = Duration::from_secs(180);

/// The emulator's throughput does not grow with more readers.
const READERS: usize = 8;

pub const QUEUES: [&str; 4] = [
    "users-commands",
    "inventory-commands",
    "payments-commands",
    "orders-replies",
];

const POISON: &str = "poison: not an envelope";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn until(&mut self, end: Duration) -> Duration {
        Duration::from_millis(self.below(end.as_millis() as u64))
    }

    fn pick<'a, T>(&mut self, options: &'a [T]) -> &'a T {
        &options[self.below(options.len() as u64) as usize]
    }
}

/// A disturbance.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Disturbance {
    /// Kills this many of the functions' processes.
    Kill(usize),
    Poison(&'static str),
    /// Deletes the messages in the queue.
    Lose(&'static str),
    UsersIsGone,
    UsersIsBack,
    Restart,
}

/// The disturbances in their order, each with its time.
fn plan(dice: &mut Dice) -> Vec<(Duration, Disturbance)> {
    let mut disturbances = Vec::new();
    let mut at = Duration::ZERO;
    while at < CHAOS {
        at += Duration::from_millis(200 + dice.below(600));
        disturbances.push((at, Disturbance::Kill(1 + dice.below(8) as usize)));
    }
    for queue in QUEUES {
        disturbances.push((dice.until(CHAOS), Disturbance::Poison(queue)));
    }
    for _ in 0..LOSSES {
        disturbances.push((
            dice.until(CHAOS),
            Disturbance::Lose(dice.pick::<&str>(&QUEUES)),
        ));
    }
    let gone = dice.until(CHAOS - OUTAGE);
    disturbances.push((gone, Disturbance::UsersIsGone));
    disturbances.push((gone + OUTAGE, Disturbance::UsersIsBack));
    disturbances.push((CHAOS / 4 + dice.until(CHAOS / 2), Disturbance::Restart));
    disturbances.sort_by_key(|(at, _)| *at);
    disturbances
}

#[test]
fn a_seed_gives_one_plan_with_every_disturbance() {
    for seed in 0..1_000 {
        let plan = |seed| plan(&mut Dice(seed));
        let disturbances = plan(seed);
        assert_eq!(disturbances, plan(seed));
        assert_ne!(disturbances, plan(seed + 1));
        let count = |is: fn(&Disturbance) -> bool| {
            disturbances
                .iter()
                .filter(|(_, disturbance)| is(disturbance))
                .count()
        };
        assert!(count(|disturbance| matches!(disturbance, Disturbance::Kill(_))) > 40);
        assert_eq!(
            count(|disturbance| matches!(disturbance, Disturbance::Poison(_))),
            QUEUES.len()
        );
        assert_eq!(
            count(|disturbance| matches!(disturbance, Disturbance::Lose(_))),
            LOSSES
        );
        assert_eq!(count(|disturbance| *disturbance == Disturbance::Restart), 1);
        let at = |wanted| {
            disturbances
                .iter()
                .position(|(_, disturbance)| *disturbance == wanted)
        };
        assert!(at(Disturbance::UsersIsGone) < at(Disturbance::UsersIsBack));
    }
}

/// Counts of the disturbances.
#[derive(Default)]
struct Tally {
    kills: AtomicUsize,
    restarts: AtomicUsize,
    outages: AtomicUsize,
    poison: AtomicUsize,
    lost: AtomicUsize,
    retried: Mutex<BTreeMap<String, usize>>,
}

impl Tally {
    fn retry(&self, why: String) {
        *self.retried.lock().unwrap().entry(why).or_default() += 1;
    }
}

fn add(counter: &AtomicUsize, count: usize) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// An order that was acknowledged.
struct Order {
    id: String,
    /// Which item.
    item: usize,
    /// Whether its cancellation was acknowledged.
    cancelled: bool,
}

#[test]
fn acknowledged_orders_survive_kills_losses_and_a_restart() {
    let world = world();
    let _alone = world.alone();
    let seed = std::env::var("WAYBILL_CHAOS_SEED").ok();
    let seed = seed
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| Uuid::new_v4().as_u128() as u64);
    println!("chaos: WAYBILL_CHAOS_SEED={seed}");
    let begun = Instant::now();

    let items = STOCKED.map(|stocked| world.item(stocked, PRICE));
    // One each: unpaid orders limit a customer.
    let customers: Vec<Customer> = (0..CLIENTS).map(|_| Customer::new()).collect();
    let letters = dead_letters(world);
    assert_eq!(letters, 0, "dead letters are there already: waybill dlq ls");
    let tally = Tally::default();
    let placed = {
        let _hasty = QUEUES.map(|queue| Hasty::new(world, queue));
        let placed: Vec<Vec<Order>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (customer, items, tally) = (&customers[number], &items, &tally);
                    let dice = Dice(seed ^ ((number as u64 + 1) << 32));
                    scope.spawn(move || be_a_client(customer, items, tally, dice))
                })
                .collect();
            let storm = scope.spawn(|| rage(world, &tally, Dice(seed)));
            storm.join().unwrap();
            let joined = clients.into_iter().map(|client| client.join().unwrap());
            joined.collect()
        });
        println!("chaos: over after {:.0?}", begun.elapsed());
        come_to_rest(world, &placed);
        placed
    };
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let poison = count(&tally.poison);

    // Five kills use up a message's deliveries. One redrive delivers it.
    let used_up = dead_letters(world).checked_sub(poison as u64);
    let used_up = used_up.expect("poison is never acknowledged");
    if used_up > 0 {
        let redrive = dlq::Action::Redrive(Redrive::default());
        dlq::run(&world.aws, &world.stack.prefix, &redrive).unwrap();
        come_to_rest(world, &placed);
    }
    take_poison(world, poison);

    let orders: Vec<&Order> = placed.iter().flatten().collect();
    let statuses = each(&orders, |order| status(world, order));
    let mut endings: BTreeMap<&str, usize> = BTreeMap::new();
    for status in &statuses {
        *endings.entry(status).or_default() += 1;
    }
    println!("{:>8}  orders, all acknowledged and ended", orders.len());
    for (ending, count) in &endings {
        println!("{count:>8}    {ending}");
    }
    for (counter, what) in [
        (&tally.kills, "processes of functions killed"),
        (&tally.restarts, "restart of the emulator"),
        (&tally.outages, "outage of users"),
        (&tally.lost, "messages lost"),
        (&tally.poison, "poisonous messages"),
    ] {
        println!("{:>8}  {what}", count(counter));
    }
    println!("{used_up:>8}  messages that kills drove into a dead-letter queue, redriven");
    for (why, count) in tally.retried.lock().unwrap().iter() {
        println!("{count:>8}  calls made again: {why}");
    }
    println!("{:>8.0?}  in all", begun.elapsed());
    assert_eq!(orders.len(), CLIENTS * ORDERS_EACH);
    assert!(count(&tally.kills) > 40, "hardly anything was killed");
    assert!(count(&tally.lost) > 0, "no message was lost");
    assert_eq!((count(&tally.restarts), poison), (1, QUEUES.len()));
    for ending in ["CANCELLED", "CONFIRMED", "REJECTED"] {
        assert!(endings.contains_key(ending), "nothing {ending}");
    }

    // Stock and money, as the services answer.
    for (item, stocked) in STOCKED.into_iter().enumerate() {
        let mine = orders.iter().zip(&statuses);
        let confirmed = mine.filter(|(order, status)| order.item == item && *status == "CONFIRMED");
        let (now, _, held) = world.stock(&items[item]);
        assert_eq!(now, stocked, "{}", items[item]);
        assert_eq!(held, confirmed.count() as i64, "one unit an order");
    }
    let charges = each(&orders, |order| world.net_charge(&order.id));
    for ((order, status), charge) in orders.iter().zip(&statuses).zip(charges) {
        let due = if status == "CONFIRMED" { PRICE } else { 0 };
        assert_eq!(charge, due, "{} is {status}", order.id);
        let taken_back = order.cancelled && status != "CANCELLED";
        assert!(!taken_back, "{} was cancelled, is {status}", order.id);
    }
    // A repeated call made no second order.
    let acknowledged: BTreeSet<&String> = orders.iter().map(|order| &order.id).collect();
    let theirs: Vec<String> = customers.iter().flat_map(all_orders).collect();
    assert_eq!(theirs.len(), orders.len());
    assert_eq!(theirs.iter().collect::<BTreeSet<_>>(), acknowledged);
    // The same by the tables and the payment provider's ledger.
    let audit = audit::take(&world.aws, &world.stack.prefix).unwrap();
    assert!(audit.verdict().is_ok(), "{}", audit.report());
}

/// Places orders of one unit as a patient client does, and cancels some.
fn be_a_client(
    customer: &Customer,
    items: &[String; 2],
    tally: &Tally,
    mut dice: Dice,
) -> Vec<Order> {
    let mut place = || {
        thread::sleep(dice.until(CHAOS / ORDERS_EACH as u32));
        let item = dice.below(2) as usize;
        let method = *dice.pick(&[
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_chargeDeclined",
            "pm_sim_lostReply",
            "pm_sim_slow",
        ]);
        let key = Uuid::new_v4().to_string();
        let body =
            json!({"lines": [{"sku": items[item], "quantity": 1}], "payment_method": method});
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
        ];
        let (status, answer) = insist(customer, "/api/v1/orders", &headers, Some(&body), tally);
        // An order that has ended answers a repeat with 200.
        assert!(matches!(status, 200 | 202), "placing: {status} {answer}");
        let id = answer["id"].as_str().unwrap().to_owned();
        let mut cancelled = false;
        if dice.below(4) == 0 {
            thread::sleep(dice.until(Duration::from_secs(3)));
            let path = format!("/api/v1/orders/{id}/cancel");
            let (status, answer) = insist(customer, &path, &[], None, tally);
            cancelled = match status {
                200 | 202 => true,
                // It had been rejected.
                409 => false,
                status => panic!("cancelling {id} was answered {status}: {answer}"),
            };
        }
        Order {
            id,
            item,
            cancelled,
        }
    };
    (0..ORDERS_EACH).map(|_| place()).collect()
}

/// Sends a request until the API answers it. A 429 and a 502 to 504 are retried; a 500 with a body is
/// a bug.
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
        let mut pause = Duration::from_millis(300);
        match sent {
            Ok(answer) => match answer.status {
                429 => {
                    tally.retry("answered 429".to_owned());
                    pause = retry_after(&answer);
                }
                502..=504 => tally.retry(format!("answered {}", answer.status)),
                // Waybill's answers have a body. This is the emulator while it stops.
                500 if answer.body.is_empty() => {
                    tally.retry("answered 500 by the emulator".to_owned())
                }
                status => return (status, answer.value()),
            },
            Err(_) => tally.retry("not answered".to_owned()),
        }
        assert!(begun.elapsed() < RECOVERY, "{path} is never answered");
        thread::sleep(pause);
    }
}

/// Runs the plan, each disturbance at its time or as soon after as possible.
fn rage(world: &World, tally: &Tally, mut dice: Dice) {
    let begun = Instant::now();
    let mut outage = None;
    for (at, disturbance) in plan(&mut dice) {
        thread::sleep(at.saturating_sub(begun.elapsed()));
        match disturbance {
            Disturbance::Kill(number) => {
                let running = running();
                let mut alive = running.functions(&home());
                let mut doomed = Vec::new();
                while doomed.len() < number && !alive.is_empty() {
                    doomed.push(alive.swap_remove(dice.below(alive.len() as u64) as usize));
                }
                process::signal("KILL", &doomed);
                add(&tally.kills, doomed.len());
            }
            Disturbance::Poison(queue) => {
                let request = json!({"QueueUrl": world.queue_url(queue), "MessageBody": POISON});
                world.aws.call("sqs", "SendMessage", request).unwrap();
                add(&tally.poison, 1);
            }
            Disturbance::Lose(queue) => {
                let lost = take(world, queue, |message| message["Body"] != POISON);
                add(&tally.lost, lost);
            }
            Disturbance::UsersIsGone => {
                outage = Some((
                    Broken::new(world, "users-get", "USERS_TABLE"),
                    Paused::new(world, "users-verify"),
                ));
                add(&tally.outages, 1);
            }
            Disturbance::UsersIsBack => outage = None,
            Disturbance::Restart => {
                let emulator = running();
                emulator.stop(&home()).unwrap();
                let log = std::fs::read_to_string(home().emulator_log()).unwrap();
                assert!(
                    !log.contains("Persistence: error"),
                    "its state is not saved"
                );
                let project = Project::find().unwrap();
                let python = xtask::tools::MINISTACK.program(&project, "python");
                emulator::start(&python, &home(), emulator.port).unwrap();
                add(&tally.restarts, 1);
            }
        }
    }
    drop(outage);
}

fn running() -> emulator::Emulator {
    match emulator::condition(&home()) {
        Condition::Running(emulator) => emulator,
        other => panic!("the emulator is gone by itself: {other:?}"),
    }
}

/// Where the stack under test lives.
fn home() -> Home {
    Home::current(&Project::find().unwrap())
}

/// A queue that gives a message out again soon, until this is dropped.
struct Hasty<'w> {
    world: &'w World,
    queue: &'static str,
    usual: Value,
}

impl<'w> Hasty<'w> {
    fn new(world: &'w World, queue: &'static str) -> Self {
        let request = json!({"QueueUrl": world.queue_url(queue),
                             "AttributeNames": ["VisibilityTimeout"]});
        let answer = world.aws.call("sqs", "GetQueueAttributes", request);
        let usual = answer.unwrap()["Attributes"]["VisibilityTimeout"].clone();
        let hasty = Self {
            world,
            queue,
            usual,
        };
        hasty.set(&json!(VISIBILITY));
        hasty
    }

    fn set(&self, seconds: &Value) {
        let request = json!({"QueueUrl": self.world.queue_url(self.queue),
                             "Attributes": {"VisibilityTimeout": seconds}});
        let set = self.world.aws.call("sqs", "SetQueueAttributes", request);
        assert!(thread::panicking() || set.is_ok(), "{set:?}");
    }
}

impl Drop for Hasty<'_> {
    fn drop(&mut self) {
        self.set(&self.usual);
    }
}

/// Waits until every order has ended and no message is under way, sweeping in between as the
/// schedule would.
fn come_to_rest(world: &World, placed: &[Vec<Order>]) {
    let begun = Instant::now();
    let mut open: Vec<&Order> = placed.iter().flatten().collect();
    loop {
        world.sweep();
        let statuses = each(&open, |order| status(world, order));
        let mut statuses = statuses.iter();
        open.retain(|_| {
            let status = statuses.next().expect("one for each");
            !matches!(status.as_str(), "CONFIRMED" | "REJECTED" | "CANCELLED")
        });
        let waiting: u64 = QUEUES.iter().map(|queue| world.queue_depth(queue)).sum();
        if open.is_empty() && waiting == 0 {
            return;
        }
        let left: Vec<&String> = open.iter().map(|order| &order.id).collect();
        assert!(
            begun.elapsed() < RECOVERY,
            "still open: {left:?}; {waiting} messages under way"
        );
        thread::sleep(Duration::from_secs(1));
    }
}

fn status(world: &World, order: &Order) -> String {
    let path = format!("/api/v1/orders/{}", order.id);
    let answer = world.http.get(&path, Some(&world.admin())).unwrap();
    let found = answer.expect(200, "reading an acknowledged order").unwrap();
    found["status"].as_str().unwrap().to_owned()
}

/// The ids of all orders of a customer's.
fn all_orders(customer: &Customer) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = customer.get(&format!("/api/v1/orders?limit=50{cursor}"));
        let page = page.expect(200, "listing orders").unwrap();
        for order in page["items"].as_array().unwrap() {
            ids.push(order["id"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

/// Looks at each of many, several at a time.
fn each<T: Send>(orders: &[&Order], look: impl Fn(&Order) -> T + Sync) -> Vec<T> {
    let share = orders.len().div_ceil(READERS).max(1);
    thread::scope(|scope| {
        let look = &look;
        let readers: Vec<_> = orders
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().map(|order| look(order)).collect()))
            .collect();
        let seen = readers.into_iter().map(|reader| reader.join().unwrap());
        seen.flat_map(|chunk: Vec<T>| chunk).collect()
    })
}

fn dead_letters(world: &World) -> u64 {
    let depth = |queue| world.queue_depth(&format!("{queue}-dlq"));
    QUEUES.iter().map(depth).sum()
}

/// Checks that the dead-letter queues hold the poison and nothing else, and empties them.
fn take_poison(world: &World, poison: usize) {
    let mut taken = 0;
    eventually("the poison is in the dead-letter queues", || {
        for queue in QUEUES {
            taken += take(world, &format!("{queue}-dlq"), |message| {
                assert_eq!(message["Body"], POISON, "{queue}");
                true
            });
        }
        (taken == poison).then_some(())
    });
    assert_eq!(dead_letters(world), 0);
}

/// Receives from a queue once and deletes what is to be taken; how many that were.
fn take(world: &World, queue: &str, is_taken: impl Fn(&Value) -> bool) -> usize {
    let url = world.queue_url(queue);
    let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1});
    let answer = world.aws.call("sqs", "ReceiveMessage", request).unwrap();
    let messages = answer["Messages"].as_array().into_iter().flatten();
    let mut taken = 0;
    for message in messages.filter(|message| is_taken(message)) {
        let receipt = &message["ReceiptHandle"];
        let request = json!({"QueueUrl": url, "ReceiptHandle": receipt});
        // Another receiver may have it meanwhile.
        let deleted = world
            .aws
            .find("sqs", "DeleteMessage", request, "ReceiptHandleIsInvalid");
        taken += usize::from(deleted.unwrap().is_some());
    }
    taken
}
