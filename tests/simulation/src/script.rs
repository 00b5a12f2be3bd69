//! One order without randomness, for the tests by cases.
//!
//! A script delivers messages in order and at once, and advances the time only if nothing else is
//! left to do. Each case plans its fault ([`test_support::Fault`] at the nth write).

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lambda_events::event::sqs::SqsMessage;
use orders::domain::{OrderId, UserId};
use serde_json::Value;
use shared_lambda::http::Response;
use test_support::{Call, Fault, crashable};
use uuid::Uuid;

use crate::abandonment::about;
use crate::clock::{Millis, millis};
use crate::fault_profile::{FaultKind, FaultProfile};
use crate::invariants::{Ledger, Order, Step, Violation};
use crate::participants::Queue;
use crate::pending_calls::PendingCalls;
use crate::system::System;
use crate::template_config;

/// The price and stock of a script's one item.
pub const PRICE: i64 = 1999;
pub const STOCK: i64 = 5;

pub const CUSTOMER: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00c1);

const KEY: &str = "key";

/// A script gives up on its order after this time.
const FOREVER: Millis = 6 * 3_600_000;

pub struct Script {
    pub system: Rc<System>,
    pub order: Uuid,
    /// Deliveries of each message, one after the other.
    pub deliveries: usize,
    /// The first run of the sweeper; then it runs at its interval.
    pub first_sweep: Millis,
    /// Whether users is down over REST, so that orders asks by queue.
    pub by_queue: bool,
    /// The command at which its function crashes, every time.
    pub broken: Option<&'static str>,
    /// The moment right after the first fault.
    pub first_fault: Option<FirstFault>,
    /// The writes between the first and the last run of the sweeper: equal attempts.
    pub repeats: Range<usize>,
    /// The last write of each call of a function, and whether its caller waits for an answer.
    pub last_writes: BTreeMap<usize, bool>,
    calls: Arc<Mutex<Calls>>,
    waiting: Vec<(Queue, SqsMessage)>,
    history: Vec<(Queue, String)>,
    received: u64,
    ledger: Ledger,
    pub violations: Vec<Violation>,
}

#[derive(Clone, Copy, Debug)]
pub struct FirstFault {
    pub at: Millis,
    /// The due time of the order then; `None` if it has ended or does not exist.
    pub due_at: Option<Millis>,
}

/// One planned fault.
#[derive(Clone, Debug)]
pub struct PlannedFault {
    /// The write or send, counted from 0.
    pub nth: usize,
    pub fault: Fault,
    /// Whether it hits every retry of the same request, so that the caller sees it. The SDK hides a
    /// single failure.
    pub lasts: bool,
}

/// Decides the fault of each call.
#[derive(Default)]
struct Calls {
    /// Users crashes at every request.
    users_is_down: bool,
    writes: usize,
    planned: Option<PlannedFault>,
    faulty: Option<Call>,
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
        let planned = self.planned.as_ref()?;
        let is_again = |faulty: &Call| {
            planned.lasts && (faulty.name(), &faulty.request) == (call.name(), &call.request)
        };
        if self.writes - 1 != planned.nth && !self.faulty.as_ref().is_some_and(is_again) {
            return None;
        }
        self.faulty = Some(call.clone());
        self.faults += 1;
        Some(planned.fault.clone())
    }
}

impl Script {
    pub async fn new() -> Self {
        // The SDK's retry jitter and transaction tokens come from here. No two tokens may be equal,
        // so seed before the first.
        fastrand::seed(1);
        let pending = PendingCalls::default();
        pending.open();
        let profile = Arc::new(Mutex::new(FaultProfile::new(0, FaultKind::ALL)));
        let system = Rc::new(System::new(1, &pending, &profile));
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
            first_fault: None,
            repeats: 0..0,
            last_writes: BTreeMap::new(),
            calls,
            waiting: Vec::new(),
            history: Vec::new(),
            received: 0,
            ledger: Ledger::sampling(),
            violations: Vec::new(),
        };
        script.observe();
        script
    }

    pub fn now(&self) -> Millis {
        self.system.clock.now()
    }

    /// The client's answer; `None` if the function crashed.
    pub async fn place(&mut self, body: &Value) -> Option<Response> {
        let system = Rc::clone(&self.system);
        lock(&self.calls).users_is_down = self.by_queue;
        let placed = crashable(system.place(CUSTOMER, KEY, &body.to_string())).await;
        lock(&self.calls).users_is_down = false;
        self.collect(true);
        placed
    }

    pub async fn cancel(&mut self) -> Option<Response> {
        let system = Rc::clone(&self.system);
        let cancelled = crashable(system.cancel(CUSTOMER, self.order)).await;
        self.collect(true);
        cancelled
    }

    /// Whether an operator's retry is answered as done.
    pub async fn retry(&mut self) -> bool {
        let system = Rc::clone(&self.system);
        let done = crashable(system.retry(self.order)).await;
        self.collect(true);
        matches!(done, Some(Ok(())))
    }

    /// Whether an operator's abandonment is answered as done.
    pub async fn abandon(&mut self, step: Step) -> bool {
        let system = Rc::clone(&self.system);
        let done = crashable(system.abandon(self.order, step.name())).await;
        self.collect(true);
        matches!(done, Some(Ok(())))
    }

    /// A client waits before its retry.
    pub async fn wait(&mut self, wait: Millis) {
        assert!(
            self.next_sweep(self.now() + 1) > self.now() + wait,
            "the sweeper must not run during the wait"
        );
        self.system.clock.advance(wait).await;
    }

    /// Delivers the oldest message. False if there is none.
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

    /// A failed message does not return: the test shows that the sweeper alone is enough.
    async fn handle(&mut self, queue: Queue, message: SqsMessage) {
        let system = Rc::clone(&self.system);
        crashable(system.batch(queue, vec![message])).await;
        self.collect(false);
    }

    /// Runs until the order has ended and no message waits.
    pub async fn settle(&mut self) {
        self.settle_until(|_| false).await;
    }

    /// Runs until the order is parked or has ended, and no message waits.
    pub async fn settle_until_parked(&mut self) {
        self.settle_until(|order| order.parked).await;
    }

    async fn settle_until(&mut self, is_enough: impl Fn(&Order) -> bool) {
        let mut swept = false;
        loop {
            while self.deliver().await {}
            self.observe();
            let now = self.now();
            let Some(order) = self.ledger.get(&self.order.to_string()) else {
                return;
            };
            if order.is_terminal() || is_enough(order) || now > FOREVER {
                return;
            }
            let due_at = self.due_at().unwrap_or(now);
            if swept && due_at <= now {
                let wrong = format!("the sweeper left the order due at {due_at}, at {now}");
                self.violations.push(wrong);
            }
            // Earlier runs find nothing.
            let next = self.next_sweep(due_at.max(now + 1));
            self.system.clock.advance(next - now).await;
            let system = Rc::clone(&self.system);
            let writes = system.aws.writes();
            self.repeats = match self.repeats.end {
                0 => writes..writes,
                _ => self.repeats.start..writes,
            };
            // The next run makes up for a failed one.
            swept = matches!(crashable(system.sweep()).await, Some(Ok(())));
            self.collect(true);
        }
    }

    fn next_sweep(&self, from: Millis) -> Millis {
        let since_first = (from - self.first_sweep).max(0);
        self.first_sweep
            + (since_first + template_config::sweep_every() - 1) / template_config::sweep_every()
                * template_config::sweep_every()
    }

    /// Delivers every sent message once more, and the messages that follow.
    pub async fn replay(&mut self) {
        for (queue, body) in self.history.clone() {
            let message = self.message(&body);
            self.handle(queue, message).await;
        }
        while self.deliver().await {}
        self.observe();
    }

    /// The order's state and failure code.
    pub fn ending(&self) -> Option<(String, Option<String>)> {
        let order = self.ledger.get(&self.order.to_string())?;
        Some((order.state.clone(), order.failure.clone()))
    }

    pub fn is_placed(&self) -> bool {
        self.row().is_some()
    }

    fn due_at(&self) -> Option<Millis> {
        let due_at = self.row()?["due_at"].as_str()?.parse().ok()?;
        Some(millis(due_at))
    }

    fn row(&self) -> Option<Value> {
        let pk = format!("ORDER#{}", self.order);
        let table = &self.system.tables.orders;
        self.system.aws.item(table, &pk, "ORDER")
    }

    /// The stocked, available and held units.
    pub fn stock(&self) -> (i64, i64, i64) {
        let table = &self.system.tables.inventory;
        let item = self.system.aws.item(table, "ITEM#SKU-0", "ITEM");
        let item = item.expect("the setup created it");
        let level = |name: &str| item[name].as_i64().expect("a level is a number");
        (level("stocked"), level("available"), level("held"))
    }

    /// The charged and the refunded amount.
    pub fn money(&self) -> (i64, i64) {
        self.ledger.money(&self.order.to_string())
    }

    pub fn tables(&self) -> Vec<Value> {
        let tables = self.table_names().into_iter();
        tables
            .flat_map(|table| self.system.aws.dump(table))
            .collect()
    }

    /// The tables that a saga writes.
    fn table_names(&self) -> [&String; 3] {
        let tables = &self.system.tables;
        [&tables.orders, &tables.inventory, &tables.payments]
    }

    /// After each call of a function.
    fn collect(&mut self, has_answer: bool) {
        let last_write = self.system.aws.writes().wrapping_sub(1);
        self.last_writes.entry(last_write).or_insert(has_answer);
        for queue in Queue::ALL {
            for message in self.system.aws.sent_messages(queue.url()) {
                self.history.push((queue, message.body.clone()));
                let message = self.message(&message.body);
                self.waiting.push((queue, message));
            }
        }
        self.violations.extend(self.system.violations());
        if self.first_fault.is_none() && self.faults() > 0 {
            lock(&self.calls).planned = None;
            self.first_fault = Some(FirstFault {
                at: self.now(),
                due_at: self.due_at(),
            });
        }
    }

    pub fn plan_fault(&self, planned: &PlannedFault) {
        let mut calls = lock(&self.calls);
        calls.planned = Some(PlannedFault {
            nth: calls.writes + planned.nth,
            ..planned.clone()
        });
    }

    /// The count of injected faults.
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

    /// Records every row in the ledger.
    fn observe(&mut self) {
        let tables = &self.system.tables;
        for table in [&tables.orders, &tables.inventory, &tables.payments] {
            for row in self.system.aws.dump(table) {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                let key = (table.clone(), text("pk"), text("sk"));
                let wrong = &mut self.violations;
                self.ledger.note(tables, &key, Some(&row), wrong);
            }
        }
        self.violations.extend(self.ledger.check_stock());
        self.violations.extend(self.ledger.check_orders());
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}
