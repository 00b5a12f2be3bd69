//! One order told step by step: the same services without chance, for proofs by cases.
//!
//! A script delivers every message in order, at once, and passes time only when nothing else is
//! left to do. What goes wrong is planned by the case ([`test_support::Fault`] at the nth write).

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use aws_lambda_events::event::sqs::SqsMessage;
use serde_json::Value;
use shared_lambda::http::Response;
use test_support::mortal;
use uuid::Uuid;

use crate::books::{Books, Violation};
use crate::chance::{Trouble, Weather};
use crate::gate::Gate;
use crate::network::{Millis, QueueName};
use crate::system::{System, millis};

/// The one item of every script: its price and what there is of it.
pub const PRICE: i64 = 1999;
pub const STOCK: i64 = 5;

pub const CUSTOMER: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00c1);

const SWEEP_EVERY: Millis = 60_000;

/// When an order that nothing can end is given up.
const FOREVER: Millis = 6 * 3_600_000;

pub struct Script {
    pub system: Rc<System>,
    /// How often each message is delivered, one after the other.
    pub deliveries: usize,
    waiting: Vec<(QueueName, SqsMessage)>,
    /// Everything that was sent.
    history: Vec<(QueueName, String)>,
    received: u64,
    books: Books,
    pub violations: Vec<Violation>,
}

impl Script {
    pub async fn new() -> Self {
        let gate = Gate::default();
        gate.open();
        let weather = Arc::new(Mutex::new(Weather::new(0, Trouble::ALL)));
        let system = Rc::new(System::new(1, &gate, &weather));
        system
            .seed(&[CUSTOMER], &[("SKU-0".to_owned(), PRICE, STOCK)])
            .await;
        let mut script = Self {
            system,
            deliveries: 1,
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
    pub async fn place(&mut self, key: &str, body: &Value) -> Option<Response> {
        let system = Rc::clone(&self.system);
        let placed = mortal(system.place(CUSTOMER, key, &body.to_string())).await;
        self.after();
        placed
    }

    pub async fn cancel(&mut self, order: Uuid) -> Option<Response> {
        let system = Rc::clone(&self.system);
        let cancelled = mortal(system.cancel(CUSTOMER, order)).await;
        self.after();
        cancelled
    }

    /// Delivers the message that has waited longest; whether there was one.
    pub async fn deliver(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let (queue, message) = self.waiting.remove(0);
        for _ in 0..self.deliveries {
            self.handle(queue, message.clone()).await;
        }
        true
    }

    /// A message that fails or whose function dies does not come back: the sweeper is what is
    /// proved here, and a redelivery would only help it.
    async fn handle(&mut self, queue: QueueName, message: SqsMessage) {
        let system = Rc::clone(&self.system);
        mortal(system.batch(queue, vec![message])).await;
        self.after();
    }

    /// Goes on until every order has ended and no message waits; when the last one did.
    pub async fn settle(&mut self) -> Millis {
        let mut ended = self.now();
        loop {
            while self.deliver().await {
                ended = self.now();
            }
            self.look();
            if self.books.orders().all(|(_, order)| order.is_terminal()) || self.now() > FOREVER {
                return ended;
            }
            let next = (self.now() / SWEEP_EVERY + 1) * SWEEP_EVERY;
            self.system.clock.pass(next - self.now()).await;
            let system = Rc::clone(&self.system);
            // A run that failed is made up for by the next.
            let _ = mortal(system.sweep()).await;
            self.after();
            ended = self.now();
        }
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

    /// An order as it is written: its state and its failure's code.
    pub fn ending(&self, order: Uuid) -> Option<(String, Option<String>)> {
        let order = self.books.get(&order.to_string())?;
        Some((order.state.clone(), order.failure.clone()))
    }

    /// When the order is due, as the sweeper reads it.
    pub fn due_at(&self, order: Uuid) -> Option<Millis> {
        let due_at = self.books.get(&order.to_string())?.due_at.clone()?;
        Some(millis(due_at.parse().ok()?))
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
    pub fn money(&self, order: Uuid) -> (i64, i64) {
        self.books.money(&order.to_string())
    }

    pub fn tables(&self) -> Vec<Value> {
        let tables = &self.system.tables;
        [&tables.orders, &tables.inventory, &tables.payments]
            .into_iter()
            .flat_map(|table| self.system.aws.dump(table))
            .collect()
    }

    fn after(&mut self) {
        for queue in QueueName::ALL {
            for message in self.system.aws.sent_messages(queue.url()) {
                self.history.push((queue, message.body.clone()));
                let message = self.message(&message.body);
                self.waiting.push((queue, message));
            }
        }
        self.violations.extend(self.system.complaints());
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
