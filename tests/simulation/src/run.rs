//! One world from its seed to its rest: who acts next, what befalls them, and what is wrong then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use aws_lambda_events::event::sqs::SqsBatchResponse;
use futures_util::FutureExt;
use orders::domain::{OrderId, UserId};
use serde_json::{Value, json};
use shared_lambda::http::Response;
use test_support::{Call, Fault, mortal};
use uuid::Uuid;
use xtask::audit::books::Books as AuditedBooks;
use xtask::audit::reconcile::{Finding, Kind, Subject, reconcile};

use crate::abandoning::{Abandoned, about, is_left_alone, is_of_abandoning, news_after_abandoning};
use crate::books::{Books, Order, Step, Violation};
use crate::chance::{Dice, Trouble, Weather};
use crate::deployed;
use crate::endings::{self, Day, Wish};
use crate::gate::{CallId, Gate, ProcessId};
use crate::network::{Copy, Millis, Network, QueueName};
use crate::permissions::{self, Standings};
use crate::system::{
    Handled, How, SharedWeather, System, Tables, millis, said, timestamp, weather,
};

/// What one world is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How many orders are placed.
    pub orders: usize,
    /// Kinds of trouble that stay away.
    pub without: Vec<Trouble>,
    /// Whether every step is written down, for somebody to read.
    pub traced: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            orders: 10,
            without: left_out(seed),
            traced: false,
        }
    }

    /// The same with another seed. What stays away goes by the seed, unless somebody said.
    pub fn of_seed(&self, seed: u64) -> Self {
        let without = match self.without.as_slice() {
            [] => left_out(seed),
            kinds => kinds.to_vec(),
        };
        Self {
            seed,
            without,
            ..self.clone()
        }
    }
}

/// What became of one world.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    /// Orders that were acknowledged.
    pub sagas: usize,
    /// How they ended: the status and the failure's code.
    pub endings: BTreeMap<String, usize>,
    pub troubles: BTreeMap<&'static str, u64>,
    /// Calls to AWS that were let pass.
    pub calls: u64,
    pub messages: u64,
    /// Messages delivered again once everything was at rest, where that was done.
    pub replayed: u64,
    /// Simulated time from the first order to rest.
    pub lasted: Millis,
    /// The hash of everything that happened, in its order.
    pub hash: u64,
    /// Orders whose undoing had to be parked.
    pub parked: usize,
    /// Steps an operator abandoned, by name, as the orders' timelines have it.
    pub abandoned: BTreeMap<&'static str, usize>,
    pub violations: Vec<Violation>,
    /// Every step, if it was asked for.
    pub trace: String,
}

/// A world comes to rest or something is wrong with it. The longest of thousands took 11,269.
const MAX_STEPS: u64 = 60_000;

/// For how long trouble lasts at most.
const TROUBLED: (Millis, Millis) = (5_000, 1_500_000);

/// After the trouble every order ends within this: the longest compensation that was parked just
/// before waits for an hour.
const PATIENCE: Millis = 3 * 3_600_000;

/// What things are priced in, and one thing in some worlds.
const CURRENCY: &str = "USD";
const FOREIGN: &str = "EUR";

/// Of so many worlds one is quiet, and in one more nothing goes wrong but what people do: there it is
/// known what must become of each order, and what must not have been needed.
const CALM_IN_EVERY: u64 = 10;

/// What stays away from the world of a seed.
fn left_out(seed: u64) -> Vec<Trouble> {
    let all = Trouble::ALL.iter().copied();
    match seed % CALM_IN_EVERY {
        8 => all.collect(),
        9 => all.filter(|kind| !is_of_people(*kind)).collect(),
        _ => Vec::new(),
    }
}

/// In every third world everything is delivered again once it is at rest. It takes as long as all
/// that went before, and what it shows it shows of every world alike.
const REPLAYED_IN_EVERY: u64 = 3;

/// Whether everything is delivered again in the world of this seed.
fn is_replayed(seed: u64) -> bool {
    seed.is_multiple_of(REPLAYED_IN_EVERY)
}

const MAX_RUNNING: usize = 8;

/// Runs this where time goes on only when everything waits for it.
pub fn on_a_clock_of_its_own<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    runtime.block_on(tokio::task::unconstrained(future))
}

/// Runs a world to its end.
pub fn run(plan: &Plan) -> Outcome {
    // The jitter of the SDK's own retries.
    fastrand::seed(plan.seed);
    on_a_clock_of_its_own(async {
        let mut world = World::new(plan);
        if let Some(violation) = fatal(world.live()).await {
            world.wrong(violation);
        }
        world.outcome()
    })
}

/// A panic ends a world, and is a violation like others: a seed is told and can be replayed.
pub async fn fatal(life: impl Future<Output = ()>) -> Option<Violation> {
    let panic = AssertUnwindSafe(life).catch_unwind().await.err()?;
    Some(format!("a panic: {}", said(&*panic)))
}

type Running = Pin<Box<dyn Future<Output = Option<Finished>>>>;

struct Process {
    name: &'static str,
    future: Running,
    /// When its function's timeout ends it.
    ends_at: Millis,
    /// Whom the answer is for, and what comes back to a queue if there is none.
    job: Job,
    /// What had gone wrong in the world when it began.
    failures_before: u64,
    /// The messages it has carried out, by their envelopes' ids, and what each led to.
    done: Vec<(Uuid, Vec<String>)>,
}

#[derive(Clone, Debug)]
enum Job {
    Place { client: usize },
    Cancel { client: usize },
    Batch { copies: Vec<u64> },
    Sweep,
    Operate,
    Admin(usize),
}

enum Finished {
    Answered(Response),
    Handled(SqsBatchResponse),
    Done(Result<(), String>),
}

/// A customer with one order in mind.
struct Client {
    user: Uuid,
    key: String,
    body: String,
    /// The id the order will have.
    order: Uuid,
    wish: Wish,
    next_place: Option<Millis>,
    next_cancel: Option<Millis>,
    /// When an operator asks for the order's step again.
    next_retry: Option<Millis>,
    /// When an operator who saw it parked gives up what it waits for.
    next_abandon: Option<Millis>,
    /// The steps its operator asked to give up.
    gave_up: Vec<Step>,
    cancels: bool,
    acknowledged: bool,
    refused: bool,
    /// The last word about a cancellation.
    cancelled: Option<u16>,
}

impl Client {
    fn is_done(&self) -> bool {
        let next = [
            self.next_place,
            self.next_cancel,
            self.next_retry,
            self.next_abandon,
        ];
        next.iter().all(Option::is_none)
    }
}

/// Something an administrator does until it is answered.
struct Chore {
    at: Option<Millis>,
    what: What,
    /// Whether it was answered that it is done.
    is_done: bool,
}

impl Chore {
    fn at(at: Millis, what: What) -> Self {
        Self {
            at: Some(at),
            what,
            is_done: false,
        }
    }
}

#[derive(Clone, Debug)]
enum What {
    Price { sku: usize, amount: i64 },
    Adjust { sku: usize, delta: i64, key: String },
    Status { user: usize, status: &'static str },
}

/// A function that is broken for a while.
struct Outage {
    queue: QueueName,
    /// Whether it dies at every message; else every call it makes to its table fails.
    dies: bool,
    from: Millis,
    until: Millis,
    /// Whether it has met a message.
    met: bool,
}

/// A request that its sender gave up and that is still on its way.
struct Late {
    sent: Millis,
    at: Millis,
    call: Call,
}

/// For how long DynamoDB knows a transaction's token (API reference, `TransactWriteItems`).
const TOKEN_KNOWN: Millis = 600_000;

struct World {
    plan: Plan,
    gate: Gate,
    weather: SharedWeather,
    dice: Dice,
    system: Rc<System>,
    network: Network,
    books: Books,
    processes: BTreeMap<ProcessId, Process>,
    started: ProcessId,
    clients: Vec<Client>,
    chores: Vec<Chore>,
    late: Vec<Late>,
    next_sweep: Millis,
    next_redrive: Millis,
    poison_at: Vec<Millis>,
    poisoned: usize,
    /// Poison that an operator has seen in a dead-letter queue.
    poison_found: usize,
    /// The orders, and the answers, that told an operator of what was done after its undoing had been
    /// abandoned.
    news: BTreeSet<(String, String)>,
    /// Which standings the users have had.
    standings: Standings,
    troubled_until: Millis,
    outage: Option<Outage>,
    users: Vec<Uuid>,
    skus: Vec<String>,
    /// What each sku is priced in.
    currencies: Vec<&'static str>,
    calls: u64,
    replayed: u64,
    steps: u64,
    hash: u64,
    trace: String,
    violations: Vec<Violation>,
}

impl World {
    fn new(plan: &Plan) -> Self {
        let gate = Gate::default();
        let weather = Arc::new(Mutex::new(Weather::new(plan.seed, &plan.without)));
        let system = Rc::new(System::new(plan.seed, &gate, &weather));
        let mut dice = Dice::new(plan.seed, 1);
        let id = |dice: &mut Dice| {
            let bits = u128::from(dice.roll()) << 64 | u128::from(dice.roll());
            uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
        };
        let users: Vec<Uuid> = (0..dice.between(1, 3)).map(|_| id(&mut dice)).collect();
        let skus: Vec<String> = (0..dice.between(1, 3))
            .map(|number| format!("SKU-{number}"))
            .collect();
        let mut currencies = vec![CURRENCY; skus.len()];
        // Dice of its own: the other worlds stay what they were.
        if skus.len() > 1 && Dice::new(plan.seed, 2).hits(300) {
            currencies[skus.len() - 1] = FOREIGN;
        }
        let troubled_until = match dice.below(3) {
            0 => TROUBLED.0,
            1 => dice.between(TROUBLED.0, 120_000),
            _ => dice.between(TROUBLED.0, TROUBLED.1),
        };
        let outage = outage(&mut crate::system::weather(&weather), troubled_until);
        let over = outage.as_ref().map_or(0, |outage| outage.until);
        let back = provider_gone(&mut crate::system::weather(&weather), troubled_until);
        let troubled_until = troubled_until.max(over).max(back);
        Self {
            plan: plan.clone(),
            gate,
            weather,
            system,
            network: Network::default(),
            books: Books::of_every_write(),
            processes: BTreeMap::new(),
            started: 0,
            clients: Vec::new(),
            chores: Vec::new(),
            late: Vec::new(),
            next_sweep: deployed::sweep_every(),
            next_redrive: 0,
            poison_at: Vec::new(),
            poisoned: 0,
            poison_found: 0,
            news: BTreeSet::new(),
            standings: Standings::default(),
            troubled_until,
            outage,
            users,
            skus,
            currencies,
            calls: 0,
            replayed: 0,
            steps: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            trace: String::new(),
            violations: Vec::new(),
            dice,
        }
    }

    async fn live(&mut self) {
        self.begin().await;
        while self.violations.is_empty() && !self.is_at_rest() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                self.wrong("the world does not come to rest".to_owned());
                break;
            }
            self.step().await;
        }
        if self.violations.is_empty() {
            self.check_rest();
        }
        if self.violations.is_empty() && is_replayed(self.plan.seed) {
            self.replay_everything().await;
        }
    }

    /// What is there before the first order, and what everybody has in mind.
    async fn begin(&mut self) {
        let items: Vec<(String, i64, i64)> = self
            .skus
            .iter()
            .map(|sku| {
                (
                    sku.clone(),
                    self.dice.between(1, 50) * 100,
                    self.dice.between(0, 25),
                )
            })
            .collect();
        self.gate.open();
        self.system.seed(&self.users, &items).await;
        for ((sku, amount, _), currency) in items.iter().zip(&self.currencies) {
            if *currency != CURRENCY {
                self.system.reprice(sku, *amount, currency).await;
            }
        }
        self.gate.close();
        let of_items = items.iter().map(|(sku, ..)| {
            let table = self.system.tables.inventory.clone();
            (table, format!("ITEM#{sku}"), "ITEM".to_owned())
        });
        let of_users = self.users.iter().map(|user| {
            let table = self.system.tables.users.clone();
            (table, format!("USER#{user}"), "USER".to_owned())
        });
        let keys: Vec<_> = of_items.chain(of_users).collect();
        for key in &keys {
            self.observe(key);
        }
        // Whoever cancels at once and whoever cancels much later.
        let soon = self.dice.hits(500);
        for number in 0..self.plan.orders {
            let client = self.client(number, &items, soon);
            self.clients.push(client);
        }
        self.plan_chores();
        let mut weather = weather(&self.weather);
        if weather.brings(Trouble::Poison) {
            for _ in 0..weather.dice(Trouble::Poison).between(1, 4) {
                let at = weather
                    .dice(Trouble::Poison)
                    .between(0, self.troubled_until / 2);
                self.poison_at.push(at);
            }
        }
    }

    fn client(&mut self, number: usize, items: &[(String, i64, i64)], soon: bool) -> Client {
        // Dice of its own: with fewer orders the others stay what they were.
        let mut dice = Dice::new(self.plan.seed, 100 + number as u64);
        let user = *dice.pick(&self.users);
        let mut lines = Vec::new();
        let mut expected = 0;
        let first = if dice.hits(300) {
            dice.below(items.len() as u64) as usize
        } else {
            0
        };
        for (sku, amount, _) in &items[first..] {
            if lines.is_empty() || dice.hits(300) {
                let quantity = dice.between(1, 3);
                expected += quantity * amount;
                lines.push((sku.clone(), quantity));
            }
        }
        if dice.hits(30) {
            lines.push(("NO-SUCH-ITEM".to_owned(), 1));
        }
        let method = *dice.pick(&[
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_chargeDeclined",
            "pm_card_chargeDeclinedInsufficientFunds",
            "pm_sim_lostReply",
            "pm_sim_slow",
            "pm_sim_unavailable",
        ]);
        let mut wish = Wish {
            lines,
            method,
            expected: None,
        };
        if dice.hits(300) {
            let expected = if dice.hits(200) {
                expected + 1
            } else {
                expected
            };
            wish.expected = Some((expected, self.currencies[first]));
        }
        let key = format!("order-{number}");
        let placed_at = dice.between(0, self.troubled_until / 2);
        let mut weather = weather(&self.weather);
        let cancels = weather.plans(Trouble::Cancel);
        let within = if soon { 2_000 } else { self.troubled_until };
        let cancel_at = placed_at + weather.dice(Trouble::Cancel).between(0, within);
        let retries = weather.plans(Trouble::Operator);
        let dice = weather.dice(Trouble::Operator);
        let retry_at = placed_at + dice.between(0, self.troubled_until);
        Client {
            user,
            order: OrderId::of_key(UserId(user), &key).0,
            key,
            body: wish.body().to_string(),
            wish,
            next_place: Some(placed_at),
            next_cancel: cancels.then_some(cancel_at),
            next_retry: retries.then_some(retry_at),
            next_abandon: None,
            gave_up: Vec::new(),
            cancels,
            acknowledged: false,
            refused: false,
            cancelled: None,
        }
    }

    fn plan_chores(&mut self) {
        let until = self.troubled_until;
        let mut weather = weather(&self.weather);
        for sku in 0..self.skus.len() {
            if weather.brings(Trouble::Price) {
                let dice = weather.dice(Trouble::Price);
                let what = What::Price {
                    sku,
                    amount: dice.between(1, 50) * 100,
                };
                self.chores.push(Chore::at(dice.between(0, until), what));
            }
            if weather.brings(Trouble::Adjustment) {
                let dice = weather.dice(Trouble::Adjustment);
                let delta = *dice.pick(&[-3, -1, 1, 5]);
                let what = What::Adjust {
                    sku,
                    delta,
                    key: format!("count-{sku}"),
                };
                self.chores.push(Chore::at(dice.between(0, until), what));
            }
        }
        for user in 0..self.users.len() {
            if weather.brings(Trouble::Deactivation) {
                let dice = weather.dice(Trouble::Deactivation);
                let at = dice.between(0, until);
                let back = dice.hits(700).then(|| at + dice.between(1_000, 100_000));
                let what = What::Status {
                    user,
                    status: "deactivated",
                };
                self.chores.push(Chore::at(at, what));
                let what = What::Status {
                    user,
                    status: "active",
                };
                self.chores.extend(back.map(|back| Chore::at(back, what)));
            }
        }
    }

    fn now(&self) -> Millis {
        self.system.clock.now()
    }

    fn is_at_rest(&self) -> bool {
        self.processes.is_empty()
            && self.network.is_empty()
            && self.late.is_empty()
            && weather(&self.weather).is_over()
            && !self.network.has_dead()
            && self.clients.iter().all(|client| client.is_done())
            && self.chores.iter().all(|chore| chore.at.is_none())
            && self.books.orders().all(|(_, order)| order.is_terminal())
    }

    /// Lets one thing happen, of all that can.
    async fn step(&mut self) {
        let now = self.now();
        if now >= self.troubled_until && !weather(&self.weather).is_over() {
            self.note("calm", &format_args!(""));
            weather(&self.weather).clear_up();
        }
        if now > self.troubled_until + PATIENCE {
            let open = self.books.orders().find(|(_, order)| !order.is_terminal());
            let what = match open {
                Some((id, order)) => format!(
                    "order {id} is still {} long after, due at {}",
                    order.state,
                    order.due_at.as_deref().unwrap_or("no time")
                ),
                None => "somebody still waits long after the trouble".to_owned(),
            };
            self.wrong(what);
            return;
        }
        let options = self.options(now);
        if options.is_empty() {
            let until = self.next_event(now);
            self.pass(until - now).await;
            return;
        }
        // A moment passes now and then, so that what happens has its own time.
        if self.dice.hits(250) {
            let moment = *self.dice.pick(&[1, 3, 10, 40, 200]);
            self.pass(moment).await;
            return;
        }
        let choice = *self.dice.pick(&options);
        self.act(choice);
        self.collect_messages();
    }

    fn options(&self, now: Millis) -> Vec<Choice> {
        let mut options: Vec<Choice> = self
            .gate
            .waiting()
            .into_iter()
            .map(|(id, who)| Choice::Pass(id, who))
            .collect();
        // Whoever is at work is at work; others begin more rarely, or nobody would ever end.
        let room = self.processes.len() < MAX_RUNNING;
        if room {
            for queue in QueueName::ALL {
                if self.network.has_visible(queue, now) {
                    options.push(Choice::Receive(queue));
                }
            }
            for (number, client) in self.clients.iter().enumerate() {
                if client.next_place.is_some_and(|at| at <= now) {
                    options.push(Choice::Place(number));
                }
                if client.next_cancel.is_some_and(|at| at <= now) {
                    options.push(Choice::Cancel(number));
                }
                if client.next_retry.is_some_and(|at| at <= now) {
                    options.push(Choice::Retry(number));
                }
                if client.next_abandon.is_some_and(|at| at <= now) {
                    options.push(Choice::Abandon(number));
                }
            }
            for (number, chore) in self.chores.iter().enumerate() {
                if chore.at.is_some_and(|at| at <= now) {
                    options.push(Choice::Chore(number));
                }
            }
            if self.next_sweep <= now {
                options.push(Choice::Sweep);
            }
        }
        if self.network.has_dead() && self.next_redrive <= now {
            options.push(Choice::Redrive);
        }
        for (number, late) in self.late.iter().enumerate() {
            if late.at <= now {
                options.push(Choice::Arrive(number));
            }
        }
        for (number, at) in self.poison_at.iter().enumerate() {
            if *at <= now {
                options.push(Choice::Poison(number));
            }
        }
        options
    }

    /// When something can happen again that cannot now.
    fn next_event(&self, now: Millis) -> Millis {
        let mut next = [
            self.clients
                .iter()
                .filter_map(|client| client.next_place)
                .min(),
            self.clients
                .iter()
                .filter_map(|client| client.next_cancel)
                .min(),
            self.clients
                .iter()
                .filter_map(|client| client.next_retry)
                .min(),
            self.clients
                .iter()
                .filter_map(|client| client.next_abandon)
                .min(),
            self.chores.iter().filter_map(|chore| chore.at).min(),
            self.late.iter().map(|late| late.at).min(),
            self.poison_at.iter().copied().min(),
            self.network.next_visible(now),
            self.network.has_dead().then_some(self.next_redrive),
            self.next_useful_sweep(now),
            (now < self.troubled_until).then_some(self.troubled_until),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
        .unwrap_or(now + deployed::sweep_every());
        // Somebody waits for a timer of their own.
        if let Some(ends_at) = self.processes.values().map(|process| process.ends_at).min() {
            next = next.min(ends_at).min(now + 100);
        }
        next.max(now + 1)
    }

    /// The sweeper's next run that finds anything. The others only read, and are left out to save
    /// time; those that come at odd moments are not.
    fn next_useful_sweep(&self, now: Millis) -> Option<Millis> {
        let due = self
            .books
            .orders()
            .filter_map(|(_, order)| order.due_at.as_ref()?.parse().ok())
            .map(millis)
            .min()?;
        let first = self.next_sweep.max(now);
        let runs = ((due - first).max(0) + deployed::sweep_every() - 1) / deployed::sweep_every();
        Some(first + runs * deployed::sweep_every())
    }

    /// Time passes. What ran into its end dies where it stands.
    async fn pass(&mut self, millis: Millis) {
        self.system.clock.pass(millis).await;
        let now = self.now();
        let over: Vec<ProcessId> = self
            .processes
            .iter()
            .filter(|(_, process)| process.ends_at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let process = self.processes.remove(&id).expect("it was listed just now");
            self.note("timeout", &format_args!("{id} {}", process.name));
            self.died(process.job);
        }
        // Their timers may have run out.
        let running: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in running {
            self.poll(id);
        }
        self.collect_messages();
        // Sweeps that would have found nothing are not made up for.
        while self.next_sweep + deployed::sweep_every() <= now {
            self.next_sweep += deployed::sweep_every();
        }
    }

    fn act(&mut self, choice: Choice) {
        let now = self.now();
        match choice {
            Choice::Pass(call, process) => self.let_pass(call, process),
            Choice::Receive(queue) => {
                let (copies, messages) = self.network.receive(queue, now, &mut self.dice);
                if messages.is_empty() {
                    return;
                }
                if self.is_out(queue.function(), true) {
                    self.note("broken", &format_args!("{}", queue.function()));
                    self.died(Job::Batch { copies });
                    return;
                }
                let system = Rc::clone(&self.system);
                self.start(queue.function(), Job::Batch { copies }, async move {
                    Finished::Handled(system.batch(queue, messages).await)
                });
            }
            Choice::Place(number) => {
                let client = &mut self.clients[number];
                client.next_place = None;
                let (user, key, body) = (client.user, client.key.clone(), client.body.clone());
                if self.dice.hits(100) {
                    self.system.restart_place();
                }
                let system = Rc::clone(&self.system);
                self.start("orders-place", Job::Place { client: number }, async move {
                    Finished::Answered(system.place(user, &key, &body).await)
                });
            }
            Choice::Cancel(number) => {
                let client = &mut self.clients[number];
                client.next_cancel = None;
                if client.refused {
                    return;
                }
                let (user, order) = (client.user, client.order);
                let is_open = |order: &Order| order.state == "confirmed" || !order.is_terminal();
                if self.books.get(&order.to_string()).is_some_and(is_open) {
                    weather(&self.weather).came_about(Trouble::Cancel);
                }
                let system = Rc::clone(&self.system);
                self.start(
                    "orders-cancel",
                    Job::Cancel { client: number },
                    async move { Finished::Answered(system.cancel(user, order).await) },
                );
            }
            Choice::Retry(number) => {
                let client = &mut self.clients[number];
                client.next_retry = None;
                let order = client.order;
                let at_work = self.books.get(&order.to_string());
                if at_work.is_some_and(|order| !order.is_terminal()) {
                    weather(&self.weather).came_about(Trouble::Operator);
                }
                let system = Rc::clone(&self.system);
                self.start("orders-operate", Job::Operate, async move {
                    Finished::Done(system.retry(order).await)
                });
            }
            Choice::Abandon(number) => self.abandon(number),
            Choice::Chore(number) => {
                let chore = &mut self.chores[number];
                chore.at = None;
                let what = chore.what.clone();
                let (system, skus, currencies, users) = (
                    Rc::clone(&self.system),
                    self.skus.clone(),
                    self.currencies.clone(),
                    self.users.clone(),
                );
                let function = match what {
                    What::Price { .. } => "inventory-update",
                    What::Adjust { .. } => "inventory-adjust",
                    What::Status { .. } => "users-update",
                };
                self.start(function, Job::Admin(number), async move {
                    Finished::Answered(match what {
                        What::Price { sku, amount } => {
                            system.reprice(&skus[sku], amount, currencies[sku]).await
                        }
                        What::Adjust { sku, delta, key } => {
                            system.adjust(&skus[sku], delta, &key).await
                        }
                        What::Status { user, status } => {
                            system.set_status(users[user], status).await
                        }
                    })
                });
            }
            Choice::Sweep => self.sweep(now),
            Choice::Redrive => {
                let mut weather = weather(&self.weather);
                let in_trouble = !weather.is_over();
                let now_or_never = !in_trouble || weather.brings(Trouble::Redrive);
                let leave = now_or_never && weather.brings(Trouble::LeftDead);
                drop(weather);
                self.next_redrive = now + 120_000;
                if now_or_never {
                    self.note("redrive", &format_args!("leave {leave}"));
                    // An operator who looks at it sees that poison is nobody's.
                    self.poison_found += self.network.discard(|body| POISON.contains(&body));
                    // So does what was done after its undoing was abandoned: they settle it.
                    let (books, news) = (&self.books, &mut self.news);
                    self.network.discard(|body| {
                        let told = news_after_abandoning(books, body);
                        let is_told = told.is_some();
                        news.extend(told);
                        is_told
                    });
                    let leaves = |copy: &Copy| leave || is_left_alone(books, copy);
                    self.network.redrive(now, leaves, &mut self.dice);
                    // Once the trouble is over, everything that is left goes back at once.
                    while !in_trouble && self.network.has_dead() {
                        let leaves = |copy: &Copy| is_left_alone(books, copy);
                        self.network.redrive(now, leaves, &mut self.dice);
                    }
                }
            }
            Choice::Arrive(number) => {
                let Late { sent, call, .. } = self.late.swap_remove(number);
                let forgotten = now - sent > TOKEN_KNOWN;
                let call = if forgotten {
                    call.without_token()
                } else {
                    call
                };
                self.note("arrives late", &format_args!("{}", call.name()));
                self.system.aws.arrive(&call);
                self.after_effect(&call, None);
            }
            Choice::Poison(number) => {
                self.poison_at.swap_remove(number);
                self.poisoned += 1;
                let queue = *self.dice.pick(&QueueName::ALL);
                let body = *self.dice.pick(&POISON);
                self.note("poison", &format_args!("{queue:?}"));
                self.network.replay(queue, body.to_owned(), now);
            }
        }
    }

    fn sweep(&mut self, now: Millis) {
        let (late, twice) = {
            let mut weather = weather(&self.weather);
            let late = weather.brings(Trouble::SweeperLate);
            (late, !late && weather.brings(Trouble::SweeperTwice))
        };
        self.next_sweep += if late {
            self.dice.between(1_000, 240_000)
        } else if twice {
            self.dice.between(1, 5_000)
        } else {
            deployed::sweep_every()
        };
        if late {
            return;
        }
        for _ in 0..=usize::from(twice) {
            let system = Rc::clone(&self.system);
            self.start("orders-sweep", Job::Sweep, async move {
                Finished::Done(system.sweep().await)
            });
        }
        self.note("sweep", &format_args!("{now}"));
    }

    fn start(
        &mut self,
        name: &'static str,
        job: Job,
        future: impl Future<Output = Finished> + 'static,
    ) {
        self.started += 1;
        let id = self.started;
        self.note("start", &format_args!("{id} {name} {job:?}"));
        let future = Box::pin(tokio::task::unconstrained(mortal(future)));
        let ends_at = self.now() + deployed::timeout(name);
        let failures_before = self.failures();
        self.processes.insert(
            id,
            Process {
                name,
                future,
                ends_at,
                job,
                failures_before,
                done: Vec::new(),
            },
        );
        self.poll(id);
    }

    /// Lets a process run to its next call, its end or its death.
    fn poll(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        self.gate.runs(id);
        let mut context = Context::from_waker(Waker::noop());
        let polled = process.future.as_mut().poll(&mut context);
        // What has passed the gate by now has taken effect: a handler that has several calls under
        // way may get to one of them only in a later turn.
        for (call, fault) in self.gate.passed() {
            self.after_effect(&call, fault.as_ref());
        }
        let failures = self.failures();
        let begun = self
            .processes
            .get(&id)
            .map(|process| process.failures_before);
        let undisturbed = begun == Some(failures);
        for handled in self.system.handled() {
            self.handled(&handled, undisturbed);
            if let (How::Done(led_to), Some(process)) = (handled.how, self.processes.get_mut(&id)) {
                process.done.push((handled.id, led_to));
            }
        }
        for mistake in self.system.mistakes() {
            self.wrong(mistake);
        }
        let Poll::Ready(finished) = polled else {
            return;
        };
        let process = self.processes.remove(&id).expect("it was polled just now");
        match finished {
            Some(finished) => self.finished(id, process, finished, undisturbed),
            None => {
                self.note("dies", &format_args!("{id} {}", process.name));
                self.died(process.job);
            }
        }
    }

    /// What a function may fail for has come so often.
    fn failures(&self) -> u64 {
        let weather = weather(&self.weather);
        let counts = weather
            .counts()
            .filter(|(kind, _)| befalls_functions(*kind));
        counts.map(|(_, came)| came).sum::<u64>() + weather.lasting_met()
    }

    /// Says what is wrong with what became of a message. `undisturbed` is a function that nothing
    /// can have befallen, for nothing went wrong anywhere since it began.
    fn handled(&mut self, handled: &Handled, undisturbed: bool) {
        let Handled {
            id, order, kind, ..
        } = handled;
        let is_poison = *id == POISON_ID && self.poisoned > 0;
        if let Some(complaint) = handled.complaint().filter(|_| !is_poison)
            && !is_of_abandoning(&self.books, &order.to_string(), &complaint)
        {
            self.wrong(complaint);
        }
        match &handled.how {
            How::Retried(why) if undisturbed && !self.is_provoked(*order, why) => {
                self.wrong(format!(
                    "{kind} of order {order} failed, and nothing had befallen its function: {why}"
                ));
            }
            How::Done(_) if handled.queue == QueueName::Replies => {
                let state = self.books.get(&order.to_string()).map(|order| &order.state);
                if let Some(state) = state.filter(|state| waits_for(state, kind)) {
                    self.wrong(format!("order {order} has its {kind} and is still {state}"));
                }
            }
            How::Done(_) | How::Retried(_) | How::Wrong(_) => {}
        }
    }

    /// Whether a payment method, or so many others at the same row, or a provider that seemed too slow
    /// while its function waited for others' calls, are reason enough to fail.
    fn is_provoked(&self, order: Uuid, why: &str) -> bool {
        let mut clients = self.clients.iter();
        let client = clients.find(|client| client.order == order);
        let provoked = client.is_some_and(|client| client.wish.provokes());
        why.contains(CONTENDED) || why.contains(UNANSWERED) && (provoked || why.ends_with(TOO_LATE))
    }

    /// One call goes through, or whatever befalls it.
    fn let_pass(&mut self, id: CallId, process: ProcessId) {
        let call = self.gate.call(id);
        let name = call.name();
        self.calls += 1;
        let now = self.now();
        let name_of = self
            .processes
            .get(&process)
            .map_or("?", |process| process.name);
        let is_out = call.service == "dynamodb" && self.is_out(name_of, false);
        let fault = {
            let mut weather = weather(&self.weather);
            let drawn = draw(&mut weather, &call, &self.system.tables);
            let comes = drawn.filter(|(trouble, what)| {
                let comes = !is_out && self.makes_a_difference(&call, what);
                if !comes {
                    weather.take_back(*trouble);
                }
                comes
            });
            match is_out {
                true => Some(Drawn::Fault(Fault::BeforeEffect)),
                false => comes.map(|(_, what)| what),
            }
        };
        self.note(
            "call",
            &format_args!("{process} {name_of} {name} {fault:?}"),
        );
        match fault {
            Some(Drawn::Stall) => {
                self.gate.stall(id);
                return;
            }
            Some(Drawn::Hang) => {
                // It ends with its time; until then it has what it has and does nothing.
                if let Some(process) = self.processes.get_mut(&process) {
                    process.future = Box::pin(std::future::pending());
                }
                return;
            }
            Some(Drawn::Late(after)) => {
                self.late.push(Late {
                    sent: now,
                    at: now + after,
                    call,
                });
                self.gate.pass(id, Some(Fault::BeforeEffect));
            }
            Some(Drawn::Fault(fault)) => self.gate.pass(id, Some(fault)),
            None => self.gate.pass(id, None),
        }
        self.poll(process);
    }

    /// Whether what was drawn for a call changes anything.
    fn makes_a_difference(&self, call: &Call, drawn: &Drawn) -> bool {
        match drawn {
            Drawn::Fault(Fault::Stale(writes)) => self.system.aws.would_be_stale(call, *writes),
            Drawn::Fault(_) | Drawn::Late(_) | Drawn::Stall | Drawn::Hang => true,
        }
    }

    /// Whether a function is broken now, in this of the two ways.
    fn is_out(&mut self, function: &str, dies: bool) -> bool {
        let now = self.now();
        let broken = |outage: &&mut Outage| {
            outage.queue.function() == function
                && outage.dies == dies
                && (outage.from..outage.until).contains(&now)
        };
        let Some(outage) = self.outage.as_mut().filter(broken) else {
            return false;
        };
        let is_first = !std::mem::replace(&mut outage.met, true);
        weather(&self.weather).meets(Trouble::Outage, is_first);
        true
    }

    /// Looks at every row a call may have changed, unless what befell it kept it from doing so.
    fn after_effect(&mut self, call: &Call, fault: Option<&Fault>) {
        if fault.is_some_and(|fault| !fault.takes_effect()) {
            return;
        }
        match call.service {
            "dynamodb" if call.is_write() => {
                let keys = call.written_keys();
                let stock = keys
                    .iter()
                    .any(|(table, ..)| *table == self.system.tables.inventory);
                for key in &keys {
                    self.observe(key);
                }
                if stock {
                    for violation in self.books.check_stock() {
                        self.wrong(violation);
                    }
                }
            }
            "sqs" if call.action == "ChangeMessageVisibilityBatch" => {
                let now = self.now();
                for entry in call.request["Entries"].as_array().into_iter().flatten() {
                    let receipt = entry["ReceiptHandle"].as_str().unwrap_or_default();
                    let seconds = entry["VisibilityTimeout"].as_i64().unwrap_or_default();
                    self.network.change_visibility(receipt, seconds, now);
                }
            }
            _ => {}
        }
    }

    fn observe(&mut self, key: &(String, String, String)) {
        let row = self.system.aws.item(&key.0, &key.1, &key.2);
        for violation in self.books.observe(&self.system.tables, key, row.as_ref()) {
            self.wrong(violation);
        }
        if key.0 == self.system.tables.orders {
            self.look_for_parked(&key.1);
        }
        if let (Some(row), Some(user)) = (&row, key.1.strip_prefix("USER#"))
            && key.0 == self.system.tables.users
            && key.2 == "USER"
        {
            let standing = row["status"].as_str().unwrap_or_default();
            self.standings.note(user, self.now(), standing);
        }
    }

    /// An operator who is told that an order is parked does not always wait for it.
    fn look_for_parked(&mut self, pk: &str) {
        let id = pk.strip_prefix("ORDER#").unwrap_or(pk);
        if !self.books.get(id).is_some_and(|order| order.parked) {
            return;
        }
        let now = self.now();
        let client = self
            .clients
            .iter_mut()
            .find(|client| client.order.to_string() == id);
        let Some(client) = client.filter(|client| client.next_abandon.is_none()) else {
            return;
        };
        let mut weather = weather(&self.weather);
        if weather.plans(Trouble::Abandon) {
            let within = *weather.dice(Trouble::Abandon).pick(&[1_000, 4_000_000]);
            let wait = weather.dice(Trouble::Abandon).between(1, within);
            client.next_abandon = Some(now + wait);
        }
    }

    /// The step that is given up is the one the operator saw; the order may have moved on.
    fn abandon(&mut self, number: usize) {
        let now = self.now();
        let client = &mut self.clients[number];
        client.next_abandon = None;
        let order = client.order;
        let seen = self.books.get(&order.to_string());
        let step = match seen.map(|order| order.state.as_str()) {
            Some(state) if state.starts_with("refunding") => Step::Refund,
            Some(state) if state.starts_with("releasing") => Step::Release,
            _ => return,
        };
        client.gave_up.push(step);
        let mut weather = weather(&self.weather);
        weather.came_about(Trouble::Abandon);
        // Some go on to give up the next step as well, parked or not.
        let dice = weather.dice(Trouble::Abandon);
        if step == Step::Refund && dice.hits(500) {
            client.next_abandon = Some(now + dice.between(1, 1_000));
        }
        drop(weather);
        let system = Rc::clone(&self.system);
        self.start("orders-operate", Job::Operate, async move {
            Finished::Done(system.abandon(order, step.name()).await)
        });
    }

    /// What the services sent since, onto the network.
    fn collect_messages(&mut self) {
        let now = self.now();
        for queue in QueueName::ALL {
            for message in self.system.aws.sent_messages(queue.url()) {
                let mut weather = weather(&self.weather);
                self.network.send(queue, message.body, now, &mut weather);
            }
        }
    }

    fn finished(&mut self, id: ProcessId, process: Process, finished: Finished, undisturbed: bool) {
        match (process.job, finished) {
            (Job::Batch { copies, .. }, Finished::Handled(response)) => {
                let failed: Vec<String> = response
                    .batch_item_failures
                    .into_iter()
                    .map(|failure| failure.item_identifier)
                    .collect();
                self.note("handled", &format_args!("{id}, {} failed", failed.len()));
                self.collect_messages();
                let mut done = process.done;
                for copy in self.network.settle(&copies, &failed) {
                    self.deleted(&copy, &mut done);
                }
            }
            (Job::Sweep | Job::Operate, Finished::Done(swept)) => {
                self.note("done", &format_args!("{id} {swept:?}"));
                if let Err(why) = swept
                    && undisturbed
                {
                    let what = "a run of the sweeper or an operator's call";
                    self.wrong(format!("{what} failed, and nothing had befallen it: {why}"));
                }
            }
            (Job::Place { client }, Finished::Answered(response)) => {
                self.note("answered", &format_args!("{id} {}", response.status));
                self.is_excused(&response, undisturbed);
                self.placed(client, &response);
            }
            (Job::Cancel { client }, Finished::Answered(response)) => {
                self.note("answered", &format_args!("{id} {}", response.status));
                self.is_excused(&response, undisturbed);
                self.cancelled(client, &response);
            }
            (Job::Admin(number), Finished::Answered(response)) => {
                self.note("answered", &format_args!("{id} {}", response.status));
                self.is_excused(&response, undisturbed);
                self.administered(number, &response);
            }
            (job, _) => unreachable!("{job:?} ends otherwise"),
        }
    }

    /// A message is deleted when it was carried out and what it led to was taken, and not before. (Of
    /// answers that say the same, each was carried out for itself.)
    fn deleted(&mut self, copy: &Copy, done: &mut Vec<(Uuid, Vec<String>)>) {
        let envelope: Value = serde_json::from_str(&copy.body).unwrap_or_default();
        let id = envelope["id"]
            .as_str()
            .and_then(|id| Uuid::parse_str(id).ok());
        let history = &self.network.history;
        let was_sent = |body: &String| history.iter().rev().any(|sent| sent.1 == *body);
        let of_it = |of: &Uuid| Some(*of) == id;
        let is_through =
            |(of, led_to): &(Uuid, Vec<String>)| of_it(of) && led_to.iter().all(was_sent);
        if let Some(position) = done.iter().position(is_through) {
            done.swap_remove(position);
            return;
        }
        let why = match done.iter().any(|(of, _)| of_it(of)) {
            true => "although what it led to was not sent",
            false => "without having been carried out",
        };
        let what = match about(&copy.body) {
            Some((order, kind)) => format!("{kind} of order {order}"),
            None => format!("the message {}", copy.body),
        };
        self.wrong(format!("{what} was deleted {why}"));
    }

    /// A process is gone without a word. Its messages come back by themselves.
    fn died(&mut self, job: Job) {
        match job {
            Job::Place { client } => {
                self.again_later(|world, at| world.clients[client].next_place = Some(at));
            }
            Job::Cancel { client } => {
                self.again_later(|world, at| world.clients[client].next_cancel = Some(at));
            }
            Job::Admin(number) => {
                self.again_later(|world, at| world.chores[number].at = Some(at));
            }
            Job::Batch { .. } | Job::Sweep | Job::Operate => {}
        }
    }

    fn again_later(&mut self, set: impl FnOnce(&mut Self, Millis)) {
        let wait = *self.dice.pick(&[200, 1_000, 5_000, 30_000]);
        let at = self.now() + wait;
        set(self, at);
    }

    fn placed(&mut self, number: usize, response: &Response) {
        self.is_sane(response);
        match response.status {
            202 => {
                let body: Value = response
                    .body
                    .as_deref()
                    .and_then(|body| serde_json::from_str(body).ok())
                    .unwrap_or_default();
                let client = &mut self.clients[number];
                client.acknowledged = true;
                let order = client.order.to_string();
                if body["id"] != json!(order) {
                    self.wrong(format!("order {order} was answered as {}", body["id"]));
                }
                if self.books.get(&order).is_none() {
                    self.wrong(format!("order {order} was acknowledged and is not there"));
                }
                if weather(&self.weather).brings(Trouble::Again) {
                    self.again_later(|world, at| world.clients[number].next_place = Some(at));
                }
            }
            403 => {
                let client = &mut self.clients[number];
                let (user, order) = (client.user, client.order);
                if client.acknowledged {
                    self.wrong(format!("order {order} was acknowledged and then refused"));
                } else {
                    client.refused = true;
                }
                if !self.books.has_stood(&user.to_string(), "deactivated") {
                    self.wrong(format!("user {user} was refused and never deactivated"));
                }
            }
            503 => self.again_later(|world, at| world.clients[number].next_place = Some(at)),
            status => self.wrong(format!("placing an order was answered {status}")),
        }
    }

    fn cancelled(&mut self, number: usize, response: &Response) {
        self.is_sane(response);
        let client = &mut self.clients[number];
        match response.status {
            202 | 409 => client.cancelled = Some(response.status),
            // Not placed yet, or never.
            404 if !client.acknowledged => {
                if client.next_place.is_some() || !weather(&self.weather).is_over() {
                    self.again_later(|world, at| world.clients[number].next_cancel = Some(at));
                }
            }
            404 => {
                let order = client.order;
                self.wrong(format!(
                    "order {order} was acknowledged and cannot be cancelled"
                ));
            }
            503 => self.again_later(|world, at| world.clients[number].next_cancel = Some(at)),
            status => self.wrong(format!("a cancellation was answered {status}")),
        }
    }

    /// What an administrator was told was done has been done.
    fn administered(&mut self, number: usize, response: &Response) {
        self.is_sane(response);
        let what = self.chores[number].what.clone();
        let done = match (&what, response.status) {
            (_, 503) => {
                self.again_later(|world, at| world.chores[number].at = Some(at));
                return;
            }
            // No more can be taken away than there is.
            (What::Adjust { delta, .. }, 409) => *delta < 0,
            (What::Adjust { sku, delta, .. }, 201) => {
                self.chores[number].is_done = true;
                self.books.adjustments_of(&self.skus[*sku], *delta) > 0
            }
            (What::Price { sku, amount }, 200) => {
                let currency = self.currencies[*sku];
                self.books.has_cost(&self.skus[*sku], *amount, currency)
            }
            (What::Status { user, status }, 200) => {
                self.books.has_stood(&self.users[*user].to_string(), status)
            }
            (What::Price { .. } | What::Adjust { .. } | What::Status { .. }, _) => false,
        };
        if !done {
            let status = response.status;
            self.wrong(format!("{what:?} was answered {status} and is not done"));
        }
    }

    /// Whoever is asked to try later is so for a reason.
    fn is_excused(&mut self, response: &Response, undisturbed: bool) {
        if response.status == 503 && undisturbed {
            self.wrong("an answer was 503, and nothing had befallen the function".to_owned());
        }
    }

    /// 500 is what a bug looks like from outside.
    fn is_sane(&mut self, response: &Response) {
        if response.status == 500 {
            let body = response.body.clone().unwrap_or_default();
            self.wrong(format!("an answer was 500: {body}"));
        }
    }

    fn check_rest(&mut self) {
        let mut wrong = Vec::new();
        if self.poison_found != self.poisoned {
            wrong.push(format!(
                "{} messages that nobody understands were sent, and {} came to a dead-letter queue",
                self.poisoned, self.poison_found
            ));
        }
        for client in &self.clients {
            let id = client.order.to_string();
            let order = self.books.get(&id);
            if client.acknowledged && !order.is_some_and(|order| order.is_terminal()) {
                wrong.push(format!("order {id} was acknowledged and is {order:?}"));
            }
            let state = order.map_or("", |order| order.state.as_str());
            if client.cancelled == Some(202) && state != "cancelled" {
                wrong.push(format!(
                    "order {id}: the cancellation was taken, but it is {state}"
                ));
            }
            if client.cancelled == Some(409) && state != "rejected" {
                wrong.push(format!(
                    "order {id}: too late to cancel, they said, but it is {state}"
                ));
            }
            for step in Step::ALL {
                if order.is_some_and(|order| order.is_abandoned(step))
                    && !client.gave_up.contains(&step)
                {
                    wrong.push(format!(
                        "order {id}: its {} was abandoned and nobody asked for it",
                        step.name()
                    ));
                }
            }
            if state == "cancelled" && !client.cancels {
                wrong.push(format!("order {id} is cancelled and nobody wanted it"));
            }
        }
        for id in self.books.touched() {
            let Some(order) = self.books.get(&id) else {
                wrong.push(format!("there are records of {id}, which is no order"));
                continue;
            };
            let (charged, refunded) = self.books.money(&id);
            let owed = if order.state == "confirmed" {
                order.total
            } else {
                Some(0)
            };
            let settled_by_hand = order.is_abandoned(Step::Refund);
            if Some(charged - refunded) != owed && !settled_by_hand {
                wrong.push(format!(
                    "order {id} is {}: {charged} less {refunded}",
                    order.state
                ));
            }
        }
        wrong.extend(self.books.check_stock());
        wrong.extend(self.check_adjustments());
        wrong.extend(permissions::check(&self.books, &self.standings));
        let day = self.day();
        for client in &self.clients {
            let id = client.order.to_string();
            wrong.extend(endings::check(&self.books, &id, &client.wish, day));
        }
        wrong.extend(self.audit());
        for violation in wrong {
            self.wrong(violation);
        }
    }

    /// However often an administrator had to ask, each adjustment is made once.
    fn check_adjustments(&self) -> Vec<Violation> {
        let mut asked: BTreeMap<(usize, i64), (usize, usize)> = BTreeMap::new();
        for chore in &self.chores {
            if let What::Adjust { sku, delta, .. } = chore.what {
                let (answered, all) = asked.entry((sku, delta)).or_default();
                *answered += usize::from(chore.is_done);
                *all += 1;
            }
        }
        let made = asked.into_iter().filter_map(|((sku, delta), (answered, all))| {
            let sku = &self.skus[sku];
            let made = self.books.adjustments_of(sku, delta);
            let is_right = (answered..=all).contains(&made);
            (!is_right).then(|| {
                format!(
                    "{sku} by {delta} was asked for {all} times, answered {answered} times and made \
                     {made} times"
                )
            })
        });
        made.collect()
    }

    /// What this world's time was like.
    fn day(&self) -> Day {
        let weather = weather(&self.weather);
        let came = |kinds: &dyn Fn(Trouble) -> bool| {
            weather.counts().any(|(kind, came)| came > 0 && kinds(kind))
        };
        if came(&|kind| !is_of_people(kind)) {
            Day::Troubled
        } else if came(&is_of_people) {
            Day::Busy
        } else {
            Day::Quiet
        }
    }

    /// What an operator would be told of these books.
    fn audit(&self) -> Vec<Violation> {
        let tables = &self.system.tables;
        let rows = |table| self.system.aws.dump(table);
        let books = AuditedBooks::read(
            &rows(&tables.users),
            &rows(&tables.orders),
            &rows(&tables.inventory),
            &rows(&tables.payments),
        );
        let audited = reconcile(&books, self.system.clock.timestamp());
        let findings = audited.findings.into_iter();
        findings
            .filter(|finding| !self.is_settled_by_hand(finding))
            .map(|finding| format!("the audit: {}: {}", finding.subject, finding.what))
            .collect()
    }

    /// What was done after an operator had abandoned its undoing is theirs to settle, if somebody told
    /// them: the answer in a dead-letter queue, or the command whose answer never got out.
    fn is_settled_by_hand(&self, finding: &Finding) -> bool {
        let Subject::Order(id) = &finding.subject else {
            return false;
        };
        let id = id.to_string();
        let (step, command, answer) = match finding.kind {
            Kind::StillCharged | Kind::Unsettled => {
                (Step::Refund, "ChargePayment", "PaymentCharged")
            }
            Kind::StillReserved => (Step::Release, "ReserveStock", "StockReserved"),
            _ => return false,
        };
        let told = |kind: &str| self.news.contains(&(id.clone(), kind.to_owned()));
        let left = self
            .network
            .abandoned
            .iter()
            .filter_map(|copy| about(&copy.body));
        let mut left = left.filter(|(order, _)| *order == id);
        let gave_up = |order: &Order| order.is_abandoned(step);
        self.books.get(&id).is_some_and(gave_up)
            && (told(answer) || left.any(|(_, kind)| kind == command))
    }

    /// Every message that was ever sent comes twice more, in any order; then nothing has changed.
    ///
    /// What an operator gave up may still be lying in a dead-letter queue and go through now, for
    /// the orders it is about. They are held to this once it has.
    async fn replay_everything(&mut self) {
        let abandoned = Abandoned::of(&self.books);
        self.replay_unchanged(&abandoned).await;
        if abandoned.is_any() && self.violations.is_empty() {
            self.replay_unchanged(&Abandoned::default()).await;
        }
    }

    /// Delivers everything twice; no row has changed but those left out.
    async fn replay_unchanged(&mut self, left_out: &Abandoned) {
        let rows = |world: &Self| -> Vec<Value> {
            let rows = world.tables().into_iter();
            rows.filter(|row| !left_out.concerns(row)).collect()
        };
        let before = rows(self);
        self.replay_twice().await;
        let after = rows(self);
        if self.violations.is_empty() && after != before {
            let changed = before
                .iter()
                .zip(&after)
                .find(|(before, after)| before != after);
            self.wrong(format!(
                "replaying every message changed a row: {changed:?}"
            ));
        }
    }

    async fn replay_twice(&mut self) {
        let history = self.network.history.clone();
        let now = self.now();
        for _ in 0..2 {
            for (queue, body) in &history {
                self.network.replay(*queue, body.clone(), now);
            }
        }
        self.replayed += 2 * history.len() as u64;
        self.note("replay", &format_args!("{} messages", history.len()));
        let limit = self.steps + MAX_STEPS;
        while !self.is_at_rest() && self.violations.is_empty() {
            self.steps += 1;
            if self.steps > limit {
                self.wrong("the replay does not come to rest".to_owned());
            }
            let now = self.now();
            let options = self.options(now);
            if options.is_empty() {
                let until = self.next_event(now);
                self.pass(until - now).await;
            } else {
                let choice = *self.dice.pick(&options);
                self.act(choice);
                self.collect_messages();
            }
        }
    }

    fn tables(&self) -> Vec<Value> {
        let tables = &self.system.tables;
        [
            &tables.users,
            &tables.orders,
            &tables.inventory,
            &tables.payments,
        ]
        .into_iter()
        .flat_map(|table| self.system.aws.dump(table))
        .collect()
    }

    fn wrong(&mut self, violation: Violation) {
        self.note("WRONG", &format_args!("{violation}"));
        self.violations.push(violation);
    }

    /// Writes down what happens: into the hash always, as text where somebody wants to read it.
    fn note(&mut self, what: &str, details: &std::fmt::Arguments<'_>) {
        let now = self.now();
        let mut hasher = Fnv(self.hash);
        let _ = write!(hasher, "{now} {what} {details}");
        self.hash = hasher.0;
        if self.plan.traced {
            let _ = writeln!(self.trace, "{} {what:12} {details}", timestamp(now));
        }
    }

    fn outcome(self) -> Outcome {
        let mut endings = BTreeMap::new();
        for (_, order) in self.books.orders() {
            let ending = match &order.failure {
                Some(code) => format!("{} {code}", order.state),
                None => order.state.clone(),
            };
            *endings.entry(ending).or_default() += 1;
        }
        let mut abandoned = BTreeMap::new();
        for step in Step::ALL {
            let orders = self.books.orders();
            let count = orders.filter(|(_, order)| order.is_abandoned(step)).count();
            abandoned.insert(step.name(), count);
        }
        let weather = weather(&self.weather);
        Outcome {
            seed: self.plan.seed,
            sagas: self
                .clients
                .iter()
                .filter(|client| client.acknowledged)
                .count(),
            endings,
            troubles: weather
                .counts()
                .map(|(kind, came)| (kind.name(), came))
                .collect(),
            calls: self.calls,
            messages: self.network.history.len() as u64,
            replayed: self.replayed,
            parked: self
                .books
                .orders()
                .filter(|(_, order)| order.was_parked())
                .count(),
            abandoned,
            lasted: self.system.clock.now(),
            hash: self.hash,
            violations: self.violations,
            trace: self.trace,
        }
    }
}

/// What people do or have done: nothing that a function may fail for. Messages that come too
/// often are not either, nor is a sweeper that does, nor poison to whoever is not given it.
fn is_of_people(kind: Trouble) -> bool {
    matches!(
        kind,
        Trouble::Duplicate
            | Trouble::Redrive
            | Trouble::Poison
            | Trouble::SweeperTwice
            | Trouble::Cancel
            | Trouble::Again
            | Trouble::Operator
            | Trouble::Price
            | Trouble::Adjustment
            | Trouble::Deactivation
            | Trouble::Abandon
    )
}

/// What a function may fail for. (Whatever is late, or left where it is, is somebody else's message.)
fn befalls_functions(kind: Trouble) -> bool {
    let late = [Trouble::Delay, Trouble::SweeperLate, Trouble::LeftDead];
    !is_of_people(kind) && !late.contains(&kind)
}

/// How a handler says that others were always there first.
const CONTENDED: &str = "other writers kept getting in first";

/// How payments says that the provider fails.
const UNANSWERED: &str = "the outcome is not known yet";

/// How it goes on where it waited for the provider for all the time it has.
const TOO_LATE: &str = "deadline has elapsed";

/// Whether an order in this state waits for such an answer.
fn waits_for(state: &str, answer: &str) -> bool {
    match answer {
        "UserVerified" | "UserRefused" => state == "verifying",
        "StockReserved" | "StockRefused" => state == "reserving",
        "PaymentCharged" | "PaymentDeclined" => state == "charging",
        "PaymentRefunded" => state.starts_with("refunding"),
        "StockReleased" => state.starts_with("releasing"),
        _ => false,
    }
}

/// Which function is broken, and when, if any is.
fn outage(weather: &mut Weather, troubled_until: Millis) -> Option<Outage> {
    if !weather.plans(Trouble::Outage) {
        return None;
    }
    let dice = weather.dice(Trouble::Outage);
    let from = dice.between(0, troubled_until);
    let lasts = *dice.pick(&[60_000, 1_800_000, 7_200_000]);
    Some(Outage {
        queue: *dice.pick(&QueueName::ALL),
        from,
        until: from + dice.between(1_000, lasts),
        dies: dice.hits(500),
        met: false,
    })
}

/// Lets the payment provider go, where it does, and says when it is back.
fn provider_gone(weather: &mut Weather, troubled_until: Millis) -> Millis {
    if !weather.plans(Trouble::ProviderGone) {
        return 0;
    }
    let dice = weather.dice(Trouble::ProviderGone);
    let from = dice.between(0, troubled_until);
    let lasts = *dice.pick(&[300_000, 1_800_000, 1_800_000, 7_200_000]);
    let until = from + dice.between(60_000, lasts);
    weather.provider_will_be_gone(from..until);
    until
}

#[derive(Clone, Copy)]
enum Choice {
    Pass(CallId, ProcessId),
    Receive(QueueName),
    Place(usize),
    Cancel(usize),
    Retry(usize),
    Abandon(usize),
    Chore(usize),
    Sweep,
    Redrive,
    Arrive(usize),
    Poison(usize),
}

/// What nobody can understand.
const POISON: [&str; 4] = [
    "not even JSON",
    r#"{"id": "0190f8a0-0000-7000-8000-000000000000"}"#,
    r#"{"id":"0190f8a0-0000-7000-8000-000000000000","type":"MakeCoffee","version":1,"order_id":"0190f8a0-0000-7000-8000-000000000001","time":"2026-01-02T03:04:06.000Z","traceparent":null,"data":{}}"#,
    r#"{"id":"0190f8a0-0000-7000-8000-000000000000","type":"ChargePayment","version":1,"order_id":"0190f8a0-0000-7000-8000-000000000001","time":"2026-01-02T03:04:06.000Z","traceparent":null,"data":{"amount":"much"}}"#,
];
/// The id of whatever poison can be read at all; no message of the services has it.
const POISON_ID: Uuid = Uuid::from_u128(0x0190_f8a0_0000_7000_8000_0000_0000_0000);

#[derive(Debug)]
enum Drawn {
    Fault(Fault),
    Late(Millis),
    Stall,
    Hang,
}

/// What befalls a call. Every kind that could is drawn, in a fixed order; the first that comes
/// counts.
fn draw(weather: &mut Weather, call: &Call, tables: &Tables) -> Option<(Trouble, Drawn)> {
    let mut drawn: Option<(Trouble, Drawn)> = None;
    let mut offer = |weather: &mut Weather, trouble: Trouble, what: Drawn| {
        if weather.brings(trouble) {
            if drawn.is_none() {
                drawn = Some((trouble, what));
            } else {
                weather.take_back(trouble);
            }
        }
    };
    offer(
        weather,
        Trouble::KillBefore,
        Drawn::Fault(Fault::KillBefore),
    );
    offer(weather, Trouble::KillAfter, Drawn::Fault(Fault::KillAfter));
    let stalls = match weather.dice(Trouble::Stall).hits(300) {
        true => Drawn::Hang,
        false => Drawn::Stall,
    };
    offer(weather, Trouble::Stall, stalls);
    offer(weather, Trouble::Throttle, Drawn::Fault(Fault::Throttle));
    offer(
        weather,
        Trouble::LostRequest,
        Drawn::Fault(Fault::BeforeEffect),
    );
    offer(
        weather,
        Trouble::LostAnswer,
        Drawn::Fault(Fault::AfterEffect),
    );
    if call.is_write() {
        let after = *weather
            .dice(Trouble::LateRequest)
            .pick(&[5, 300, 4_000, 60_000, 900_000]);
        offer(weather, Trouble::LateRequest, Drawn::Late(after));
    }
    // Nobody writes orders or payments in a transaction.
    let in_transactions = [&tables.inventory, &tables.users];
    let may_conflict = call.targets.iter().any(|of| in_transactions.contains(&of));
    if may_conflict && Fault::TransactionConflict.can_befall(call) {
        offer(
            weather,
            Trouble::Conflict,
            Drawn::Fault(Fault::TransactionConflict),
        );
    }
    if Fault::Unprocessed.can_befall(call) {
        // Of one key alone a part would be all of it.
        let wholly = weather.dice(Trouble::Unprocessed).hits(250) || asks_for_one(call);
        let fault = match wholly {
            true => Fault::WhollyUnprocessed,
            false => Fault::Unprocessed,
        };
        offer(weather, Trouble::Unprocessed, Drawn::Fault(fault));
    }
    if call.may_be_stale() {
        let writes = *weather.dice(Trouble::StaleRead).pick(&[1, 6, 30, 120]);
        let fault = Fault::Stale(writes);
        offer(weather, Trouble::StaleRead, Drawn::Fault(fault));
    }
    if call.action == "SendMessageBatch" {
        let entries = call.request["Entries"].as_array().map_or(0, Vec::len);
        let dice = weather.dice(Trouble::PartialSend);
        let one = dice.below(entries.max(1) as u64) as usize;
        let refused: Vec<usize> = (0..entries)
            .filter(|entry| *entry == one || dice.hits(500))
            .collect();
        offer(
            weather,
            Trouble::PartialSend,
            Drawn::Fault(Fault::PartialSend(refused)),
        );
    }
    drawn
}

/// Whether a batch names one key of a table, or none.
fn asks_for_one(call: &Call) -> bool {
    let tables = call.request["RequestItems"].as_object();
    let mut tables = tables.into_iter().flat_map(|tables| tables.values());
    tables.all(|asked| asked["Keys"].as_array().is_some_and(|keys| keys.len() < 2))
}

/// Fowler-Noll-Vo 1a, 64 bits: enough to tell two traces apart.
struct Fnv(u64);

impl std::fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
