//! One world: some orders, few units, the rows of four services, and every message on its way.
//!
//! A handler is a [`Task`] cut at each read, write, send and question to the provider; the world
//! picks at random which task goes on, so handlers overtake each other wherever they can. Time is
//! the world's own. Everything that happens follows from the seed and the scenario.

use inventory::domain::{
    Currency, Item, ItemName, Levels, OnRelease, OnReserve, Outcome, Price, PriceAmount,
    RefusalCode, Reservation, ReservedLine, Sku,
};
use jiff::{SignedDuration, Timestamp};
use orders::domain::{
    CancelledBy, Decision, Draft, Event, Ignored, Line, Money, Order, OrderId, PaymentMethod,
    Quantity, Refusal, State, UserId,
};
use payments::domain::Payment;
use users::domain::{Email, Status, User, UserName};
use uuid::Uuid;

use super::Scenario;
use super::fault::{Counts, Fault};
use super::invariants::{INVARIANTS, Violation};
use crate::chance::{Chance, mix};
use crate::messages::{self, Body, Facts};
use crate::participants::{self, Ledger, Mood, Paid, PayStep, Paying};
use crate::services::Services;
use crate::situation::{Seen, Situation, Situations};

/// `maxReceiveCount` of every queue.
const MAX_RECEIVES: u8 = 5;

/// `WRITE_TRIES` of orders' handlers and `TRIES` of `shared_lambda::contention`.
const WRITE_TRIES: u8 = 8;

/// `MAX_STEPS` of payments' handler.
const PAYMENT_STEPS: u8 = 16;

/// `provider::TRIES`.
const PROVIDER_TRIES: u8 = 2;

/// Steps of chaos a world gets for each of its orders.
const CHAOS_PER_ORDER: usize = 60;

/// A world at rest needs a few rounds of sweeping per attempt of each step; this is far beyond.
const MAX_ROUNDS: usize = 400;

/// How often dead letters are redriven before they are taken for poison.
const MAX_REDRIVES: usize = 10;

const CURRENCY: &str = "USD";

/// What a world was when it was done.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub sagas: u64,
    pub delivered: u64,
    pub sent: u64,
    pub conflicts: u64,
    pub steps: u64,
    pub faults: Counts,
    pub endings: Vec<(&'static str, u64)>,
    pub situations: Situations,
    pub hash: u64,
    pub violation: Option<Violation>,
    pub narration: Vec<String>,
}

pub(super) struct World<'a, S> {
    services: &'a S,
    chance: Chance,
    pub(super) now: Timestamp,
    /// How often each kind of fault happens, in a thousand chances for it. Each world draws its
    /// own: with every kind at once most worlds would look alike, and hardly an order would
    /// succeed (swarm testing: Groce et al., ISSTA 2012).
    rates: [u16; Fault::ALL.len()],
    /// How much of a world's life is spent waiting: without it hardly a step would be given up.
    haste: usize,
    pub(super) facts: Vec<Facts>,
    pub(super) orders: Vec<Option<Order>>,
    pub(super) acknowledged: Vec<bool>,
    pub(super) reservations: Vec<Option<Reservation>>,
    payments: Vec<Option<Payment>>,
    pub(super) items: Vec<Item>,
    users: Vec<User>,
    /// Which of `users` placed which order.
    customers: Vec<usize>,
    pub(super) ledger: Ledger,
    /// Every message that was ever sent, in order: what a copy is a copy of.
    sent: Vec<(usize, Body)>,
    waiting: Vec<Copy>,
    late: Vec<Copy>,
    dead: Vec<Copy>,
    tasks: Vec<Task>,
    /// Provider and users service, until the next time somebody looks after them.
    provider_is_down: bool,
    users_are_down: bool,
    delivered: u64,
    conflicts: u64,
    steps: u64,
    counts: Counts,
    situations: Situations,
    hash: u64,
    narration: Option<Vec<String>>,
    pub(super) violation: Option<Violation>,
}

/// One of possibly several copies of a message on a queue.
#[derive(Clone, Copy, Debug)]
struct Copy {
    message: usize,
    receives: u8,
}

#[derive(Clone, Copy, Debug)]
enum Cause {
    Delivery(Copy),
    Placing,
    Cancelling,
    Sweeper,
}

#[derive(Debug)]
struct Task {
    cause: Cause,
    order: usize,
    stage: Stage,
    tries: u8,
}

/// What a task does next: one request to something outside of its process.
#[derive(Debug)]
enum Stage {
    // orders
    InsertOrder(Box<Order>),
    LoadOrder(What),
    UpdateOrder(What, Box<Order>),
    // users
    ReadUser,
    // inventory
    ReadReservation(Want),
    ReadItems,
    Reserve(Outcome),
    GiveBack(Vec<ReservedLine>),
    Forestall,
    // payments
    Pay(Box<Paying>),
    // all of them
    Send(Body),
}

/// Which event an order is loaded for.
#[derive(Clone, Copy, Debug)]
enum What {
    Reply(usize),
    Cancel,
    Due,
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Reserve,
    Release,
}

enum Next {
    Goes(Stage),
    Done,
    /// The message comes back, if a message it was.
    Fails,
    Unprocessable(String),
}

/// What kind of request a step is: where it can be cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Send,
    Ask,
}

impl Stage {
    fn kind(&self) -> Kind {
        match self {
            Stage::LoadOrder(_)
            | Stage::ReadUser
            | Stage::ReadReservation(_)
            | Stage::ReadItems => Kind::Read,
            Stage::InsertOrder(_)
            | Stage::UpdateOrder(..)
            | Stage::Reserve(_)
            | Stage::GiveBack(_)
            | Stage::Forestall => Kind::Write,
            Stage::Send(_) => Kind::Send,
            Stage::Pay(paying) => Self::of_payment(&paying.step),
        }
    }

    fn of_payment(step: &PayStep) -> Kind {
        match step {
            PayStep::Find | PayStep::FindToRecord(..) => Kind::Read,
            PayStep::Insert(_) | PayStep::Replace(_) | PayStep::Record(..) => Kind::Write,
            PayStep::AskToCharge(_) | PayStep::AskToCancel(_) | PayStep::AskToRefund(..) => {
                Kind::Ask
            }
        }
    }
}

/// Makes a world of a seed, runs it to its end and says how it was.
pub(super) fn run<S: Services>(
    services: &S,
    seed: u64,
    scenario: Scenario,
    narrate: bool,
) -> Account {
    let mut world = World::new(services, seed, scenario, narrate);
    world.chaos();
    world.come_to_rest();
    if world.violation.is_none() {
        world.check_rest();
    }
    if world.violation.is_none() {
        world.replay_everything();
    }
    world.account()
}

impl<'a, S: Services> World<'a, S> {
    fn new(services: &'a S, seed: u64, scenario: Scenario, narrate: bool) -> Self {
        let mut chance = Chance::new(mix(seed ^ 0x5eed));
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
        let mut rates = [0; Fault::ALL.len()];
        for (fault, rate) in Fault::ALL.iter().zip(&mut rates) {
            // Drawn whether it counts or not, so that a world without it is otherwise alike.
            let drawn = [0, 0, 20, 60, 200, 400][chance.below(6)];
            if scenario.faults.contains(*fault) {
                *rate = drawn;
            }
        }
        let items: Vec<Item> = (0..1 + chance.below(3))
            .map(|number| item(number, &mut chance, now))
            .collect();
        let users: Vec<User> = (0..2).map(|number| user(number, now)).collect();
        let mut world = Self {
            services,
            now,
            rates,
            haste: [0, 0, 8, 64][chance.below(4)],
            facts: Vec::with_capacity(scenario.orders),
            customers: Vec::with_capacity(scenario.orders),
            orders: vec![None; scenario.orders],
            acknowledged: vec![false; scenario.orders],
            reservations: vec![None; scenario.orders],
            payments: vec![None; scenario.orders],
            items,
            users,
            ledger: Ledger::default(),
            sent: Vec::with_capacity(scenario.orders * 16),
            waiting: Vec::with_capacity(scenario.orders * 4),
            late: Vec::new(),
            dead: Vec::new(),
            tasks: Vec::with_capacity(scenario.orders),
            provider_is_down: false,
            users_are_down: false,
            delivered: 0,
            conflicts: 0,
            steps: 0,
            counts: Counts::default(),
            situations: Situations::default(),
            hash: seed,
            narration: narrate.then(Vec::new),
            violation: None,
            chance,
        };
        for number in 0..scenario.orders {
            let customer = world.chance.below(world.users.len());
            let draft = world.draft(number, customer);
            world.facts.push(Facts::new(draft));
            world.customers.push(customer);
        }
        world
    }

    fn draft(&mut self, number: usize, customer: usize) -> Draft {
        let first = self.chance.below(self.items.len());
        let count = 1 + self.chance.below(self.items.len().min(2));
        let mut total = 0;
        let lines = (0..count)
            .map(|line| {
                let item = &self.items[(first + line) % self.items.len()];
                let units = 1 + self.chance.below(2) as i64;
                total += item.price.amount.get() * units;
                Line {
                    sku: orders::domain::Sku::parse(item.sku.as_str())
                        .expect("both services know the same skus"),
                    quantity: Quantity::new(units).expect("one or two is a quantity"),
                    name: None,
                    unit_price: None,
                }
            })
            .collect();
        let expected = self.chance.below(3) > 0;
        Draft {
            id: OrderId(Uuid::from_u64_pair(0x0de5, number as u64)),
            user_id: UserId(self.users[customer].id),
            lines,
            payment_method: PaymentMethod::parse("pm_card_visa").expect("it is a token"),
            expected_total: expected
                .then(|| Money::new(total, CURRENCY).expect("prices are above zero")),
            fingerprint: Uuid::nil(),
            rehearsal: None,
        }
    }

    // What happens, and in which order.

    fn chaos(&mut self) {
        let limit = (self.orders.len() * CHAOS_PER_ORDER) as u64;
        while self.steps < limit && self.violation.is_none() {
            self.now += SignedDuration::from_millis(self.chance.below(40) as i64);
            match self.chance.below(64 + self.haste) {
                64.. => {
                    self.pass_time();
                    self.sweep();
                }
                0..32 if !self.tasks.is_empty() => self.step_any(),
                0..48 if !self.waiting.is_empty() => self.deliver_any(),
                48..54 => self.client(),
                54..58 => self.sweep(),
                58..60 => self.redeliver(),
                60 => self.weather(),
                61 => self.administrator(),
                62 => self.pass_time(),
                _ if !self.tasks.is_empty() => self.step_any(),
                _ if !self.waiting.is_empty() => self.deliver_any(),
                _ => self.client(),
            }
            self.steps += 1;
        }
    }

    /// No more faults: every message but the late ones arrives, operators redrive, time passes and
    /// the sweeper runs until nothing is due.
    fn come_to_rest(&mut self) {
        self.rates = [0; Fault::ALL.len()];
        self.provider_is_down = false;
        self.users_are_down = false;
        for _ in 0..MAX_ROUNDS {
            self.drain();
            if self.violation.is_some() {
                return;
            }
            let next = self
                .orders
                .iter()
                .flatten()
                .filter_map(|order| order.due_at)
                .min();
            let Some(next) = next else { return };
            self.now = self.now.max(next);
            self.sweep();
        }
        self.violate(
            "every order ends",
            0,
            "the sweeper is never done".to_owned(),
        );
    }

    /// Until no message is on its way and none is dead: what failed for contention succeeds when it
    /// is redriven.
    fn drain(&mut self) {
        for _ in 0..MAX_REDRIVES {
            let dead = std::mem::take(&mut self.dead);
            self.waiting.extend(dead.iter().map(|copy| Copy {
                receives: 0,
                ..*copy
            }));
            self.handle_all();
            if self.dead.is_empty() || self.violation.is_some() {
                return;
            }
        }
        let (order, body) = &self.sent[self.dead[0].message];
        let (order, detail) = (*order, format!("{body:?} is dead-lettered again and again"));
        self.violate("every message is handled at last", order, detail);
    }

    fn handle_all(&mut self) {
        while self.violation.is_none() {
            // Deliver often enough for handlers to run side by side here as well.
            if !self.waiting.is_empty() && (self.tasks.is_empty() || self.chance.below(3) == 0) {
                self.deliver_any();
            } else if !self.tasks.is_empty() {
                self.step_any();
            } else {
                return;
            }
            self.steps += 1;
        }
    }

    /// At rest, every message ever sent comes twice more, the late ones and those that were lost
    /// among them, and nothing may change.
    fn replay_everything(&mut self) {
        let before = (
            self.orders.clone(),
            self.reservations.clone(),
            self.payments.clone(),
            self.items.clone(),
            self.ledger.clone(),
        );
        self.waiting.append(&mut self.late);
        let again = (0..self.sent.len()).map(|message| Copy {
            message,
            receives: 0,
        });
        self.waiting.extend(again.clone().chain(again));
        self.drain();
        if self.violation.is_some() {
            return;
        }
        let (orders, reservations, payments, items, ledger) = before;
        if orders != self.orders {
            let order = (0..orders.len()).find(|at| orders[*at] != self.orders[*at]);
            self.violate(REPLAY, order.unwrap_or(0), "an order changed".to_owned());
        } else if reservations != self.reservations || items != self.items {
            self.violate(REPLAY, 0, "inventory changed".to_owned());
        } else if payments != self.payments || ledger != self.ledger {
            self.violate(REPLAY, 0, "payments changed".to_owned());
        }
    }

    fn step_any(&mut self) {
        let at = self.chance.below(self.tasks.len());
        let task = self.tasks.swap_remove(at);
        self.step(task);
    }

    fn deliver_any(&mut self) {
        let at = self.chance.below(self.waiting.len());
        let copy = self.waiting.swap_remove(at);
        self.deliver(copy);
    }

    /// A customer places an order, or places it again, or cancels it.
    fn client(&mut self) {
        let order = self.chance.below(self.orders.len());
        if self.orders[order].is_none() && !self.acknowledged[order] {
            self.place(order);
        } else if self.happens(Fault::CancelRequested) {
            self.tell(1, order, || "the customer cancels".to_owned());
            self.spawn(Cause::Cancelling, order, Stage::LoadOrder(What::Cancel));
        } else if self.happens(Fault::PlacedAgain) {
            self.place(order);
        }
    }

    /// `orders-place` up to its first write: it has asked users over REST.
    fn place(&mut self, order: usize) {
        let verified = if self.users_are_down {
            false
        } else {
            let user = &self.users[self.customers[order]];
            if self.services.may_order(Some(user)).is_err() {
                self.tell(2, order, || {
                    "an order is refused: the user may not".to_owned()
                });
                self.acknowledged[order] = self.orders[order].is_some();
                return;
            }
            true
        };
        self.tell(3, order, || {
            format!("the customer places the order (users asked: {verified})")
        });
        let placed = self
            .services
            .place(self.facts[order].draft.clone(), verified, self.now);
        self.spawn(Cause::Placing, order, Stage::InsertOrder(Box::new(placed)));
    }

    fn sweep(&mut self) {
        let early = self.happens(Fault::SweptEarly);
        let runs = if self.happens(Fault::SweptTwice) {
            2
        } else {
            1
        };
        for order in 0..self.orders.len() {
            let due_at = self.orders[order].as_ref().and_then(|order| order.due_at);
            if due_at.is_some_and(|due_at| early || due_at <= self.now) {
                for _ in 0..runs {
                    self.tell(4, order, || "the sweeper finds the order".to_owned());
                    self.spawn(Cause::Sweeper, order, Stage::LoadOrder(What::Due));
                }
            }
        }
    }

    /// An operator redrives a dead letter.
    fn redeliver(&mut self) {
        if let Some(copy) = self.dead.pop() {
            let order = self.sent[copy.message].0;
            self.tell(5, order, || "an operator redrives a message".to_owned());
            self.waiting.push(Copy {
                receives: 0,
                ..copy
            });
        }
    }

    fn weather(&mut self) {
        self.provider_is_down = self.happens(Fault::ProviderDown);
        self.users_are_down = self.happens(Fault::UsersDown);
    }

    fn administrator(&mut self) {
        if self.happens(Fault::UserDeactivated) {
            let at = self.chance.below(self.users.len());
            self.users[at].status = Status::Deactivated;
        } else if self.chance.below(4) == 0 {
            for user in &mut self.users {
                user.status = Status::Active;
            }
        }
        let at = self.chance.below(self.items.len());
        if self.happens(Fault::PriceChanged) {
            let amount = 100 + self.chance.below(3) as i64 * 50;
            self.items[at].price.amount = PriceAmount::parse(amount).expect("it is a price");
        }
        if self.happens(Fault::StockAdjusted) {
            // `InventoryStore::write_adjustment`: on condition that what it takes is available.
            let delta = [-2, -1, 1, 2][self.chance.below(4)];
            let levels = &mut self.items[at].levels;
            if levels.available >= -delta {
                levels.available += delta;
                levels.stocked += delta;
            }
        }
    }

    fn pass_time(&mut self) {
        let seconds = if self.happens(Fault::SweptLate) {
            self.chance.below(3 * 24 * 3600)
        } else {
            self.chance.below(60)
        };
        self.now += SignedDuration::from_secs(seconds as i64);
    }

    // One message, one task.

    fn deliver(&mut self, copy: Copy) {
        let (order, body) = &self.sent[copy.message];
        let order = *order;
        self.delivered += 1;
        let stage = match body {
            Body::VerifyUser => Stage::ReadUser,
            Body::ReserveStock => Stage::ReadReservation(Want::Reserve),
            Body::ReleaseStock => Stage::ReadReservation(Want::Release),
            Body::ChargePayment { .. } | Body::RefundPayment => {
                let facts = &self.facts[order];
                let command = facts.payment_command(body).expect("it is for payments");
                let delivery = self.delivered;
                let id = payments::domain::OrderId(facts.id());
                let paying = Paying::begin(self.services, order, id, command, delivery, self.now);
                Stage::Pay(Box::new(paying))
            }
            Body::Reply(_) => Stage::LoadOrder(What::Reply(copy.message)),
        };
        self.tell_message(6, copy.message, "arrives");
        self.spawn(Cause::Delivery(copy), order, stage);
    }

    fn spawn(&mut self, cause: Cause, order: usize, stage: Stage) {
        self.tasks.push(Task {
            cause,
            order,
            stage,
            tries: 0,
        });
    }

    fn step(&mut self, mut task: Task) {
        let (order, kind) = (task.order, task.stage.kind());
        match kind {
            Kind::Write if self.happens(Fault::CrashBeforeWrite) => {
                return self.crash(task, "before its write");
            }
            Kind::Send if self.happens(Fault::CrashBeforeSend) => {
                return self.crash(task, "before its send");
            }
            Kind::Ask => {}
            Kind::Read | Kind::Write | Kind::Send => {
                if self.happens(Fault::Throttled) {
                    self.tell(7, order, || "a request is throttled".to_owned());
                    return self.fails(task);
                }
            }
        }
        let next = match std::mem::replace(&mut task.stage, Stage::ReadUser) {
            Stage::InsertOrder(placed) => self.insert_order(order, *placed),
            Stage::LoadOrder(what) => self.load_order(order, what),
            Stage::UpdateOrder(what, next) => self.update_order(order, what, *next, &mut task),
            Stage::ReadUser => self.read_user(order),
            Stage::ReadReservation(want) => self.read_reservation(order, want),
            Stage::ReadItems => {
                let wanted = &self.facts[order].wanted;
                Next::Goes(Stage::Reserve(
                    self.services.decide_stock(wanted, &self.items),
                ))
            }
            Stage::Reserve(outcome) => self.reserve(order, outcome, &mut task),
            Stage::GiveBack(lines) => {
                let written = participants::give_back(
                    self.services,
                    &mut self.reservations[order],
                    &mut self.items,
                    &lines,
                );
                self.situations
                    .add(Seen::when(written, Situation::UnitsGivenBack));
                self.released(order, written, &mut task)
            }
            Stage::Forestall => {
                let record = &mut self.reservations[order];
                let written = participants::forestall(self.services, record);
                self.situations
                    .add(Seen::when(written, Situation::ReleaseLeftTombstone));
                self.released(order, written, &mut task)
            }
            Stage::Pay(paying) => self.pay(order, *paying, &mut task),
            Stage::Send(body) => self.send(order, body),
        };
        match kind {
            Kind::Write if self.happens(Fault::CrashAfterWrite) => {
                return self.crash(task, "after its write");
            }
            Kind::Send if self.happens(Fault::CrashAfterSend) => {
                return self.crash(task, "after its send");
            }
            Kind::Read | Kind::Write | Kind::Send | Kind::Ask => {}
        }
        match next {
            Next::Goes(stage) => {
                task.stage = stage;
                self.tasks.push(task);
            }
            Next::Done => self.done(&task),
            Next::Fails => self.fails(task),
            Next::Unprocessable(why) => {
                self.violate("participants never contradict each other", order, why);
            }
        }
    }

    fn done(&mut self, task: &Task) {
        match task.cause {
            Cause::Placing => self.acknowledged[task.order] = true,
            Cause::Delivery(_) | Cause::Cancelling | Cause::Sweeper => {}
        }
    }

    fn crash(&mut self, task: Task, whence: &'static str) {
        self.tell(8, task.order, || format!("the handler dies {whence}"));
        self.comes_back(task.cause);
    }

    fn fails(&mut self, task: Task) {
        match (task.cause, task.stage.kind()) {
            // What cannot be sent for a customer now, the sweeper sends later: they hear a yes.
            (Cause::Placing, Kind::Send) => self.done(&task),
            _ => self.comes_back(task.cause),
        }
    }

    fn comes_back(&mut self, cause: Cause) {
        match cause {
            Cause::Delivery(copy) => {
                let copy = Copy {
                    receives: copy.receives + 1,
                    ..copy
                };
                if copy.receives >= MAX_RECEIVES {
                    self.counts.add(Fault::DeadLettered);
                    self.dead.push(copy);
                } else {
                    self.waiting.push(copy);
                }
            }
            Cause::Placing | Cause::Cancelling | Cause::Sweeper => {}
        }
    }

    // Orders.

    /// `OrderStore::insert`, and what `place::handle` does about its answer.
    fn insert_order(&mut self, order: usize, placed: Order) -> Next {
        let there = self.orders[order].is_some();
        if self.services.nothing_is_there(there) {
            self.write_order(order, placed);
        }
        self.owes(order, true)
    }

    /// The first half of `handlers::apply`: load and decide.
    fn load_order(&mut self, at: usize, what: What) -> Next {
        let Some(order) = &self.orders[at] else {
            return match what {
                What::Reply(_) => Next::Unprocessable("a reply to no order".to_owned()),
                What::Cancel | What::Due => Next::Done,
            };
        };
        let event = match what {
            What::Reply(message) => match &self.sent[message].1 {
                Body::Reply(event) => event,
                Body::VerifyUser
                | Body::ReserveStock
                | Body::ReleaseStock
                | Body::ChargePayment { .. }
                | Body::RefundPayment => unreachable!("orders takes replies alone"),
            },
            What::Cancel => &Event::CancelRequested {
                by: CancelledBy::Customer,
            },
            What::Due => &Event::Due,
        };
        match self.services.decide(order, event, self.now) {
            Decision::Advance(next) => Next::Goes(Stage::UpdateOrder(what, next)),
            Decision::Ignore(Ignored::Repeat) => self.owes(at, true),
            Decision::Ignore(Ignored::Overtaken) => Next::Done,
            Decision::Refuse(Refusal::TooLate) => {
                self.situations.add(Seen::of(Situation::CancelledTooLate));
                Next::Done
            }
            // Nobody abandons anything here: what an operator settles by hand, no model can judge.
            Decision::Refuse(Refusal::NotParked(_)) => Next::Done,
            Decision::Refuse(Refusal::Contradiction(why)) => Next::Unprocessable(why),
        }
    }

    /// The second half: write on condition, or begin again.
    fn update_order(&mut self, at: usize, what: What, next: Order, task: &mut Task) -> Next {
        let stored = self.orders[at].as_ref();
        if stored.is_some_and(|stored| self.services.order_is_the_one_read(stored, &next)) {
            self.write_order(at, next);
            self.owes(at, true)
        } else {
            self.overtaken(task, WRITE_TRIES, Stage::LoadOrder(what))
        }
    }

    /// What the order owes as it is just now, which is what this handler has read or written.
    fn owes(&self, order: usize, owes: bool) -> Next {
        let order = self.orders[order].as_ref();
        match order
            .filter(|_| owes)
            .and_then(|order| self.services.owed(order))
        {
            Some(command) => Next::Goes(Stage::Send(messages::command(command))),
            None => Next::Done,
        }
    }

    fn write_order(&mut self, at: usize, next: Order) {
        self.tell(9 + ((next.version & 0xff) << 8), at, || {
            let said: Vec<&str> = next
                .timeline
                .iter()
                .rev()
                .take(2)
                .map(|e| e.what.as_str())
                .collect();
            format!(
                "is {:?}, version {} ({})",
                next.state,
                next.version,
                said.join(" after ")
            )
        });
        self.hash = mix(self.hash ^ state_code(next.state) ^ u64::from(next.attempt) << 8);
        let seen = Seen::of_order(self.orders[at].as_ref(), &next);
        self.situations.add(seen);
        let before = self.orders[at].replace(next);
        self.check_written(at, before.as_ref());
        self.check_ended(at);
    }

    // Users.

    fn read_user(&mut self, order: usize) -> Next {
        if self.users_are_down {
            return Next::Fails;
        }
        let user = &self.users[self.customers[order]];
        let answer = self.services.may_order(Some(user));
        let user_id = self.facts[order].draft.user_id;
        Next::Goes(Stage::Send(messages::user_reply(user_id, answer)))
    }

    // Inventory.

    fn read_reservation(&mut self, order: usize, want: Want) -> Next {
        let record = self.reservations[order].clone();
        let stage = match want {
            Want::Reserve => match self.services.on_reserve(record) {
                OnReserve::Decide => Stage::ReadItems,
                OnReserve::Replay(outcome) => {
                    let late = matches!(
                        &outcome,
                        Outcome::Refused(refusal) if refusal.code == RefusalCode::Released
                    );
                    self.situations
                        .add(Seen::when(late, Situation::ReserveMetTombstone));
                    Stage::Send(messages::stock_reply(&outcome))
                }
            },
            Want::Release => match self.services.on_release(record) {
                OnRelease::GiveBack(lines) => Stage::GiveBack(lines),
                OnRelease::Forestall => Stage::Forestall,
                OnRelease::Nothing => Stage::Send(Body::Reply(Event::StockReleased)),
            },
        };
        Next::Goes(stage)
    }

    fn reserve(&mut self, order: usize, outcome: Outcome, task: &mut Task) -> Next {
        let record = &mut self.reservations[order];
        if !participants::reserve(self.services, record, &mut self.items, &outcome) {
            return self.overtaken(task, WRITE_TRIES, Stage::ReadReservation(Want::Reserve));
        }
        self.tell(10, order, || format!("inventory writes {outcome:?}"));
        self.check_stock(order);
        self.check_ended(order);
        Next::Goes(Stage::Send(messages::stock_reply(&outcome)))
    }

    fn released(&mut self, order: usize, written: bool, task: &mut Task) -> Next {
        if !written {
            return self.overtaken(task, WRITE_TRIES, Stage::ReadReservation(Want::Release));
        }
        self.tell(11, order, || "inventory writes Released".to_owned());
        self.check_stock(order);
        self.check_ended(order);
        Next::Goes(Stage::Send(Body::Reply(Event::StockReleased)))
    }

    // Payments.

    fn pay(&mut self, order: usize, mut paying: Paying, task: &mut Task) -> Next {
        let mood = self.mood(&paying.step);
        let kind = Stage::of_payment(&paying.step);
        let cancels = matches!(paying.step, PayStep::AskToCancel(_));
        let follows = matches!(paying.step, PayStep::Replace(_) | PayStep::Record(..));
        let what = paying.step.as_str();
        let row = &mut self.payments[order];
        let paid = paying.go(self.services, row, &mut self.ledger, mood, self.now);
        self.tell(12 + ((mood as u64) << 8), order, || match &paid {
            Paid::GoesOn => format!("payments: {what} ({mood:?})"),
            other => format!("payments: {what} ({mood:?}): {other:?}"),
        });
        match kind {
            Kind::Ask => {
                let balance = self.ledger.balance(order);
                let found = cancels && balance.charged > balance.refunded;
                self.situations
                    .add(Seen::when(found, Situation::ChargeFoundLate));
                self.check_money(order);
                self.check_ended(order);
            }
            Kind::Write if paid == Paid::Overtaken => {
                let met = Seen::when(follows, Situation::PaymentWriteOvertaken);
                self.situations.add(met);
            }
            Kind::Write => self
                .situations
                .add(Seen::of_payment(self.payments[order].as_ref())),
            Kind::Read | Kind::Send => {}
        }
        match paid {
            Paid::GoesOn => Next::Goes(Stage::Pay(Box::new(paying))),
            Paid::Overtaken => self.overtaken(task, PAYMENT_STEPS, Stage::Pay(Box::new(paying))),
            Paid::Answer(reply) => Next::Goes(Stage::Send(messages::payment_reply(reply))),
            Paid::Unknown => {
                task.tries += 1;
                if task.tries.is_multiple_of(PROVIDER_TRIES) {
                    Next::Fails
                } else {
                    Next::Goes(Stage::Pay(Box::new(paying)))
                }
            }
            Paid::Unprocessable(why) => Next::Unprocessable(why),
        }
    }

    fn mood(&mut self, step: &PayStep) -> Mood {
        if Stage::of_payment(step) != Kind::Ask {
            return Mood::Pays;
        }
        if self.provider_is_down {
            self.counts.add(Fault::ProviderDown);
            Mood::Down
        } else if self.happens(Fault::AnswerLost) {
            Mood::LosesItsAnswer
        } else if matches!(step, PayStep::AskToCharge(_)) && self.happens(Fault::Declined) {
            Mood::Declines
        } else {
            Mood::Pays
        }
    }

    // Queues.

    fn send(&mut self, order: usize, body: Body) -> Next {
        let message = self.sent.len();
        self.sent.push((order, body));
        self.tell_message(13, message, "is sent");
        let copy = Copy {
            message,
            receives: 0,
        };
        if self.happens(Fault::Lost) {
            self.tell(14, order, || "the message is lost".to_owned());
        } else if self.happens(Fault::Late) {
            self.late.push(copy);
        } else if self.happens(Fault::DeadLettered) {
            self.dead.push(copy);
        } else {
            self.waiting.push(copy);
            if self.happens(Fault::Duplicated) {
                for _ in 0..1 + self.chance.below(4) {
                    self.waiting.push(copy);
                }
            }
        }
        Next::Done
    }

    fn overtaken(&mut self, task: &mut Task, tries: u8, again: Stage) -> Next {
        self.conflicts += 1;
        self.tell(15, task.order, || "a write is overtaken".to_owned());
        task.tries += 1;
        if task.tries >= tries {
            Next::Fails
        } else {
            Next::Goes(again)
        }
    }

    // Keeping track.

    fn happens(&mut self, fault: Fault) -> bool {
        let happens = self.chance.happens(self.rates[fault as usize]);
        if happens {
            self.counts.add(fault);
        }
        happens
    }

    fn tell(&mut self, code: u64, order: usize, text: impl FnOnce() -> String) {
        self.hash = mix(self.hash ^ code ^ (order as u64) << 32 ^ self.steps << 40);
        if let Some(narration) = &mut self.narration {
            narration.push(format!("{:>5} order {order}: {}", self.steps, text()));
        }
    }

    fn tell_message(&mut self, code: u64, message: usize, what: &'static str) {
        self.hash = mix(self.hash ^ code ^ (message as u64) << 8 ^ self.steps << 40);
        if let Some(narration) = &mut self.narration {
            let (order, body) = &self.sent[message];
            narration.push(format!(
                "{:>5} order {order}: #{message} {what}: {body:?}",
                self.steps
            ));
        }
    }

    pub(super) fn violate(&mut self, invariant: &'static str, order: usize, detail: String) {
        debug_assert!(INVARIANTS.contains(&invariant), "{invariant}");
        if self.violation.is_none() {
            self.tell(16, order, || {
                format!("VIOLATION of \"{invariant}\": {detail}")
            });
            self.violation = Some(Violation {
                invariant,
                step: self.steps,
                order,
                detail,
            });
        }
    }

    fn account(mut self) -> Account {
        Account {
            sagas: self.orders.iter().flatten().count() as u64,
            delivered: self.delivered,
            sent: self.sent.len() as u64,
            conflicts: self.conflicts,
            steps: self.steps,
            endings: self
                .orders
                .iter()
                .flatten()
                .map(|order| (ending(order), 1))
                .collect(),
            faults: self.counts,
            situations: self.situations,
            hash: self.hash,
            violation: self.violation,
            narration: self.narration.take().unwrap_or_default(),
        }
    }
}

const REPLAY: &str = "replaying every message changes nothing";

fn ending(order: &Order) -> &'static str {
    let code = order.failure.as_ref().map(|failure| failure.code.as_str());
    match (order.state, code) {
        (State::Confirmed, _) => "confirmed",
        (State::Cancelled, None) => "cancelled",
        (State::Cancelled, Some(_)) => "cancelled, after a failure",
        (State::Rejected, Some("out_of_stock")) => "rejected: out_of_stock",
        (State::Rejected, Some("price_changed")) => "rejected: price_changed",
        (State::Rejected, Some("payment_declined")) => "rejected: payment_declined",
        (State::Rejected, Some("user_not_allowed")) => "rejected: user_not_allowed",
        (State::Rejected, Some("timed_out")) => "rejected: timed_out",
        (State::Rejected, _) => "rejected: for another reason",
        (
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Refunding(_)
            | State::Releasing(_),
            _,
        ) => "not ended",
    }
}

fn state_code(state: State) -> u64 {
    use orders::domain::Ending::{Cancelled, Rejected};
    match state {
        State::Verifying => 1,
        State::Reserving => 2,
        State::Charging => 3,
        State::Confirmed => 4,
        State::Refunding(Rejected) => 5,
        State::Refunding(Cancelled) => 6,
        State::Releasing(Rejected) => 7,
        State::Releasing(Cancelled) => 8,
        State::Rejected => 9,
        State::Cancelled => 10,
    }
}

fn item(number: usize, chance: &mut Chance, now: Timestamp) -> Item {
    let units = 1 + chance.below(12) as i64;
    Item {
        sku: Sku::parse(["tea", "mug", "pot"][number]).expect("it is a sku"),
        name: ItemName::parse("An item").expect("it is a name"),
        price: Price {
            amount: PriceAmount::parse(100 + 50 * number as i64).expect("it is a price"),
            currency: Currency::parse(CURRENCY).expect("it is a currency"),
        },
        levels: Levels {
            stocked: units,
            available: units,
            held: 0,
        },
        created_at: now,
        updated_at: now,
    }
}

fn user(number: u64, now: Timestamp) -> User {
    let email = Email::parse("somebody@example.com").expect("it is an address");
    let name = UserName::parse("Somebody").expect("it is a name");
    User::register(Uuid::from_u64_pair(0x05e4, number), email, name, now)
}
