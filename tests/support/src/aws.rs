//! The AWS of one test: clients, tables, queues and recorded calls.

use crate::crashable::crash;
use crate::dynamodb::{self, History};
use crate::fault::{Fault, Hook, Plan};
use crate::sqs::{self, Message, Queues};
use crate::ssm;
use crate::template::{self, Template};
use crate::wire::{Answer, Call};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::retry::RetryConfig;
use dynoxide::Database;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

/// An AWS of its own. Clones share it.
#[derive(Clone)]
pub struct Aws {
    database: Database,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    keeps_no_calls: bool,
    history: Option<History>,
    plan: Plan,
    hook: Option<Hook>,
    rng: Option<Rng>,
    queues: Queues,
    parameters: BTreeMap<String, String>,
}

impl Aws {
    /// An AWS without tables, messages or parameters.
    pub fn new() -> Aws {
        Aws {
            database: Database::memory().expect("a database in memory opens"),
            state: Arc::default(),
        }
    }

    /// A DynamoDB client without retries: each operation is one [`Call`].
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.dynamodb_with_attempts(1)
    }

    /// A DynamoDB client that tries each operation `attempts` times, without delay.
    pub fn dynamodb_with_attempts(&self, attempts: u32) -> aws_sdk_dynamodb::Client {
        use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region, retry::RetryPartition};
        aws_sdk_dynamodb::Client::from_conf(
            Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(credentials())
                .http_client(self.http_client())
                .retry_config(retries(attempts))
                .retry_partition(RetryPartition::new(fresh_partition()))
                .build(),
        )
    }

    /// An SQS client without retries: each operation is one [`Call`].
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        self.sqs_with_attempts(1)
    }

    /// An SQS client that tries each operation `attempts` times, without delay.
    pub fn sqs_with_attempts(&self, attempts: u32) -> aws_sdk_sqs::Client {
        use aws_sdk_sqs::config::{BehaviorVersion, Config, Region, retry::RetryPartition};
        aws_sdk_sqs::Client::from_conf(
            Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(credentials())
                .http_client(self.http_client())
                .retry_config(retries(attempts))
                .retry_partition(RetryPartition::new(fresh_partition()))
                .build(),
        )
    }

    /// The HTTP client of this AWS, for SDK clients with production's timeouts and retries.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// Creates a table of a service's template and returns its name.
    pub async fn create_table(&self, service: &str, logical_id: &str) -> String {
        self.create_table_from(&Template::of_service(service), logical_id)
    }

    /// Creates a table of a template and returns its name.
    pub fn create_table_from(&self, template: &Template, logical_id: &str) -> String {
        let request = template::create_table_request(template, logical_id);
        dynamodb::create_table(&self.database, &request);
        let name = request["TableName"].as_str();
        name.expect("a table's name is text").to_owned()
    }

    /// Every item of a table as plain JSON in a stable order. Sets become sorted arrays, bytes
    /// arrays of numbers, and numbers that JSON cannot hold exactly text. Not a [`Call`].
    pub fn dump(&self, table: &str) -> Vec<Value> {
        dynamodb::dump(&self.database, table)
    }

    /// One item as plain JSON, as in [`dump`](Aws::dump). Not a [`Call`].
    pub fn item(&self, table: &str, pk: &str, sk: &str) -> Option<Value> {
        dynamodb::item(&self.database, table, pk, sk)
    }

    /// Carries out a delayed request now and drops the answer. Not a [`Call`].
    pub fn arrive(&self, call: &Call) {
        self.answer(call, &[]);
    }

    /// Puts an item given as plain JSON. Not a [`Call`].
    pub fn put_raw(&self, table: &str, item: Value) {
        dynamodb::put(&self.database, table, &item);
    }

    /// Takes the bodies of the visible messages, in the order they were sent.
    pub fn sent(&self, queue_url: &str) -> Vec<Value> {
        let body = |message: Message| {
            serde_json::from_str(&message.body).unwrap_or_else(|error| {
                panic!(
                    "a message on {queue_url} is not JSON: {error}: {}",
                    message.body
                )
            })
        };
        self.sent_messages(queue_url)
            .into_iter()
            .map(body)
            .collect()
    }

    /// Takes the visible messages, in the order they were sent.
    pub fn sent_messages(&self, queue_url: &str) -> Vec<Message> {
        self.state().queues.drain(queue_url)
    }

    /// The received messages that are not deleted.
    pub fn in_flight(&self, queue_url: &str) -> Vec<Message> {
        self.state().queues.in_flight(queue_url)
    }

    /// Sends a message and returns its id. Not a [`Call`].
    pub fn enqueue(&self, queue_url: &str, body: &str) -> String {
        self.state().queues.send(queue_url, body, &Value::Null)
    }

    /// Adds messages that the test itself holds to the queue's counts: visible and in flight.
    pub fn keep_elsewhere(&self, queue_url: &str, waiting: usize, in_flight: usize) {
        let queues = &mut self.state().queues;
        queues.keep_elsewhere(queue_url, waiting, in_flight);
    }

    /// Makes every message in flight visible again.
    pub fn redeliver(&self, queue_url: &str) {
        self.state().queues.redeliver(queue_url);
    }

    pub fn set_parameter(&self, name: &str, value: &str) {
        let parameters = &mut self.state().parameters;
        parameters.insert(name.to_owned(), value.to_owned());
    }

    /// Every call so far, in order, failed ones included.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Forgets the calls so far, but not the count of [`writes`](Aws::writes).
    pub fn clear_calls(&self) {
        self.state().calls.clear();
    }

    /// Stops recording calls, for long runs.
    pub fn keep_no_calls(&self) {
        let mut state = self.state();
        state.keeps_no_calls = true;
        state.calls.clear();
    }

    /// Records the rows that writes replace, for stale reads.
    pub fn keep_history(&self) {
        self.state().history.get_or_insert_default();
    }

    /// Whether a read would differ before the last `writes` writes. Not a [`Call`].
    pub fn would_be_stale(&self, call: &Call, writes: usize) -> bool {
        self.past_answer(call, writes).says() != self.answer(call, &[]).says()
    }

    /// The count of writes, failed ones included.
    pub fn writes(&self) -> usize {
        self.state().plan.writes()
    }

    /// Plans a fault for the `nth` write from now, counted from 0. A fault that does not apply to
    /// that call is skipped and does not count as [fired](Aws::fired).
    pub fn fault_at(&self, nth: usize, fault: Fault) {
        self.state().plan.at(nth, fault);
    }

    /// Plans a fault for the next call of an action, e.g. `dynamodb:GetItem`. Planned twice, it
    /// hits the next two.
    pub fn fault_on(&self, action: &str, fault: Fault) {
        self.state().plan.on(action, fault);
    }

    /// Drops the planned faults.
    pub fn clear_faults(&self) {
        self.state().plan.clear();
    }

    /// The count of injected faults. A test that plans one should check it.
    pub fn fired(&self) -> usize {
        self.state().plan.fired()
    }

    /// Asks `hook` for the fault of every call from now on. A planned fault takes precedence.
    pub fn on_call<F>(&self, hook: impl Fn(Call) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Fault>> + Send + 'static,
    {
        self.state().hook = Some(Arc::new(move |call| Box::pin(hook(call))));
    }

    /// Makes each call pause around its effect, by a count drawn from `seed`. Handlers joined on
    /// one thread then interleave, equally for equal seeds. Without it, a handler runs in one go.
    pub fn interleave(&self, seed: u64) {
        self.state().rng = Some(Rng(seed));
    }

    async fn exchange(self, call: Call) -> Result<HttpResponse, ConnectorError> {
        let (planned, hook) = {
            let mut state = self.state();
            if !state.keeps_no_calls {
                state.calls.push(call.clone());
            }
            (state.plan.next(&call), state.hook.clone())
        };
        let fault = match (planned, hook) {
            (None, Some(hook)) => hook(call.clone()).await,
            (planned, _) => planned,
        };
        if let Some(fault) = &fault {
            assert!(
                fault.applies_to(&call),
                "{fault:?} does not apply to {}",
                call.name()
            );
            self.state().plan.count_fired();
        }
        self.pause().await;
        let answer = match fault {
            None => Ok(self.answer(&call, &[])),
            Some(Fault::PartialSend(refused)) => Ok(self.answer(&call, &refused)),
            Some(Fault::Unprocessed) => Ok(dynamodb::answer_in_part(&self.database, &call)),
            Some(Fault::WhollyUnprocessed) => Ok(dynamodb::answer_with_nothing(&call)),
            Some(Fault::Stale(writes)) => Ok(self.past_answer(&call, writes)),
            Some(Fault::TransactionConflict) => Ok(dynamodb::conflict(&call)),
            Some(Fault::Throttle) => Ok(match call.service {
                "sqs" => sqs::throttled(),
                _ => dynamodb::throttled(),
            }),
            Some(Fault::BeforeEffect) => Err("the connection broke before the request arrived"),
            Some(Fault::AfterEffect) => {
                self.answer(&call, &[]);
                Err("the connection broke before the answer came")
            }
            Some(Fault::KillBefore) => crash().await,
            Some(Fault::KillAfter) => {
                self.answer(&call, &[]);
                crash().await
            }
        };
        self.pause().await;
        answer
            .map(Answer::into_response)
            .map_err(|reason| ConnectorError::io(reason.into()))
    }

    fn past_answer(&self, call: &Call, writes: usize) -> Answer {
        let replaced = {
            let state = self.state();
            let history = state.history.as_ref();
            let history = history.expect("a read from the past needs `keep_history`");
            history.before(writes, call)
        };
        dynamodb::answer_from(&self.database, call, &replaced)
    }

    fn answer(&self, call: &Call, refused: &[usize]) -> Answer {
        match call.service {
            "dynamodb" if call.is_write() && self.state().history.is_some() => {
                let replaced = dynamodb::images(&self.database, call);
                let answer = dynamodb::answer(&self.database, call);
                if answer.is_ok()
                    && let Some(history) = &mut self.state().history
                {
                    history.add(replaced);
                }
                answer
            }
            "dynamodb" => dynamodb::answer(&self.database, call),
            "sqs" => self.state().queues.answer(call, refused),
            _ => ssm::answer(&self.state().parameters, call),
        }
    }

    async fn pause(&self) {
        let mut turns = self.state().rng.as_mut().map_or(0, Rng::next_pause);
        std::future::poll_fn(|context| {
            if turns == 0 {
                return Poll::Ready(());
            }
            turns -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// After a panic of a test, its other threads may still look.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for Aws {
    fn default() -> Aws {
        Aws::new()
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Aws")
    }
}

impl HttpClient for Aws {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(Call::read(&request)))
    }
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "test-support")
}

fn retries(attempts: u32) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(Duration::ZERO)
}

/// Clients of one partition share a retry budget, so each client needs its own.
fn fresh_partition() -> String {
    static PARTITIONS: AtomicU64 = AtomicU64::new(0);
    format!("test-{}", PARTITIONS.fetch_add(1, Ordering::Relaxed))
}

/// SplitMix64, to shuffle with.
struct Rng(u64);

impl Rng {
    /// 0 to 3.
    fn next_pause(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 4
    }
}
