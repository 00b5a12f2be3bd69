//! The orders service in a test: its functions on a simulated AWS, a stub of the users service, and a
//! clock that the test moves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use jiff::{SignedDuration, Timestamp};
use orders::advance::Saga;
use orders::domain::{Order, OrderId, State, owed};
use orders::handlers::{admin, cancel, get, list, place, replies, sweep, timeline};
use orders::messages::Routes;
use orders::store::OrderStore;
use orders::users_client::Users;
use serde_json::{Value, json};
use shared_auth::{Caller, Role};
use shared_lambda::envelope::Envelope;
use shared_lambda::http::{Request, Response, respond};
use shared_lambda::sqs::{self, Failure};
use shared_lambda::{Context, Origin, Setup, Stage, rest};
use test_support::template::Template;
use test_support::{Aws, Call};
use uuid::Uuid;

use crate::samples::{TIMEOUT, sample_reply, start};

pub const USERS_QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/0/users-commands";
pub const INVENTORY_QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/0/inventory-commands";
pub const PAYMENTS_QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/0/payments-commands";
pub const REPLIES_QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/0/orders-replies";

/// The trace of all requests, so that tests can compare whole responses.
pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Read once, because some tests create hundreds of worlds.
static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::of_service("orders"));

pub struct World {
    pub aws: Aws,
    pub table: String,
    pub clock: Clock,
    pub users: StubUsers,
    pub origin: Origin,
    pub place: place::PlaceOrder,
    pub cancel: Saga,
    pub replies: Saga,
    pub sweep: sweep::Sweep,
    pub admin: Saga,
}

impl World {
    pub fn new() -> Self {
        Self::in_stage(Stage::Dev)
    }

    /// A world with one order.
    pub async fn with(order: &Order) -> Self {
        let world = Self::new();
        world.put(order).await;
        world
    }

    pub fn in_stage(stage: Stage) -> Self {
        let aws = Aws::new();
        let table = aws.create_table_from(&TEMPLATE, "OrdersTable");
        let (clock, users) = (Clock::default(), StubUsers::default());
        let setup = setup(&aws, &users, &table, stage);
        let place = place::wire(&setup).unwrap();
        Self {
            place: place::PlaceOrder {
                users: impatient(&users),
                ..place
            },
            cancel: cancel::wire(&setup).unwrap(),
            replies: replies::wire(&setup).unwrap(),
            sweep: sweep::wire(&setup).unwrap(),
            admin: admin::wire(&setup).unwrap(),
            origin: clock.origin(),
            aws,
            table,
            clock,
            users,
        }
    }

    pub fn store(&self) -> OrderStore {
        OrderStore::new(self.aws.dynamodb(), self.table.clone())
    }

    /// From now on such calls to AWS never get an answer.
    pub fn never_answer(&self, which: fn(&Call) -> bool) {
        self.aws.on_call(move |call| async move {
            if which(&call) {
                std::future::pending::<()>().await;
            }
            None
        });
    }

    pub fn context(&self) -> Context {
        self.origin.context(None)
    }

    /// `POST /api/v1/orders`.
    pub async fn place(&self, caller: &Caller, request: Request) -> Response {
        let response = respond(&self.origin, traced(request), |context, request| {
            place::handle(&self.place, caller.clone(), context, request)
        });
        without_trace(response.await)
    }

    /// A customer's `POST /api/v1/orders`, perhaps with an Idempotency-Key.
    pub async fn post(&self, user: Uuid, body: &Value, key: Option<&str>) -> Response {
        self.place(&customer(user), posting(body, key)).await
    }

    /// `GET /api/v1/orders/{id}`.
    pub async fn get(&self, caller: &Caller, request: Request) -> Response {
        let store = self.store();
        respond(&self.origin, traced(request), |context, request| {
            get::handle(&store, caller.clone(), context, request)
        })
        .await
    }

    /// `GET /api/v1/orders`.
    pub async fn list(&self, caller: &Caller, request: Request) -> Response {
        let store = self.store();
        list::QUERY
            .respond(&self.origin, traced(request), |context, request| {
                list::handle(&store, caller.clone(), context, request)
            })
            .await
    }

    /// `GET /api/v1/orders/{id}/timeline`.
    pub async fn timeline(&self, caller: &Caller, request: Request) -> Response {
        let store = self.store();
        respond(&self.origin, traced(request), |context, request| {
            timeline::handle(&store, caller.clone(), context, request)
        })
        .await
    }

    /// `POST /api/v1/orders/{id}/cancel`.
    pub async fn cancel(&self, caller: &Caller, request: Request) -> Response {
        let response = respond(&self.origin, traced(request), |context, request| {
            cancel::handle(&self.cancel, caller.clone(), context, request)
        });
        without_trace(response.await)
    }

    /// Handles one message of the queue `orders-replies` as the runner does: it acknowledges the message
    /// only after the send.
    pub async fn deliver(&self, body: &str) -> Result<(), Failure> {
        let envelope = Envelope::parse(body)?;
        let context = self.origin.context(envelope.traceparent.as_deref());
        let outgoing = replies::handle(&self.replies, context, envelope).await?;
        sqs::send(&self.aws.sqs(), outgoing)
            .await
            .map_err(|error| Failure::retry("its answer was not accepted", error))
    }

    /// Delivers the success of each step before a state.
    pub async fn answer_until(&self, id: OrderId, state: State) {
        loop {
            let order = self.order(id).await;
            if order.state == state {
                return;
            }
            let command = owed(&order).expect("an order in flight owes a command");
            let done = format!("{:?}", command.action().done);
            self.deliver(&sample_reply(id, &done)).await.unwrap();
        }
    }

    pub async fn sweep(&self) -> Result<Value, shared_lambda::Error> {
        sweep::handle(&self.sweep, self.context()).await
    }

    pub async fn admin(&self, request: Value) -> Result<Value, shared_lambda::Error> {
        admin::handle(&self.admin, self.context(), request).await
    }

    pub async fn order(&self, id: OrderId) -> Order {
        self.store()
            .get(id)
            .await
            .unwrap()
            .expect("the order is there")
    }

    /// Inserts an order without running its saga.
    pub async fn put(&self, order: &Order) {
        self.store().insert(order).await.unwrap();
    }

    /// Takes all messages from the command queues.
    pub fn commands(&self) -> Vec<Value> {
        [USERS_QUEUE, INVENTORY_QUEUE, PAYMENTS_QUEUE]
            .iter()
            .flat_map(|queue| self.aws.sent(queue))
            .collect()
    }

    /// Takes all messages from the command queues, and returns their types.
    pub fn command_types(&self) -> Vec<String> {
        let text = |command: Value| command["type"].as_str().unwrap().to_owned();
        self.commands().into_iter().map(text).collect()
    }
}

/// The variables of all functions of the template.
fn setup(aws: &Aws, users: &StubUsers, table: &str, stage: Stage) -> Setup {
    let timeout = TIMEOUT.0.as_secs().to_string();
    let stage = format!("{stage:?}").to_lowercase();
    let variables = [
        ("ORDERS_TABLE", table),
        ("ORDERS_STEP_TIMEOUT_SECONDS", &timeout),
        ("STAGE", &stage),
        ("USERS_URL", "https://users.example/"),
        ("USERS_COMMANDS_QUEUE_URL", USERS_QUEUE),
        ("INVENTORY_COMMANDS_QUEUE_URL", INVENTORY_QUEUE),
        ("PAYMENTS_COMMANDS_QUEUE_URL", PAYMENTS_QUEUE),
        ("ORDERS_REPLIES_QUEUE_URL", REPLIES_QUEUE),
    ];
    Setup::for_tests(users.clone(), &variables).with_clients(aws.dynamodb(), aws.sqs())
}

/// The client of users with short timeouts.
fn impatient(users: &StubUsers) -> Users {
    let policy = rest::Policy {
        timeout: Duration::from_millis(20),
        backoff: Duration::ZERO,
        ..rest::Policy::default()
    };
    let connector = SharedHttpConnector::new(users.clone());
    Users::new(rest::Client::new(
        "https://users.example/",
        connector,
        policy,
    ))
}

fn traced(request: Request) -> Request {
    request.with_header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
}

/// Each answer has a `traceparent` of its own, so equal answers would differ.
fn without_trace(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| *name != "traceparent");
    response
}

pub fn customer(user_id: Uuid) -> Caller {
    Caller {
        user_id,
        role: Role::Customer,
        token: format!("token-of-{user_id}"),
    }
}

pub fn admin() -> Caller {
    Caller {
        role: Role::Admin,
        ..customer(crate::samples::ADMIN)
    }
}

/// A request about one order.
pub fn about(id: impl ToString) -> Request {
    Request::new().with_path_parameter("id", id.to_string())
}

/// A request with a body and, perhaps, an Idempotency-Key.
pub fn posting(body: &Value, key: Option<&str>) -> Request {
    let request = Request::new().with_body(body.to_string());
    match key {
        None => request,
        Some(key) => request.with_header("idempotency-key", key),
    }
}

pub fn body(response: &Response) -> Value {
    serde_json::from_str(response.body.as_deref().expect("there is a body")).unwrap()
}

/// The id of the order in a response.
pub fn id_of(response: &Response) -> OrderId {
    OrderId(body(response)["id"].as_str().unwrap().parse().unwrap())
}

/// Routes to all participants.
pub fn routes() -> Routes {
    Routes::default()
        .users(USERS_QUEUE.to_owned())
        .inventory(INVENTORY_QUEUE.to_owned())
        .payments(PAYMENTS_QUEUE.to_owned())
}

/// A participant's reply as it is in the queue.
pub fn reply(order_id: OrderId, kind: &str, data: &Value) -> String {
    json!({
        "id": Uuid::new_v5(&order_id.0, kind.as_bytes()),
        "type": kind,
        "version": 1,
        "order_id": order_id.0,
        "time": "2026-01-02T03:04:06.000Z",
        "traceparent": format!("00-{TRACE}-00f067aa0ba902b7-01"),
        "data": data,
    })
    .to_string()
}

/// A clock that the test sets. Clones share the time.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<Timestamp>>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(start())))
    }
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = now;
    }

    pub fn pass(&self, seconds: i64) {
        let now = self.now() + SignedDuration::from_secs(seconds);
        self.set(now);
    }

    fn origin(&self) -> Origin {
        let (clock, count) = (self.clone(), AtomicU64::new(1));
        let next = move || u128::from(count.fetch_add(1, Ordering::Relaxed));
        Origin::new(move || clock.now(), move || Uuid::from_u128(next()))
    }
}

/// A behaviour of the users service.
#[derive(Clone, Debug)]
pub enum Answer {
    Gives(u16, String),
    Breaks,
    NeverComes,
}

/// A stub of the users service over HTTP; every user is active unless set otherwise. Clones share state.
#[derive(Clone, Debug, Default)]
pub struct StubUsers(Arc<Mutex<Stub>>);

#[derive(Debug, Default)]
struct Stub {
    next: VecDeque<Answer>,
    always: Option<Answer>,
    questions: Vec<Question>,
}

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub uri: String,
    pub authorization: String,
    pub traceparent: String,
}

impl StubUsers {
    /// Sets the answer to all requests without an answer from [`StubUsers::next`].
    pub fn always(&self, answer: Answer) {
        self.0.lock().unwrap().always = Some(answer);
    }

    /// Adds the answer to the next request.
    pub fn next(&self, answer: Answer) {
        self.0.lock().unwrap().next.push_back(answer);
    }

    pub fn questions(&self) -> Vec<Question> {
        self.0.lock().unwrap().questions.clone()
    }

    pub fn count(&self) -> usize {
        self.questions().len()
    }
}

/// The answer with a user.
pub fn user(id: Uuid, status: &str) -> Answer {
    let user = json!({
        "id": id, "email": "ann@example.com", "name": "Ann", "role": "customer",
        "status": status, "created_at": "2026-01-01T00:00:00.000Z",
    });
    Answer::Gives(200, user.to_string())
}

/// The answer with a problem.
pub fn problem(status: u16) -> Answer {
    let problem = json!({
        "type": "/problems/not-found", "title": "There is no such resource",
        "status": status, "detail": "there is no such user", "instance": "urn:waybill:trace:0",
        "urn": "urn:waybill:problem:not-found",
    });
    Answer::Gives(status, problem.to_string())
}

impl HttpConnector for StubUsers {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut stub = self.0.lock().unwrap();
        let header = |name| request.headers().get(name).unwrap_or_default().to_owned();
        stub.questions.push(Question {
            uri: request.uri().to_owned(),
            authorization: header("authorization"),
            traceparent: header("traceparent"),
        });
        let planned = stub.next.pop_front().or_else(|| stub.always.clone());
        let answer = planned.unwrap_or_else(|| {
            let id = request.uri().rsplit('/').next().unwrap();
            user(Uuid::try_parse(id).unwrap(), "active")
        });
        HttpConnectorFuture::new(async move {
            match answer {
                Answer::Gives(status, body) => Ok(HttpResponse::new(
                    status.try_into().unwrap(),
                    SdkBody::from(body),
                )),
                Answer::Breaks => Err(ConnectorError::io("the connection was refused".into())),
                Answer::NeverComes => std::future::pending().await,
            }
        })
    }
}
