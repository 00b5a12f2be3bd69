//! A function's AWS clients, and its secret.

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::json;
use shared_lambda::aws::Settings;
use shared_lambda::telemetry::chain;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use test_support::{Aws, Fault};
use tokio::time::Instant;

/// Forwards requests and records each one's address and authorization.
#[derive(Clone, Debug)]
struct Tap {
    aws: Aws,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl HttpConnector for Tap {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let authorization = request.headers().get("authorization").unwrap_or_default();
        let seen = (request.uri().to_owned(), authorization.to_owned());
        self.seen.lock().unwrap().push(seen);
        HttpConnector::call(&self.aws, request)
    }
}

fn settings(endpoint: Option<&str>) -> (Settings, Tap) {
    settings_in("eu-central-1", endpoint)
}

fn settings_in(region: &str, endpoint: Option<&str>) -> (Settings, Tap) {
    let tap = Tap {
        aws: Aws::new(),
        seen: Arc::default(),
    };
    let settings = Settings::new(
        region.to_owned(),
        endpoint.map(str::to_owned),
        Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            Some("session".into()),
            None,
            "test",
        ),
        SharedHttpConnector::new(tap.clone()),
    );
    (settings, tap)
}

async fn call_each_service(settings: &Settings) {
    settings.dynamodb().list_tables().send().await.ok();
    let send = settings.sqs().send_message().message_body("{}");
    send.queue_url("https://sqs.eu-central-1.amazonaws.com/123456789012/q")
        .send()
        .await
        .unwrap();
    settings.secret_parameter("/key").await.ok();
}

fn hosts(tap: &Tap) -> Vec<String> {
    let seen = tap.seen.lock().unwrap();
    seen.iter()
        .map(|(uri, _)| uri.trim_end_matches('/').to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn without_an_endpoint_each_service_is_called_in_the_region() {
    let (settings, tap) = settings(None);
    call_each_service(&settings).await;
    assert_eq!(
        hosts(&tap),
        [
            "https://dynamodb.eu-central-1.amazonaws.com",
            "https://sqs.eu-central-1.amazonaws.com",
            "https://ssm.eu-central-1.amazonaws.com",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn every_partition_has_its_parameter_store() {
    for (region, domain) in [
        ("us-gov-west-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("eusc-de-east-1", "amazonaws.eu"),
    ] {
        let (settings, tap) = settings_in(region, None);
        settings.dynamodb().list_tables().send().await.ok();
        settings.secret_parameter("/key").await.ok();
        let host = |service| format!("https://{service}.{region}.{domain}");
        assert_eq!(hosts(&tap), [host("dynamodb"), host("ssm")]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_replaces_every_service() {
    for endpoint in ["http://127.0.0.1:4566", "http://127.0.0.1:4566/"] {
        let (settings, tap) = settings(Some(endpoint));
        call_each_service(&settings).await;
        assert_eq!(hosts(&tap), ["http://127.0.0.1:4566"; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_read_by_name_with_a_signed_request() {
    let (settings, tap) = settings(None);
    tap.aws
        .set_parameter("/waybill/auth/signing-key", "hunter2");
    let secret = settings.secret_parameter("/waybill/auth/signing-key").await;
    assert_eq!(secret.unwrap(), "hunter2");
    let calls = tap.aws.calls();
    let [call] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(call.name(), "ssm:GetParameter");
    assert_eq!(
        *call.request,
        json!({"Name": "/waybill/auth/signing-key", "WithDecryption": true})
    );
    let (_, authorization) = &tap.seen.lock().unwrap()[0];
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
            && authorization.contains("/eu-central-1/ssm/aws4_request")
            && authorization.contains("x-amz-security-token"),
        "{authorization}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_requested_once_and_named() {
    let (settings, tap) = settings(None);
    let error = settings.secret_parameter("/absent").await.unwrap_err();
    assert_eq!(
        chain(&error),
        "the secret parameter /absent cannot be read; check that it exists and that the function's role may ssm:GetParameter it: the parameter store answered 400 ParameterNotFound"
    );
    assert_eq!(tap.aws.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_or_unreachable_parameter_store_is_retried() {
    // With this seed, no wait is very long.
    fastrand::seed(1);
    let (settings, tap) = settings(None);
    tap.aws.set_parameter("/key", "hunter2");
    for _ in 0..6 {
        tap.aws.fault_on("ssm:GetParameter", Fault::Throttle);
    }
    tap.aws.fault_on("ssm:GetParameter", Fault::BeforeEffect);
    let start = Instant::now();
    let secret = settings.secret_parameter("/key").await.unwrap();
    assert_eq!((secret.as_str(), tap.aws.calls().len()), ("hunter2", 8));
    assert!(start.elapsed() <= Duration::from_secs(6));
}

/// The times of the calls to a busy parameter store, from the first one.
async fn asked_at(seed: u64) -> Vec<Duration> {
    fastrand::seed(seed);
    let (settings, tap) = settings(None);
    let start = Instant::now();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tap.aws.on_call(move |_| {
        noted.lock().unwrap().push(start.elapsed());
        std::future::ready(Some(Fault::Throttle))
    });
    let error = chain(&settings.secret_parameter("/key").await.unwrap_err());
    assert!(
        error.contains("answered 400") && error.ends_with("ThrottlingException"),
        "{error}"
    );
    let asked = asked.lock().unwrap();
    asked.clone()
}

#[tokio::test(start_paused = true)]
async fn a_busy_parameter_store_is_retried_with_jitter() {
    let mut second = Vec::new();
    for seed in 0..200 {
        let asked = asked_at(seed).await;
        assert!((5..=8).contains(&asked.len()), "{asked:?}");
        assert!(asked.last() < Some(&Duration::from_secs(6)), "{asked:?}");
        let bounds = [100, 200, 400, 800, 1600, 2000, 2000];
        for (pair, bound) in asked.windows(2).zip(bounds) {
            // The clock of these tests ticks in milliseconds.
            let wait = pair[1] - pair[0];
            assert!(wait <= Duration::from_millis(bound + 1), "{asked:?}");
        }
        second.push(asked[1].as_millis() / 10);
    }
    second.sort_unstable();
    second.dedup();
    assert!(second.len() > 8, "{second:?}");
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl HttpConnector for Silent {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_has_a_timeout() {
    let settings = Settings::new(
        "eu-central-1".to_owned(),
        None,
        Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"),
        SharedHttpConnector::new(Silent),
    );
    let start = Instant::now();
    settings.dynamodb().list_tables().send().await.unwrap_err();
    assert!(
        start.elapsed() <= Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    let start = Instant::now();
    let error = settings.secret_parameter("/key").await.unwrap_err();
    assert!(chain(&error).ends_with("did not answer in time"));
    assert!(
        start.elapsed() <= Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn settings_never_show_their_secrets() {
    let (settings, _) = settings(None);
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("\"secret\"") && !shown.contains("session\""),
        "{shown}"
    );
}
