//! The whole system under test: the production handlers and stores of all four services, wired as
//! their binaries wire them, on one in-process AWS.
//!
//! Left out on purpose is what has no part in the saga: Lambda's runtime, the gateway, and checking
//! tokens (a caller is given as a value, and the REST question from orders to users arrives at the
//! users handler with the caller its token names).

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::iter;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeId, AuthSchemeOption, AuthSchemeOptionsFuture,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use futures_util::FutureExt;
use jiff::Timestamp;
use orders::advance::Saga;
use orders::handlers::{cancel, operate, place, replies, sweep};
use orders::users_client::{Users, patience};
use payments::domain::{Charge, ChargeKey, Money, PaymentId, RefundKey, Settlement};
use payments::provider::{Provider, ProviderError, Simulator};
use serde_json::{Value, json};
use shared_auth::{Caller, Role};
use shared_lambda::envelope::Envelope;
use shared_lambda::http::{Request, Response, respond};
use shared_lambda::sqs::{self, Failure, Outgoing};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Origin, Setup, rest, telemetry};
use test_support::{Aws, mortal};
use tokio::time::Instant;
use users::domain::{Email, User, UserName};
use users::passwords::HashedPassword;
use users::store::UserStore;
use uuid::Uuid;

use crate::chance::{Dice, Trouble, Weather};
use crate::deployed;
use crate::gate::Gate;
use crate::network::{Millis, QueueName};

/// Where orders asks users.
const USERS_URL: &str = "https://api.example/";

/// When every simulation begins.
const START: i64 = 1_790_000_000_000;

pub const ADMIN: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0ad1);

/// The simulated time. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn now(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }

    pub fn timestamp(&self) -> Timestamp {
        timestamp(self.now())
    }

    /// Time passes, for the handlers' clocks and for their timers alike.
    pub async fn pass(&self, millis: Millis) {
        self.0.fetch_add(millis, Ordering::Relaxed);
        tokio::time::advance(Duration::from_millis(millis as u64)).await;
    }
}

/// A moment of the simulation as the handlers see it.
pub fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(START + at).expect("simulations do not last for millennia")
}

/// The other way round.
pub fn millis(at: Timestamp) -> Millis {
    at.as_millisecond() - START
}

/// What became of one message, seen from inside its function.
#[derive(Clone, Debug)]
pub struct Handled {
    pub queue: QueueName,
    /// Of the envelope: every copy of a message has the same.
    pub id: Uuid,
    pub order: Uuid,
    pub kind: String,
    pub how: How,
}

#[derive(Clone, Debug)]
pub enum How {
    /// The bodies of the messages that it led to.
    Done(Vec<String>),
    /// It may succeed later: why it did not now.
    Retried(String),
    /// What only correct services avoid.
    Wrong(String),
}

impl Handled {
    fn of(queue: QueueName, envelope: &Envelope) -> Self {
        Self {
            queue,
            id: envelope.id,
            order: envelope.subject,
            kind: envelope.kind.clone(),
            how: How::Done(Vec::new()),
        }
    }

    /// What is wrong with it whatever went wrong elsewhere.
    pub fn complaint(&self) -> Option<String> {
        let Self { kind, order, .. } = self;
        match &self.how {
            How::Wrong(why) => Some(format!("{kind} of order {order} {why}")),
            // A command is a question.
            How::Done(answers) if answers.len() != 1 && self.queue != QueueName::Replies => {
                let times = answers.len();
                Some(format!(
                    "{kind} of order {order} was answered {times} times"
                ))
            }
            How::Done(_) | How::Retried(_) => None,
        }
    }
}

/// The four services.
pub struct System {
    pub aws: Aws,
    pub tables: Tables,
    pub clock: Clock,
    pub origin: Origin,
    handled: RefCell<Vec<Handled>>,
    /// What only correct services avoid, of functions without messages.
    mistakes: RefCell<Vec<String>>,
    weather: SharedWeather,
    sqs: aws_sdk_sqs::Client,
    place: RefCell<Rc<place::Place>>,
    cancel: Saga,
    replies: Saga,
    sweep: sweep::Sweep,
    operate: Saga,
    /// What the functions are wired from.
    setup: Setup,
    inventory: inventory::store::InventoryStore,
    reservations: inventory::handlers::commands::Commands,
    payments: payments::handlers::commands::Commands<Unreliable>,
    users: UserStore,
    verify: users::handlers::verify::Verify,
}

/// The names the templates give the tables.
#[derive(Clone, Debug)]
pub struct Tables {
    pub users: String,
    pub orders: String,
    pub inventory: String,
    pub payments: String,
}

/// Shared with what sits beneath the handlers.
pub type SharedWeather = Arc<Mutex<Weather>>;

pub fn weather(weather: &SharedWeather) -> MutexGuard<'_, Weather> {
    weather.lock().unwrap_or_else(PoisonError::into_inner)
}

impl System {
    pub fn new(seed: u64, gate: &Gate, weather: &SharedWeather) -> Self {
        let aws = Aws::new();
        aws.keep_no_calls();
        if crate::system::weather(weather).knows(Trouble::StaleRead) {
            aws.keep_history();
        }
        let turn = gate.clone();
        aws.on_call(move |call| turn.turn(call));
        let [users, orders, inventory, payments] =
            deployed::tables().map(|(template, id)| aws.create_table_from(template, id));
        let tables = Tables {
            users,
            orders,
            inventory,
            payments,
        };
        let clock = Clock::default();
        let (dynamodb, sqs) = clients(&aws);
        let timeout = (deployed::step_timeout() / 1000).to_string();
        let variables = [
            ("ORDERS_TABLE", tables.orders.as_str()),
            ("INVENTORY_TABLE", &tables.inventory),
            ("PAYMENTS_TABLE", &tables.payments),
            ("USERS_TABLE", &tables.users),
            ("USERS_URL", USERS_URL),
            ("USERS_COMMANDS_QUEUE_URL", QueueName::Users.url()),
            ("INVENTORY_COMMANDS_QUEUE_URL", QueueName::Inventory.url()),
            ("PAYMENTS_COMMANDS_QUEUE_URL", QueueName::Payments.url()),
            ("ORDERS_REPLIES_QUEUE_URL", QueueName::Replies.url()),
            ("ORDERS_STEP_TIMEOUT_SECONDS", &timeout),
            ("PAYMENT_PROVIDER", "simulator"),
            ("SIMULATOR_IN_PRODUCTION", "false"),
            // The provider may be told to fail in it.
            ("STAGE", "dev"),
        ];
        let setup =
            Setup::for_tests(aws.clone(), &variables).with_clients(dynamodb.clone(), sqs.clone());
        let wired = "every variable is given";
        let payments = payments::handlers::commands::wire(&setup).expect(wired);
        let user_store = users::handlers::update::wire(&setup).expect(wired);
        let origin = origin(seed, &clock);
        Self {
            place: RefCell::new(Rc::new(place::Place {
                users: users_over_rest(user_store.clone(), &origin, weather),
                ..place::wire(&setup).expect(wired)
            })),
            cancel: cancel::wire(&setup).expect(wired),
            replies: replies::wire(&setup).expect(wired),
            sweep: sweep::wire(&setup).expect(wired),
            operate: operate::wire(&setup).expect(wired),
            inventory: inventory::handlers::update::wire(&setup).expect(wired),
            reservations: inventory::handlers::commands::wire(&setup).expect(wired),
            payments: payments::handlers::commands::Commands {
                store: payments.store,
                provider: Unreliable {
                    simulator: payments.provider,
                    weather: Arc::clone(weather),
                    clock: clock.clone(),
                },
                replies_queue_url: payments.replies_queue_url,
            },
            users: user_store,
            verify: users::handlers::verify::wire(&setup).expect(wired),
            handled: RefCell::default(),
            mistakes: RefCell::default(),
            weather: Arc::clone(weather),
            origin,
            setup,
            sqs,
            aws,
            tables,
            clock,
        }
    }

    /// A function instance that starts anew has an empty cache and a closed breaker.
    pub fn restart_place(&self) {
        let new = place::Place {
            users: users_over_rest(self.users.clone(), &self.origin, &self.weather),
            ..place::wire(&self.setup).expect("every variable is given")
        };
        self.place.replace(Rc::new(new));
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
        let request = Request::new().with_path_parameter("id", order.to_string());
        respond(&self.origin, request, |context, request| {
            cancel::handle(&self.cancel, customer(user), context, request)
        })
        .await
    }

    /// `PATCH /api/v1/items/{sku}`.
    pub async fn reprice(&self, sku: &str, amount: i64, currency: &str) -> Response {
        let body = json!({"price": {"amount": amount, "currency": currency}});
        let request = Request::new()
            .with_path_parameter("sku", sku)
            .with_body(body.to_string());
        respond(&self.origin, request, |context, request| {
            inventory::handlers::update::handle(&self.inventory, admin(), context, request)
        })
        .await
    }

    /// `POST /api/v1/items/{sku}/adjustments`.
    pub async fn adjust(&self, sku: &str, delta: i64, key: &str) -> Response {
        let body = json!({"delta": delta, "reason": "counted"});
        let request = Request::new()
            .with_path_parameter("sku", sku)
            .with_header("idempotency-key", key)
            .with_body(body.to_string());
        respond(&self.origin, request, |context, request| {
            inventory::handlers::adjust::handle(&self.inventory, admin(), context, request)
        })
        .await
    }

    /// `PATCH /api/v1/users/{id}`.
    pub async fn set_status(&self, user: Uuid, status: &str) -> Response {
        let request = Request::new()
            .with_path_parameter("id", user.to_string())
            .with_body(json!({"status": status}).to_string());
        respond(&self.origin, request, |context, request| {
            users::handlers::update::handle(&self.users, admin(), context, request)
        })
        .await
    }

    /// One run of the sweeper.
    pub async fn sweep(&self) -> Result<(), String> {
        let swept = sweep::handle(&self.sweep, self.origin.context(None)).await;
        let swept = swept.map_err(|error| error.to_string())?;
        if swept["unreadable"] != 0 {
            self.mistake(format!("the sweeper cannot read everything: {swept}"));
        }
        Ok(())
    }

    /// `cargo xtask saga retry`.
    pub async fn retry(&self, order: Uuid) -> Result<(), String> {
        self.operate(json!({"action": "retry", "order_id": order, "by": "an operator"}))
            .await
    }

    /// `cargo xtask saga abandon`, of the step the order was seen parked in.
    pub async fn abandon(&self, order: Uuid, step: &str) -> Result<(), String> {
        self.operate(json!({
            "action": "abandon", "order_id": order, "step": step,
            "reason": "settled by hand", "by": "an operator",
        }))
        .await
    }

    async fn operate(&self, request: Value) -> Result<(), String> {
        let answered = operate::handle(&self.operate, self.origin.context(None), request).await;
        let answered = answered.map_err(|error| telemetry::chain(&*error))?;
        if answered["outcome"] == "invalid" {
            self.mistake(format!("an operator is not understood: {answered}"));
        }
        Ok(())
    }

    /// One batch of a queue, through the runner that production uses.
    pub async fn batch(&self, queue: QueueName, records: Vec<SqsMessage>) -> SqsBatchResponse {
        let mut event = SqsEvent::default();
        event.records = records;
        let trigger = sqs::Queue::new(self.sqs.clone(), queue.url().to_owned());
        let limit = deployed::timeout(queue.function()).unsigned_abs();
        let ends_at = Instant::now() + Duration::from_millis(limit);
        let trigger = match queue {
            QueueName::Inventory => trigger.one_at_a_time(),
            QueueName::Users | QueueName::Payments | QueueName::Replies => trigger,
        };
        let handler = |context, envelope| {
            let about = Handled::of(queue, &envelope);
            self.noting(about, self.carry_out(queue, context, envelope))
        };
        sqs::process(&self.origin, &trigger, event, ends_at, handler).await
    }

    /// One message by the handler of its queue.
    async fn carry_out(
        &self,
        queue: QueueName,
        context: Context,
        envelope: Envelope,
    ) -> Result<Vec<Outgoing>, Failure> {
        match queue {
            QueueName::Users => {
                users::handlers::verify::handle(&self.verify, context, envelope).await
            }
            QueueName::Inventory => {
                inventory::handlers::commands::handle(&self.reservations, context, envelope).await
            }
            QueueName::Payments => {
                payments::handlers::commands::handle(&self.payments, context, envelope).await
            }
            QueueName::Replies => replies::handle(&self.replies, context, envelope).await,
        }
    }

    /// A message between correct services can be carried out, if not now then later: that one
    /// never can is a fault of ours, and so is a function that panics, asks its table for what
    /// cannot be, or finds there what it cannot read. The runner has such a message retried.
    pub async fn noting(
        &self,
        about: Handled,
        handled: impl Future<Output = Result<Vec<Outgoing>, Failure>>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        let how = match &handled {
            Err(panic) => How::Wrong(format!("made its function panic: {}", said(&**panic))),
            Ok(Ok(messages)) => How::Done(messages.iter().map(|m| m.body().to_owned()).collect()),
            Ok(Err(failure)) if !failure.is_retried() => {
                How::Wrong(format!("can never be carried out: {}", failure.detail()))
            }
            Ok(Err(failure)) => {
                let cause = failure.cause().map(telemetry::chain).unwrap_or_default();
                let why = format!("{}: {cause}", failure.detail());
                match failure.cause().is_some_and(is_lasting) {
                    true => How::Wrong(format!("is retried in vain: {why}")),
                    false => How::Retried(why),
                }
            }
        };
        self.handled.borrow_mut().push(Handled { how, ..about });
        handled.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// What became of messages since this was last asked.
    pub fn handled(&self) -> Vec<Handled> {
        self.handled.take()
    }

    /// What only correct services avoid, since this was last asked; not what became of messages.
    pub fn mistakes(&self) -> Vec<String> {
        self.mistakes.take()
    }

    /// Everything that only correct services avoid, since this was last asked.
    pub fn complaints(&self) -> Vec<String> {
        let handled = self.handled();
        let complaints = handled.iter().filter_map(Handled::complaint);
        self.mistakes().into_iter().chain(complaints).collect()
    }

    fn mistake(&self, what: String) {
        self.mistakes.borrow_mut().push(what);
    }

    /// Customers, an administrator and items, all there before anything goes wrong.
    pub async fn seed(&self, customers: &[Uuid], items: &[(String, i64, i64)]) {
        let user = |id: Uuid, name: &str| {
            let email = Email::parse(&format!("{name}@example.com")).expect("it is an address");
            let name = UserName::parse(name).expect("it is a name");
            User::register(id, email, name, self.clock.timestamp())
        };
        for (number, id) in customers.iter().enumerate() {
            let user = user(*id, &format!("customer{number}"));
            let registered = self.users.register(&user, &HashedPassword::nobodys()).await;
            registered.expect("nothing goes wrong yet");
        }
        let admin_user = user(ADMIN, "admin");
        let registered = self
            .users
            .register(&admin_user, &HashedPassword::nobodys())
            .await;
        registered.expect("nothing goes wrong yet");
        // As an operator's command does it; there is no way over HTTP.
        let pk = format!("USER#{ADMIN}");
        let mut row = self
            .aws
            .item(&self.tables.users, &pk, "USER")
            .expect("it was registered");
        row["role"] = json!("admin");
        self.aws.put_raw(&self.tables.users, row);
        for (sku, amount, stock) in items {
            let body = json!({
                "sku": sku, "name": sku, "stock": stock,
                "price": {"amount": amount, "currency": "USD"},
            });
            let request = Request::new().with_body(body.to_string());
            let created = respond(&self.origin, request, |context, request| {
                inventory::handlers::create::handle(&self.inventory, admin(), context, request)
            })
            .await;
            assert_eq!(created.status, 201, "{:?}", created.body);
        }
    }
}

/// What a panic said.
pub fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("nothing")
}

/// Whether a table failed, at the bottom of it, for a reason that does not go away by itself.
fn is_lasting(error: &(dyn std::error::Error + 'static)) -> bool {
    iter::successors(Some(error), |error| error.source()).any(|error| {
        let of_table = error.downcast_ref::<TableError>();
        of_table.is_some_and(|error| !error.is_transient())
    })
}

pub fn customer(user_id: Uuid) -> Caller {
    Caller {
        user_id,
        role: Role::Customer,
        token: user_id.to_string(),
    }
}

fn admin() -> Caller {
    Caller {
        user_id: ADMIN,
        role: Role::Admin,
        token: ADMIN.to_string(),
    }
}

/// Times and ids that are the same in every run of a seed.
fn origin(seed: u64, clock: &Clock) -> Origin {
    let (clock, count) = (clock.clone(), AtomicU64::new(0));
    Origin::new(
        move || clock.timestamp(),
        move || {
            let mut dice = Dice::new(seed, 1 << 32 | count.fetch_add(1, Ordering::Relaxed));
            let bits = u128::from(dice.roll()) << 64 | u128::from(dice.roll());
            uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
        },
    )
}

/// The clients production has, with its timeouts and its retries, on the stand-in; but for a
/// budget of retries of their own, which one process's worlds would otherwise share, and for the
/// signatures, which nobody here reads.
fn clients(aws: &Aws) -> (aws_sdk_dynamodb::Client, aws_sdk_sqs::Client) {
    static WORLDS: AtomicU64 = AtomicU64::new(0);
    let world = WORLDS.fetch_add(1, Ordering::Relaxed);
    let settings = shared_lambda::aws::Settings::new(
        "us-east-1".to_owned(),
        None,
        Credentials::new("simulation", "simulation", None, None, "simulation"),
        SharedHttpConnector::new(aws.clone()),
    );
    let dynamodb = {
        use aws_sdk_dynamodb::config::retry::RetryPartition;
        let config = settings.dynamodb().config().to_builder();
        let partition = RetryPartition::new(format!("dynamodb-{world}"));
        let config = config.retry_partition(partition);
        let config = config.allow_no_auth().auth_scheme_resolver(Unsigned);
        aws_sdk_dynamodb::Client::from_conf(config.build())
    };
    let sqs = {
        use aws_sdk_sqs::config::retry::RetryPartition;
        let config = settings.sqs().config().to_builder();
        let partition = RetryPartition::new(format!("sqs-{world}"));
        let config = config.retry_partition(partition);
        let config = config.allow_no_auth().auth_scheme_resolver(Unsigned);
        aws_sdk_sqs::Client::from_conf(config.build())
    };
    (dynamodb, sqs)
}

/// Signing would be a tenth of a simulation's work.
#[derive(Debug)]
struct Unsigned;

/// The SDK's name for it.
const NO_AUTH: AuthSchemeId = AuthSchemeId::new("noAuth");

impl Unsigned {
    fn options<'a>() -> AuthSchemeOptionsFuture<'a> {
        AuthSchemeOptionsFuture::ready(Ok(vec![AuthSchemeOption::from(NO_AUTH)]))
    }
}

impl aws_sdk_dynamodb::config::auth::ResolveAuthScheme for Unsigned {
    fn resolve_auth_scheme<'a>(
        &'a self,
        _: &'a aws_sdk_dynamodb::config::auth::Params,
        _: &'a ConfigBag,
        _: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        Self::options()
    }
}

impl aws_sdk_sqs::config::auth::ResolveAuthScheme for Unsigned {
    fn resolve_auth_scheme<'a>(
        &'a self,
        _: &'a aws_sdk_sqs::config::auth::Params,
        _: &'a ConfigBag,
        _: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        Self::options()
    }
}

fn users_over_rest(store: UserStore, origin: &Origin, weather: &SharedWeather) -> Users {
    let service = UsersService {
        store,
        origin: origin.clone(),
        weather: Arc::clone(weather),
    };
    Users::new(rest::Client::new(
        USERS_URL,
        SharedHttpConnector::new(service),
        patience(),
    ))
}

/// `GET /api/v1/users/{id}` behind its gateway, as orders reaches it.
#[derive(Clone)]
struct UsersService {
    store: UserStore,
    origin: Origin,
    weather: SharedWeather,
}

impl fmt::Debug for UsersService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsersService")
    }
}

impl HttpConnector for UsersService {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}

impl UsersService {
    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let how = {
            let mut weather = weather(&self.weather);
            weather.brings(Trouble::UsersDown).then(|| {
                *weather
                    .dice(Trouble::UsersDown)
                    .pick(&[Down::Refused, Down::Silent, Down::Broken])
            })
        };
        match how {
            None => {}
            Some(Down::Refused) => {
                return Err(ConnectorError::io("the connection was refused".into()));
            }
            Some(Down::Silent) => std::future::pending().await,
            Some(Down::Broken) => return Ok(plain(503, "Service Unavailable".to_owned())),
        }
        let bearer = request.headers().get("authorization").unwrap_or_default();
        let caller = Uuid::try_parse(bearer.trim_start_matches("Bearer ")).unwrap_or_default();
        let id = request
            .uri()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let request = Request::new().with_path_parameter("id", id);
        // A process of its own: dying, it takes nobody along.
        let answer = mortal(respond(&self.origin, request, |context, request| {
            users::handlers::get::handle(&self.store, customer(caller), context, request)
        }))
        .await;
        Ok(match answer {
            Some(response) => plain(response.status, response.body.unwrap_or_default()),
            None => plain(502, "Bad Gateway".to_owned()),
        })
    }
}

#[derive(Clone, Copy)]
enum Down {
    Refused,
    Silent,
    Broken,
}

fn plain(status: u16, body: String) -> HttpResponse {
    let status = status.try_into().expect("it is a status");
    HttpResponse::new(status, SdkBody::from(body))
}

/// The payment simulator at the other end of a bad line.
struct Unreliable {
    simulator: Simulator,
    weather: SharedWeather,
    clock: Clock,
}

impl Unreliable {
    async fn over<T>(
        &self,
        question: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let unknown = |why: &'static str| Err(ProviderError::Unknown(why.into()));
        {
            let mut weather = weather(&self.weather);
            if weather.provider_is_gone(self.clock.now()) || weather.brings(Trouble::ProviderDown) {
                return unknown("the provider cannot be reached");
            }
        }
        let answer = question.await;
        if weather(&self.weather).brings(Trouble::ProviderLost) {
            return unknown("the provider's answer was lost");
        }
        answer
    }
}

impl Provider for Unreliable {
    async fn charge(&self, charge: &Charge) -> Result<Settlement, ProviderError> {
        self.over(self.simulator.charge(charge)).await
    }

    async fn cancel(&self, key: &ChargeKey) -> Result<Settlement, ProviderError> {
        self.over(self.simulator.cancel(key)).await
    }

    async fn refund(
        &self,
        key: &RefundKey,
        payment_id: &PaymentId,
        amount: Money,
    ) -> Result<(), ProviderError> {
        self.over(self.simulator.refund(key, payment_id, amount))
            .await
    }
}
