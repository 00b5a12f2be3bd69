//! The system under test: the production handlers and stores of all four services, wired as in
//! their binaries, on one in-process AWS.
//!
//! Left out: Lambda's runtime, the gateway and the check of tokens. A caller is a value.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt;
use inventory::handlers::{adjust, create, update};
use orders::handlers::{admin, cancel, place, sweep};
use serde_json::{Value, json};
use shared_auth::{Caller, Role};
use shared_lambda::http::{Request, Response, respond};
use shared_lambda::sqs::{self, Failure, Outgoing};
use shared_lambda::{Origin, telemetry};
use test_support::Aws;
use tokio::time::Instant;
use users::domain::{Email, User, UserName};
use users::handlers::update as update_user;
use users::passwords::HashedPassword;
use uuid::Uuid;

use crate::clock::Clock;
use crate::fault_profile::{FaultKind, SharedProfile, lock_profile};
use crate::handled::{Handled, HandlerResult};
use crate::participants::Queue;
use crate::pending_calls::PendingCalls;
use crate::services::orders::place as new_place;
use crate::tables::Tables;
use crate::template_config;
use crate::wiring::{Handler, WIRED, Wiring, customer};

pub const ADMIN: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0ad1);

pub struct System {
    pub aws: Aws,
    pub tables: Tables,
    pub clock: Clock,
    pub origin: Origin,
    wiring: Wiring,
    place: RefCell<Rc<place::PlaceOrder>>,
    /// In the order of [`Queue::ALL`].
    handlers: Vec<Handler>,
    handled: RefCell<Vec<Handled>>,
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
            place: RefCell::new(Rc::new(new_place(&wiring))),
            handlers: Queue::ALL.iter().map(|queue| queue.wire(&wiring)).collect(),
            handled: RefCell::default(),
            mistakes: RefCell::default(),
            clock: wiring.clock.clone(),
            origin: wiring.origin.clone(),
            wiring,
            aws,
            tables,
        }
    }

    /// Replaces the instance of `orders-place` by a new one.
    pub fn restart_place(&self) {
        self.place.replace(Rc::new(new_place(&self.wiring)));
    }

    /// `POST /api/v1/orders`.
    pub async fn place(&self, user: Uuid, key: &str, body: &str) -> Response {
        let place = Rc::clone(&self.place.borrow());
        let request = Request::new()
            .with_header("idempotency-key", key)
            .with_body(body.to_owned());
        respond(&self.origin, request, |context, request| {
            place::handle(&place, customer(user), context, request)
        })
        .await
    }

    /// `POST /api/v1/orders/{id}/cancel`.
    pub async fn cancel(&self, user: Uuid, order: Uuid) -> Response {
        let saga = cancel::wire(&self.wiring.setup("orders-cancel")).expect(WIRED);
        let request = Request::new().with_path_parameter("id", order.to_string());
        respond(&self.origin, request, |context, request| {
            cancel::handle(&saga, customer(user), context, request)
        })
        .await
    }

    /// `PATCH /api/v1/items/{sku}`.
    pub async fn reprice(&self, sku: &str, amount: i64, currency: &str) -> Response {
        let store = update::wire(&self.wiring.setup("inventory-update")).expect(WIRED);
        let body = json!({"price": {"amount": amount, "currency": currency}});
        let request = Request::new()
            .with_path_parameter("sku", sku)
            .with_body(body.to_string());
        respond(&self.origin, request, |context, request| {
            update::handle(&store, admin(), context, request)
        })
        .await
    }

    /// `POST /api/v1/items/{sku}/adjustments`.
    pub async fn adjust(&self, sku: &str, delta: i64, key: &str) -> Response {
        let store = adjust::wire(&self.wiring.setup("inventory-adjust")).expect(WIRED);
        let body = json!({"delta": delta, "reason": "counted"});
        let request = Request::new()
            .with_path_parameter("sku", sku)
            .with_header("idempotency-key", key)
            .with_body(body.to_string());
        respond(&self.origin, request, |context, request| {
            adjust::handle(&store, admin(), context, request)
        })
        .await
    }

    /// `PATCH /api/v1/users/{id}`.
    pub async fn set_status(&self, user: Uuid, status: &str) -> Response {
        let store = update_user::wire(&self.wiring.setup("users-update")).expect(WIRED);
        let request = Request::new()
            .with_path_parameter("id", user.to_string())
            .with_body(json!({"status": status}).to_string());
        respond(&self.origin, request, |context, request| {
            update_user::handle(&store, admin(), context, request)
        })
        .await
    }

    /// One run of the sweeper.
    pub async fn sweep(&self) -> Result<(), String> {
        let sweep = sweep::wire(&self.wiring.setup("orders-sweep")).expect(WIRED);
        let swept = sweep::handle(&sweep, self.origin.context(None)).await;
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
        let saga = admin::wire(&self.wiring.setup("orders-admin")).expect(WIRED);
        let answered = admin::handle(&saga, self.origin.context(None), request).await;
        let answered = answered.map_err(|error| telemetry::chain(&*error))?;
        if answered["outcome"] == "invalid" {
            self.mistake(format!("an operator's request is invalid: {answered}"));
        }
        Ok(())
    }

    /// One batch of a queue, through production's queue runner.
    pub async fn batch(&self, queue: Queue, records: Vec<SqsMessage>) -> SqsBatchResponse {
        let mut event = SqsEvent::default();
        event.records = records;
        let trigger = sqs::Queue::new(self.wiring.sqs.clone(), queue.url().to_owned());
        let trigger = match queue.is_one_at_a_time() {
            true => trigger.one_at_a_time(),
            false => trigger,
        };
        let limit = template_config::timeout(queue.function()).unsigned_abs();
        let ends_at = Instant::now() + Duration::from_millis(limit);
        let handle = &self.handlers[queue.index()];
        let handler = |context, envelope| {
            let about = Handled::of(queue, &envelope);
            self.record_result(about, handle(context, envelope))
        };
        sqs::process(&self.origin, &trigger, event, ends_at, handler).await
    }

    /// Records the result of a message. The queue runner would hide a panic or a refusal: it
    /// retries the message.
    pub async fn record_result(
        &self,
        about: Handled,
        handled: impl Future<Output = Result<Vec<Outgoing>, Failure>>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        let result = HandlerResult::of(&handled);
        self.handled.borrow_mut().push(Handled { result, ..about });
        handled.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The results of messages since the last call.
    pub fn handled(&self) -> Vec<Handled> {
        self.handled.take()
    }

    /// The bugs found outside of messages since the last call.
    pub fn mistakes(&self) -> Vec<String> {
        self.mistakes.take()
    }

    /// All violations since the last call.
    pub fn violations(&self) -> Vec<String> {
        let handled = self.handled();
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
        let store = update_user::wire(&self.wiring.setup("users-update")).expect(WIRED);
        let names = (0..customers.len()).map(|number| format!("customer{number}"));
        let customers = customers.iter().copied().zip(names);
        for (id, name) in customers.chain([(ADMIN, "admin".to_owned())]) {
            let (user, password) = (user(id, &name), HashedPassword::dummy());
            let registered = store.register(&user, &password).await;
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
        let catalogue = create::wire(&self.wiring.setup("inventory-create")).expect(WIRED);
        for (sku, amount, stock) in items {
            let body = json!({
                "sku": sku, "name": sku, "stock": stock,
                "price": {"amount": amount, "currency": "USD"},
            });
            let request = Request::new().with_body(body.to_string());
            let created = respond(&self.origin, request, |context, request| {
                create::handle(&catalogue, admin(), context, request)
            })
            .await;
            assert_eq!(created.status, 201, "{:?}", created.body);
        }
    }
}

fn admin() -> Caller {
    Caller {
        user_id: ADMIN,
        role: Role::Admin,
        token: ADMIN.to_string(),
    }
}
