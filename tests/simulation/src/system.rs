//! The system under test: the production handlers and stores of all four services, wired as in
//! their binaries, on one in-process AWS.
//!
//! Left out: Lambda's runtime, the gateway and the check of tokens. A caller is a value.

use std::cell::RefCell;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use serde_json::{Value, json};
use shared_lambda::http::Response;
use shared_lambda::telemetry;
use test_support::Aws;
use tokio::time::Instant;
use users::domain::{Email, User, UserName};
use users::passwords::HashedPassword;
use users::store::UserStore;
use uuid::Uuid;

use crate::clock::Clock;
use crate::fault_profile::{FaultKind, Rng, SharedProfile, lock_profile};
use crate::handled::{Handled, Record};
use crate::participants::Queue;
use crate::pending_calls::PendingCalls;
use crate::services::{RELEASES, Release};
use crate::tables::Tables;
use crate::template_config;
use crate::wiring::{Endpoint, Handler, Wiring, event};

pub const ADMIN: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0ad1);

pub struct System {
    pub aws: Aws,
    pub tables: Tables,
    pub clock: Clock,
    pub record: Record,
    wiring: Wiring,
    /// One for each release.
    place: RefCell<Vec<Endpoint>>,
    /// In the order of [`Queue::ALL`], for each release.
    handlers: Vec<Vec<Handler>>,
    /// Chooses the release of each call.
    releases: RefCell<Rng>,
    /// Bugs found outside of messages.
    mistakes: RefCell<Vec<String>>,
}

impl System {
    pub fn new(seed: u64, pending: &PendingCalls, shared: &SharedProfile) -> Self {
        let aws = Aws::new();
        aws.keep_no_calls();
        if lock_profile(shared).includes(FaultKind::StaleRead) {
            aws.keep_history();
        }
        let calls = pending.clone();
        aws.on_call(move |call| calls.wait(call));
        let tables = Tables::of(|service| {
            let table = service.table.as_deref().expect("each service has a table");
            aws.create_table_from(&service.template, table)
        });
        let wiring = Wiring::new(seed, aws.clone(), shared);
        Self {
            place: RefCell::new(of_each(|release| (release.place)(&wiring))),
            handlers: of_each(|release| {
                let wire = |queue: &Queue| queue.wire(release, &wiring);
                Queue::ALL.iter().map(wire).collect()
            }),
            releases: RefCell::new(Rng::new(seed, 3)),
            mistakes: RefCell::default(),
            clock: wiring.clock.clone(),
            record: wiring.record.clone(),
            wiring,
            aws,
            tables,
        }
    }

    /// Replaces the instance of `orders-place` by a new one.
    pub fn restart_place(&self) {
        let place = of_each(|release| (release.place)(&self.wiring));
        self.place.replace(place);
    }

    /// The release of the next call.
    fn release(&self) -> usize {
        self.releases.borrow_mut().below(RELEASES.len() as u64) as usize
    }

    /// `POST /api/v1/orders`.
    pub async fn place(&self, user: Uuid, key: &str, body: &str) -> Response {
        let key = json!({"idempotency-key": key});
        let event = event("POST /api/v1/orders", json!({}), key, body.to_owned());
        let answer = self.place.borrow()[self.release()](user, event);
        answer.await
    }

    /// `POST /api/v1/orders/{id}/cancel`.
    pub async fn cancel(&self, user: Uuid, order: Uuid) -> Response {
        let route = "POST /api/v1/orders/{id}/cancel";
        let event = event(route, json!({"id": order}), json!({}), String::new());
        self.respond(|release| release.cancel, user, event).await
    }

    /// `POST /api/v1/items`.
    async fn create(&self, sku: &str, amount: i64, stock: i64) -> Response {
        let body = json!({
            "sku": sku, "name": sku, "stock": stock,
            "price": {"amount": amount, "currency": "USD"},
        });
        let event = event("POST /api/v1/items", json!({}), json!({}), body.to_string());
        self.respond(|release| release.create, ADMIN, event).await
    }

    /// `PATCH /api/v1/items/{sku}`.
    pub async fn reprice(&self, sku: &str, amount: i64, currency: &str) -> Response {
        let (route, sku) = ("PATCH /api/v1/items/{sku}", json!({"sku": sku}));
        let body = json!({"price": {"amount": amount, "currency": currency}});
        let event = event(route, sku, json!({}), body.to_string());
        self.respond(|release| release.reprice, ADMIN, event).await
    }

    /// `POST /api/v1/items/{sku}/adjustments`.
    pub async fn adjust(&self, sku: &str, delta: i64, key: &str) -> Response {
        let route = "POST /api/v1/items/{sku}/adjustments";
        let (sku, key) = (json!({"sku": sku}), json!({"idempotency-key": key}));
        let body = json!({"delta": delta, "reason": "counted"});
        let event = event(route, sku, key, body.to_string());
        self.respond(|release| release.adjust, ADMIN, event).await
    }

    /// `PATCH /api/v1/users/{id}`.
    pub async fn set_status(&self, user: Uuid, status: &str) -> Response {
        let (route, id) = ("PATCH /api/v1/users/{id}", json!({"id": user}));
        let body = json!({"status": status});
        let event = event(route, id, json!({}), body.to_string());
        self.respond(|release| release.set_status, ADMIN, event)
            .await
    }

    /// The answer of a route's function, newly started.
    async fn respond(
        &self,
        endpoint: fn(&Release) -> fn(&Wiring) -> Endpoint,
        caller: Uuid,
        event: Value,
    ) -> Response {
        endpoint(&RELEASES[self.release()])(&self.wiring)(caller, event).await
    }

    /// One run of the sweeper.
    pub async fn sweep(&self) -> Result<(), String> {
        let release = &RELEASES[self.release()];
        let swept = (release.sweep)(&self.wiring).await;
        let swept = swept.map_err(|error| error.to_string())?;
        if swept["unreadable"] != 0 {
            self.mistake(format!("the sweeper cannot read every row: {swept}"));
        }
        Ok(())
    }

    /// `waybill saga retry`.
    pub async fn retry(&self, order: Uuid) -> Result<(), String> {
        self.admin(json!({"action": "retry", "order_id": order, "by": "an operator"}))
            .await
    }

    /// `waybill saga abandon` of the step that the operator saw parked.
    pub async fn abandon(&self, order: Uuid, step: &str) -> Result<(), String> {
        self.admin(json!({
            "action": "abandon", "order_id": order, "step": step,
            "reason": "settled by hand", "by": "an operator",
        }))
        .await
    }

    async fn admin(&self, request: Value) -> Result<(), String> {
        let release = &RELEASES[self.release()];
        let answered = (release.admin)(&self.wiring, request).await;
        let answered = answered.map_err(|error| telemetry::chain(&*error))?;
        if answered["outcome"] == "invalid" {
            self.mistake(format!("an operator's request is invalid: {answered}"));
        }
        Ok(())
    }

    /// One batch of a queue, through its release's queue runner.
    pub async fn batch(&self, queue: Queue, records: Vec<SqsMessage>) -> SqsBatchResponse {
        let mut event = SqsEvent::default();
        event.records = records;
        let limit = template_config::timeout(queue.function()).unsigned_abs();
        let ends_at = Instant::now() + Duration::from_millis(limit);
        self.handlers[self.release()][queue.index()](event, ends_at).await
    }

    /// The bugs found outside of messages since the last call.
    pub fn mistakes(&self) -> Vec<String> {
        self.mistakes.take()
    }

    /// All violations since the last call.
    pub fn violations(&self) -> Vec<String> {
        let handled = self.record.take();
        let violations = handled.iter().filter_map(Handled::violation);
        self.mistakes().into_iter().chain(violations).collect()
    }

    fn mistake(&self, what: String) {
        self.mistakes.borrow_mut().push(what);
    }

    /// Creates the customers, an administrator and the items, before any fault.
    pub async fn seed(&self, customers: &[Uuid], items: &[(String, i64, i64)]) {
        let user = |id: Uuid, name: &str| {
            let email = Email::parse(&format!("{name}@example.com")).expect("it is an address");
            let name = UserName::parse(name).expect("it is a name");
            User::register(id, email, name, self.clock.timestamp())
        };
        let users = self.tables.users.clone();
        let store = UserStore::new(self.wiring.dynamodb.clone(), users);
        let names = (0..customers.len()).map(|number| format!("customer{number}"));
        let customers = customers.iter().copied().zip(names);
        for (id, name) in customers.chain([(ADMIN, "admin".to_owned())]) {
            let (user, password) = (user(id, &name), HashedPassword::dummy());
            let registered = store.register(&user, &password, None).await;
            registered.expect("no fault occurs during the setup");
        }
        // HTTP has no way to create the first administrator.
        let pk = format!("USER#{ADMIN}");
        let mut row = self
            .aws
            .item(&self.tables.users, &pk, "USER")
            .expect("the setup registered it");
        row["role"] = json!("admin");
        self.aws.put_raw(&self.tables.users, row);
        for (sku, amount, stock) in items {
            let created = self.create(sku, *amount, *stock).await;
            assert_eq!(created.status, 201, "{:?}", created.body);
        }
    }
}

fn of_each<T>(wire: impl FnMut(&Release) -> T) -> Vec<T> {
    RELEASES.iter().map(wire).collect()
}
