//! One order told step by step: the same services without chance, for proofs by cases.
//!
//! A script delivers every message in order, at once, and passes time only when nothing else is
//! left to do. What goes wrong is planned by the case ([`test_support::Fault`] at the nth write).

use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lambda_events::event::sqs::SqsMessage;
use orders::domain::{OrderId, UserId};
use serde_json::Value;
use shared_lambda::http::Response;
use test_support::{Call, Fault, crashable};
use uuid::Uuid;

use crate::abandoning::about;
use crate::books::{Books, Order, Step, Violation};
use crate::chance::{Trouble, Weather};
use crate::clock::{Millis, millis};
use crate::gate::Gate;
use crate::participants::Queue;
use crate::system::System;
use crate::template_config;

/// The one item of every script: its price and what there is of it.
pub const PRICE: i64 = 1999;
pub const STOCK: i64 = 5;

pub const CUSTOMER: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00c1);

/// The Idempotency-Key of a script's one order.
const KEY: &str = "key";

/// When an order that nothing can end is given up.
const FOREVER: Millis = 6 * 3_600_000;

pub struct Script {
    pub system: Rc<System>,
    /// The one that is placed.
    pub order: Uuid,
    /// How often each message is delivered, one after the other.
    pub deliveries: usize,
    /// When the sweeper runs first; from then on every minute.
    pub first_sweep: Millis,
    /// Whether users cannot be asked over REST, so that its queue is.
    pub by_queue: bool,
    /// The command at which its function dies whenever it comes.
    pub broken: Option<&'static str>,
    /// What the first fault that came about has left.
    pub struck: Option<Struck>,
    /// The writes between the first run of the sweeper and its last: attempts that are all alike.
    pub repeats: Range<usize>,
    calls: Arc<Mutex<Calls>>,
    waiting: Vec<(Queue, SqsMessage)>,
    /// Everything that was sent.
    history: Vec<(Queue, String)>,
    received: u64,
    books: Books,
    pub violations: Vec<Violation>,
}

/// The moment right after a fault.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    pub at: Millis,
    /// When the order is due, as it is written then: nothing where it has ended, or is not there.
    pub due_at: Option<Millis>,
}

/// What goes wrong on purpose: one call, or it and whatever repeats it.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Which write or send from now, counted from 0.
    pub nth: usize,
    pub fault: Fault,
    /// Whether it befalls the same request as often as that is tried until its caller is done, so
    /// that the caller hears of it; once is the client's own to make up for.
    pub lasts: bool,
}

/// Every call to AWS, as it comes, and what befalls it.
#[derive(Default)]
struct Calls {
    /// Users dies at whatever it is asked.
    users_is_down: bool,
    writes: usize,
    strike: Option<Strike>,
    struck: Option<Call>,
    faults: usize,
}

impl Calls {
    fn next(&mut self, call: &Call, users: &str) -> Option<Fault> {
        if self.users_is_down
            && call.name() == "dynamodb:GetItem"
            && call.request["TableName"] == users
        {
            return Some(Fault::KillBefore);
        }
        if !call.is_write() {
            return None;
        }
        self.writes += 1;
        let strike = self.strike.as_ref()?;
        let is_again = |struck: &Call| {
            strike.lasts && (struck.name(), &struck.request) == (call.name(), &call.request)
        };
        if self.writes - 1 != strike.nth && !self.struck.as_ref().is_some_and(is_again) {
            return None;
        }
        self.struck = Some(call.clone());
        self.faults += 1;
        Some(strike.fault.clone())
    }
}

impl Script {
    pub async fn new() -> Self {
        // The jitter of the SDK's own retries, and its tokens for transactions: no two may be alike,
        // so this comes before the first.
        fastrand::seed(1);
        let gate = Gate::default();
        gate.open();
        let weather = Arc::new(Mutex::new(Weather::new(0, Trouble::ALL)));
        let system = Rc::new(System::new(1, &gate, &weather));
        system
            .seed(&[CUSTOMER], &[("SKU-0".to_owned(), PRICE, STOCK)])
            .await;
        let calls = Arc::new(Mutex::new(Calls::default()));
        let (hooked, users) = (Arc::clone(&calls), system.tables.users.clone());
        system
            .aws
            .on_call(move |call| std::future::ready(lock(&hooked).next(&call, &users)));
        let mut script = Self {
            system,
            order: OrderId::of_key(UserId(CUSTOMER), KEY).0,
            deliveries: 1,
            first_sweep: template_config::sweep_every(),
            by_queue: false,
            broken: None,
            struck: None,
            repeats: 0..0,
            calls,
            waiting: Vec::new(),
            history: Vec::new(),
            received: 0,
            books: Books::of_now_and_then(),
            violations: Vec::new(),
        };
        script.look();
        script
    }

    pub fn now(&self) -> Millis {
        self.system.clock.now()
    }

    /// What a client sees of a request, which is nothing where the function died.
    pub async fn place(&mut self, body: &Value) -> Option<Response> {
        let system = Rc::clone(&self.system);
        lock(&self.calls).users_is_down = self.by_queue;
        let placed = crashable(system.place(CUSTOMER, KEY, &body.to_string())).await;
        lock(&self.calls).users_is_down = false;
        self.after();
        placed
    }

    pub async fn cancel(&mut self) -> Option<Response> {
        let system = Rc::clone(&self.system);
        let cancelled = crashable(system.cancel(CUSTOMER, self.order)).await;
        self.after();
        cancelled
    }

    /// Whether an operator who asks for the order's step again hears that it was done.
    pub async fn retry(&mut self) -> bool {
        let system = Rc::clone(&self.system);
        let done = crashable(system.retry(self.order)).await;
        self.after();
        matches!(done, Some(Ok(())))
    }

    /// Whether an operator who gives a step up hears that it was done.
    pub async fn abandon(&mut self, step: Step) -> bool {
        let system = Rc::clone(&self.system);
        let done = crashable(system.abandon(self.order, step.name())).await;
        self.after();
        matches!(done, Some(Ok(())))
    }

    /// Somebody waits before they ask again.
    pub async fn wait(&mut self, wait: Millis) {
        assert!(
            self.next_sweep(self.now() + 1) > self.now() + wait,
            "the sweeper would have run meanwhile"
        );
        self.system.clock.pass(wait).await;
    }

    /// Delivers the message that has waited longest; whether there was one.
    pub async fn deliver(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let (queue, message) = self.waiting.remove(0);
        let about = message.body.as_deref().and_then(about);
        if about.is_some_and(|(_, kind)| self.broken == Some(kind.as_str())) {
            return true;
        }
        for _ in 0..self.deliveries {
            self.handle(queue, message.clone()).await;
        }
        true
    }

    /// A message that fails or whose function dies does not come back: the sweeper is what is
    /// proved here, and a redelivery would only help it.
    async fn handle(&mut self, queue: Queue, message: SqsMessage) {
        let system = Rc::clone(&self.system);
        crashable(system.batch(queue, vec![message])).await;
        self.after();
    }

    /// Goes on until the order has ended and no message waits.
    pub async fn settle(&mut self) {
        self.settle_until(|_| false).await;
    }

    /// Goes on until the order is parked, or has ended, and no message waits.
    pub async fn settle_until_parked(&mut self) {
        self.settle_until(|order| order.parked).await;
    }

    async fn settle_until(&mut self, is_enough: impl Fn(&Order) -> bool) {
        let mut swept = false;
        loop {
            while self.deliver().await {}
            self.look();
            let now = self.now();
            let Some(order) = self.books.get(&self.order.to_string()) else {
                return;
            };
            if order.is_terminal() || is_enough(order) || now > FOREVER {
                return;
            }
            let due_at = self.due_at().unwrap_or(now);
            if swept && due_at <= now {
                let wrong =
                    format!("due at {due_at}, and a run of the sweeper left it so at {now}");
                self.violations.push(wrong);
            }
            // The runs before it is due find nothing.
            let next = self.next_sweep(due_at.max(now + 1));
            self.system.clock.pass(next - now).await;
            let system = Rc::clone(&self.system);
            let writes = system.aws.writes();
            self.repeats = match self.repeats.end {
                0 => writes..writes,
                _ => self.repeats.start..writes,
            };
            // A run that failed is made up for by the next.
            swept = matches!(crashable(system.sweep()).await, Some(Ok(())));
            self.after();
        }
    }

    /// The first run of the sweeper that is not before then.
    fn next_sweep(&self, from: Millis) -> Millis {
        let since_first = (from - self.first_sweep).max(0);
        self.first_sweep
            + (since_first + template_config::sweep_every() - 1) / template_config::sweep_every()
                * template_config::sweep_every()
    }

    /// Delivers everything that was ever sent once more, and what comes of it.
    pub async fn replay(&mut self) {
        for (queue, body) in self.history.clone() {
            let message = self.message(&body);
            self.handle(queue, message).await;
        }
        while self.deliver().await {}
        self.look();
    }

    /// The order as it is written: its state and its failure's code.
    pub fn ending(&self) -> Option<(String, Option<String>)> {
        let order = self.books.get(&self.order.to_string())?;
        Some((order.state.clone(), order.failure.clone()))
    }

    /// Whether the order is written.
    pub fn is_placed(&self) -> bool {
        self.row().is_some()
    }

    /// When the order is due, as it is written now.
    fn due_at(&self) -> Option<Millis> {
        let due_at = self.row()?["due_at"].as_str()?.parse().ok()?;
        Some(millis(due_at))
    }

    fn row(&self) -> Option<Value> {
        let pk = format!("ORDER#{}", self.order);
        let table = &self.system.tables.orders;
        self.system.aws.item(table, &pk, "ORDER")
    }

    /// Stocked, available, held.
    pub fn stock(&self) -> (i64, i64, i64) {
        let table = &self.system.tables.inventory;
        let item = self.system.aws.item(table, "ITEM#SKU-0", "ITEM");
        let item = item.expect("it was put there");
        let level = |name: &str| item[name].as_i64().expect("a level is a number");
        (level("stocked"), level("available"), level("held"))
    }

    /// Charged, given back.
    pub fn money(&self) -> (i64, i64) {
        self.books.money(&self.order.to_string())
    }

    pub fn tables(&self) -> Vec<Value> {
        let tables = &self.system.tables;
        [&tables.orders, &tables.inventory, &tables.payments]
            .into_iter()
            .flat_map(|table| self.system.aws.dump(table))
            .collect()
    }

    fn after(&mut self) {
        for queue in Queue::ALL {
            for message in self.system.aws.sent_messages(queue.url()) {
                self.history.push((queue, message.body.clone()));
                let message = self.message(&message.body);
                self.waiting.push((queue, message));
            }
        }
        self.violations.extend(self.system.complaints());
        if self.struck.is_none() && self.faults() > 0 {
            lock(&self.calls).strike = None;
            self.struck = Some(Struck {
                at: self.now(),
                due_at: self.due_at(),
            });
        }
    }

    /// Plans the one thing that goes wrong.
    pub fn strike(&self, strike: &Strike) {
        let mut calls = lock(&self.calls);
        calls.strike = Some(Strike {
            nth: calls.writes + strike.nth,
            ..strike.clone()
        });
    }

    /// How often what was planned came about.
    pub fn faults(&self) -> usize {
        lock(&self.calls).faults
    }

    fn message(&mut self, body: &str) -> SqsMessage {
        self.received += 1;
        let mut message = SqsMessage::default();
        message.message_id = Some(format!("message-{}", self.received));
        message.receipt_handle = Some(format!("receipt-{}", self.received));
        message.body = Some(body.to_owned());
        message
    }

    /// The books, from every row there is.
    fn look(&mut self) {
        let tables = &self.system.tables;
        for table in [&tables.orders, &tables.inventory, &tables.payments] {
            for row in self.system.aws.dump(table) {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                let key = (table.clone(), text("pk"), text("sk"));
                let wrong = &mut self.violations;
                self.books.note(tables, &key, Some(&row), wrong);
            }
        }
        self.violations.extend(self.books.check_stock());
        self.violations.extend(self.books.check_orders());
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}
