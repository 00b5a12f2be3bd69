//! One world from its seed to its rest: who acts next, what befalls them, and what is wrong then.

mod at_rest;
mod faults;
mod messages;
mod outcome;
mod people;
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use aws_lambda_events::event::sqs::SqsBatchResponse;
use futures_util::FutureExt;
use shared_lambda::http::Response;
use test_support::{Call, Fault, mortal};
use uuid::Uuid;

use crate::abandoning::{is_left_alone, news_after_abandoning};
use crate::books::{Books, Order, Violation};
use crate::chance::{Dice, SharedWeather, Trouble, Weather, weather};
use crate::clock::{Millis, millis};
use crate::deployed;
use crate::gate::{CallId, Gate, ProcessId};
use crate::handled::{How, said};
use crate::network::{Copy, Network};
use crate::participants::Queue;
use crate::permissions::Standings;
use crate::system::System;
use faults::{Drawn, Outage, draw, is_of_people, outage, provider_gone};
pub use outcome::Outcome;
use people::{Chore, Client, What};
use replay::is_replayed;

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
        let shared = Arc::new(Mutex::new(Weather::new(plan.seed, &plan.without)));
        let system = Rc::new(System::new(plan.seed, &gate, &shared));
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
        let outage = outage(&mut weather(&shared), troubled_until);
        let over = outage.as_ref().map_or(0, |outage| outage.until);
        let back = provider_gone(&mut weather(&shared), troubled_until);
        let troubled_until = troubled_until.max(over).max(back);
        Self {
            plan: plan.clone(),
            gate,
            weather: shared,
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
            for queue in Queue::ALL {
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
                let queue = *self.dice.pick(&Queue::ALL);
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
        for queue in Queue::ALL {
            let (waiting, in_flight) = self.network.counts(queue, now);
            let aws = &self.system.aws;
            aws.keep_elsewhere(queue.url(), waiting, in_flight);
        }
        self.poll(process);
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

    /// What the services sent since, onto the network.
    fn collect_messages(&mut self) {
        let now = self.now();
        for queue in Queue::ALL {
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

    fn wrong(&mut self, violation: Violation) {
        self.note("WRONG", &format_args!("{violation}"));
        self.violations.push(violation);
    }
}

#[derive(Clone, Copy)]
enum Choice {
    Pass(CallId, ProcessId),
    Receive(Queue),
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
