//! Calls to a service that answers, refuses, hangs or is unreachable.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use jiff::SignedDuration;
use shared_lambda::Context;
use shared_lambda::rest::{Answer, Cache, Client, Policy, Unreachable};
use shared_lambda::telemetry::chain;
use tokio::time::Instant;
use uuid::Uuid;

use crate::context;

#[derive(Clone, Debug)]
enum Step {
    Answers(u16, String),
    Breaks,
    Hangs,
}

/// A service that follows its steps, one per request, and then answers 200.
#[derive(Clone, Debug, Default)]
struct Service {
    steps: Arc<Mutex<VecDeque<Step>>>,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl HttpConnector for Service {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name| request.headers().get(name).unwrap_or_default();
        self.asked.lock().unwrap().push(
            [
                request.method(),
                request.uri(),
                header("accept"),
                header("authorization"),
                header("traceparent"),
            ]
            .map(str::to_owned)
            .to_vec(),
        );
        let step = self.steps.lock().unwrap().pop_front();
        let answer = |status: u16, body: String| {
            HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
        };
        match step {
            Some(Step::Answers(status, body)) => {
                HttpConnectorFuture::ready(Ok(answer(status, body)))
            }
            Some(Step::Breaks) => {
                HttpConnectorFuture::ready(Err(ConnectorError::io("connection refused".into())))
            }
            Some(Step::Hangs) => HttpConnectorFuture::new(std::future::pending()),
            None => HttpConnectorFuture::ready(Ok(answer(200, "{}".to_owned()))),
        }
    }
}

impl Service {
    fn with(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: Arc::new(Mutex::new(steps.into_iter().collect())),
            asked: Arc::default(),
        }
    }

    fn client(&self, policy: Policy) -> Client {
        Client::new(
            "https://users.example/",
            SharedHttpConnector::new(self.clone()),
            policy,
        )
    }

    fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn answers(status: u16) -> Step {
    Step::Answers(status, String::new())
}

async fn ask(client: &Client) -> Result<Answer, Unreachable> {
    ask_at(client, 0).await
}

async fn ask_at(client: &Client, seconds: i64) -> Result<Answer, Unreachable> {
    let mut context = context();
    context.now += SignedDuration::from_secs(seconds);
    client.get("/api/v1/users/me", "token", &context).await
}

#[tokio::test(start_paused = true)]
async fn a_call_carries_the_callers_token_and_the_trace() {
    let service = Service::with([Step::Answers(200, r#"{"id": 1}"#.to_owned())]);
    let answer = ask(&service.client(Policy::default())).await.unwrap();
    let expected = Answer {
        status: 200,
        body: Bytes::from_static(br#"{"id": 1}"#),
    };
    assert_eq!(answer, expected);
    let expected = vec![
        "GET".to_owned(),
        "https://users.example/api/v1/users/me".to_owned(),
        "application/json".to_owned(),
        "Bearer token".to_owned(),
        context().traceparent,
    ];
    assert_eq!(*service.asked.lock().unwrap(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_and_is_not_retried() {
    for status in [400, 401, 403, 404, 409, 422] {
        let service = Service::with([answers(status)]);
        let answer = ask(&service.client(Policy::default())).await.unwrap();
        assert_eq!((answer.status, service.times_asked()), (status, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_are_retried() {
    for step in [
        answers(429),
        answers(500),
        answers(503),
        Step::Breaks,
        Step::Hangs,
    ] {
        let service = Service::with([step.clone()]);
        let answer = ask(&service.client(Policy::default())).await.unwrap();
        assert_eq!((answer.status, service.times_asked()), (200, 2), "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_failed_try_gives_the_reason() {
    let cases = [
        (answers(503), "the answer was 503"),
        (Step::Breaks, "connection refused"),
        (Step::Hangs, "no answer within 1s"),
    ];
    for (step, reason) in cases {
        let service = Service::with([step.clone(), step]);
        let error = ask(&service.client(Policy::default())).await.unwrap_err();
        let text = chain(&error);
        assert!(
            text.starts_with("no usable answer after 2 tries: ") && text.ends_with(reason),
            "{text}"
        );
        assert_eq!(service.times_asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_is_a_failure() {
    let long = Step::Answers(200, "x".repeat(256 * 1024 + 1));
    let service = Service::with([long.clone(), long]);
    let error = ask(&service.client(Policy::default())).await.unwrap_err();
    assert!(chain(&error).ends_with("length limit exceeded"));
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_is_two_tries_and_one_backoff() {
    for fresh_id in [Uuid::nil(), Uuid::max(), Uuid::from_u128(0x1234_5678)] {
        let service = Service::with([Step::Hangs, Step::Hangs]);
        let context = Context {
            fresh_id,
            ..context()
        };
        let start = Instant::now();
        let client = service.client(Policy::default());
        client.get("/", "token", &context).await.unwrap_err();
        let took = start.elapsed();
        let bounds = Duration::from_millis(2000)..=Duration::from_millis(2202);
        assert!(bounds.contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_are_random_up_to_a_doubling_bound() {
    let policy = Policy {
        attempts: 4,
        backoff: Duration::from_millis(100),
        ..Policy::default()
    };
    let wait = async |fresh_id| {
        let service = Service::with([Step::Breaks, Step::Breaks, Step::Breaks]);
        let context = Context {
            fresh_id,
            ..context()
        };
        let start = Instant::now();
        let client = service.client(policy);
        client.get("/", "token", &context).await.unwrap();
        start.elapsed().as_millis()
    };
    assert_eq!(wait(Uuid::nil()).await, 0);
    assert_eq!(wait(Uuid::max()).await, 100 + 200 + 400);
    let between = wait(Uuid::from_u128(0x5a5a_5a5a)).await;
    assert!((1..700).contains(&between), "{between}");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_after_five_failed_calls_in_a_row() {
    let service = Service::with(std::iter::repeat_n(Step::Breaks, 10));
    let client = service.client(Policy::default());
    for _ in 0..5 {
        let error = ask(&client).await.unwrap_err();
        assert!(matches!(error, Unreachable::NoAnswer { attempts: 2, .. }));
    }
    assert_eq!(service.times_asked(), 10);
    let error = ask(&client).await.unwrap_err();
    assert!(matches!(error, Unreachable::BreakerOpen));
    assert!(matches!(
        ask_at(&client, 9).await,
        Err(Unreachable::BreakerOpen)
    ));
    assert_eq!(service.times_asked(), 10, "an open breaker makes no call");
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_pause_closes_the_breaker() {
    let service = Service::with(std::iter::repeat_n(Step::Breaks, 10));
    let client = service.client(Policy::default());
    for _ in 0..5 {
        ask(&client).await.unwrap_err();
    }
    assert_eq!(ask_at(&client, 10).await.unwrap().status, 200);
    assert_eq!(ask_at(&client, 10).await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_failed_try_keeps_the_breaker_open_for_another_pause() {
    let service = Service::with(std::iter::repeat_n(Step::Breaks, 12));
    let client = service.client(Policy::default());
    for _ in 0..5 {
        ask(&client).await.unwrap_err();
    }
    let error = ask_at(&client, 10).await.unwrap_err();
    assert!(matches!(error, Unreachable::NoAnswer { .. }));
    let error = ask_at(&client, 19).await.unwrap_err();
    assert!(matches!(error, Unreachable::BreakerOpen));
    assert_eq!(ask_at(&client, 20).await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_breaker_allows_one_call() {
    let service = Service::with(std::iter::repeat_n(Step::Breaks, 10).chain([Step::Hangs]));
    let client = service.client(Policy::default());
    for _ in 0..5 {
        ask(&client).await.unwrap_err();
    }
    let (first, second) = tokio::join!(ask_at(&client, 10), ask_at(&client, 10));
    assert_eq!(first.unwrap().status, 200);
    assert!(matches!(second, Err(Unreachable::BreakerOpen)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_resets_the_count_of_failures() {
    let four_failures = || std::iter::repeat_n(Step::Breaks, 8);
    let steps = four_failures().chain([answers(404)]).chain(four_failures());
    let service = Service::with(steps);
    let client = service.client(Policy::default());
    for _ in 0..4 {
        ask(&client).await.unwrap_err();
    }
    ask(&client).await.unwrap();
    for _ in 0..4 {
        ask(&client).await.unwrap_err();
    }
    assert_eq!(ask(&client).await.unwrap().status, 200);
}

fn cache() -> Cache<&'static str, u32> {
    Cache::new(SignedDuration::from_secs(30), 2)
}

fn at(seconds: i64) -> jiff::Timestamp {
    crate::now() + SignedDuration::from_secs(seconds)
}

#[test]
fn a_cached_answer_lasts_until_its_lifetime_ends() {
    let cache = cache();
    assert_eq!(cache.get(&"a", at(0)), None);
    cache.put("a", 1, at(0));
    assert_eq!(cache.get(&"a", at(29)), Some(1));
    assert_eq!(cache.get(&"a", at(30)), None);
    cache.put("a", 2, at(30));
    assert_eq!(cache.get(&"a", at(31)), Some(2));
}

#[test]
fn a_full_cache_accepts_new_answers_after_an_expiry() {
    let cache = cache();
    cache.put("a", 1, at(0));
    cache.put("b", 2, at(10));
    cache.put("c", 3, at(20));
    assert_eq!(cache.get(&"c", at(20)), None);
    cache.put("c", 3, at(30));
    assert_eq!(cache.get(&"a", at(30)), None);
    assert_eq!(cache.get(&"b", at(30)), Some(2));
    assert_eq!(cache.get(&"c", at(30)), Some(3));
}

#[test]
fn a_full_cache_replaces_answers_that_it_holds() {
    let cache = cache();
    cache.put("a", 1, at(0));
    cache.put("b", 2, at(0));
    cache.put("a", 9, at(1));
    assert_eq!(cache.get(&"a", at(1)), Some(9));
}
