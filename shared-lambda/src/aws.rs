//! AWS clients built only from Lambda's environment variables.
//!
//! The SDK's default credential chain reads files. Its default HTTP client loads the system's root
//! certificates one by one and gathers CPU-jitter entropy. Both take most of a cold start. Here,
//! credentials and region come from the environment, and TLS is rustls with ring. The trusted roots
//! are Amazon's own (<https://www.amazontrust.com/repository/>), compiled in.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::Instant;

use crate::{Error, env, env_or_none};

const AMAZON_ROOTS: &[u8] = include_bytes!("../roots/amazon.pem");

/// Tries per call. DynamoDB and SQS ask clients to retry throttled calls; the SDK waits with jitter.
const ATTEMPTS: u32 = 4;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that a call takes, all attempts together.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// Limits for reading a secret: Lambda gives a function ten seconds to start.
const SECRET_ATTEMPTS: u32 = 8;
const SECRET_PATIENCE: Duration = Duration::from_secs(6);
const SECRET_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait before the second attempt. It doubles up to `LONGEST_SECRET_WAIT`.
const FIRST_SECRET_WAIT: Duration = Duration::from_millis(100);
const LONGEST_SECRET_WAIT: Duration = Duration::from_secs(2);

/// Region, credentials and, for a local stack, the endpoint that replaces AWS. All clients share
/// one connector, so that the roots are parsed once.
#[derive(Clone, Debug)]
pub struct Settings {
    region: String,
    endpoint: Option<String>,
    credentials: Credentials,
    connector: SharedHttpConnector,
}

impl Settings {
    /// Reads `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and the optional
    /// `AWS_SESSION_TOKEN` and `AWS_ENDPOINT_URL` (local stacks only).
    pub fn from_env() -> Result<Self, Error> {
        let credentials = Credentials::new(
            env("AWS_ACCESS_KEY_ID")?,
            env("AWS_SECRET_ACCESS_KEY")?,
            env_or_none("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let endpoint = env_or_none("AWS_ENDPOINT_URL");
        let region = env("AWS_REGION")?;
        Ok(Self::new(region, endpoint, credentials, connector()))
    }

    /// Settings with the given values.
    pub fn new(
        region: String,
        endpoint: Option<String>,
        credentials: Credentials,
        connector: SharedHttpConnector,
    ) -> Self {
        Self {
            region,
            endpoint,
            credentials,
            connector,
        }
    }

    /// The connector of these clients, for plain HTTP requests.
    pub fn connector(&self) -> SharedHttpConnector {
        self.connector.clone()
    }

    /// A client of DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
            .http_client(self.http_client())
            .retry_config(retries())
            .timeout_config(timeouts());
        config.set_endpoint_url(self.endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of SQS.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
            .http_client(self.http_client())
            .retry_config(retries())
            .timeout_config(timeouts());
        config.set_endpoint_url(self.endpoint.clone());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// The decrypted value of an SSM `SecureString` parameter.
    ///
    /// This is one signed call (`GetParameter`, SSM API reference) instead of a whole SDK crate. It
    /// runs once per cold start, only in functions that issue tokens.
    ///
    /// Instances that start together share the parameter store's 40 reads a second. Random waits
    /// from zero to a bound ("full jitter") spread their retries.
    pub async fn secret_parameter(&self, name: &str) -> Result<String, SecretError> {
        let deadline = Instant::now() + SECRET_PATIENCE;
        let mut bound = FIRST_SECRET_WAIT;
        let mut attempt = 1;
        loop {
            let until = deadline.min(Instant::now() + SECRET_ATTEMPT_TIMEOUT);
            let answer = tokio::time::timeout_at(until, self.get_parameter(name))
                .await
                .unwrap_or_else(|_| Err("the parameter store did not answer in time".into()));
            let failure: Error = match answer {
                Ok((200, body)) => {
                    let answer: Result<Answer, _> = serde_json::from_slice(&body);
                    return answer
                        .map(|answer| answer.parameter.value)
                        .map_err(|error| SecretError::new(name, error));
                }
                Ok((status, body)) => {
                    let Refusal { kind } = serde_json::from_slice(&body).unwrap_or_default();
                    let refusal = format!("the parameter store answered {status} {kind}");
                    if status < 500 && !kind.contains("Throttling") {
                        return Err(SecretError::new(name, refusal));
                    }
                    refusal.into()
                }
                Err(error) => error,
            };
            let next = Instant::now() + bound.mul_f64(fastrand::f64());
            if attempt == SECRET_ATTEMPTS || next >= deadline {
                return Err(SecretError::new(name, failure));
            }
            tokio::time::sleep_until(next).await;
            bound = LONGEST_SECRET_WAIT.min(bound * 2);
            attempt += 1;
        }
    }

    async fn get_parameter(&self, name: &str) -> Result<(u16, Bytes), Error> {
        use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
        use aws_sigv4::sign::v4::SigningParams;

        let endpoint = self
            .endpoint
            .clone()
            .unwrap_or_else(|| format!("https://ssm.{}.{}", self.region, domain(&self.region)));
        let body = serde_json::json!({"Name": name, "WithDecryption": true}).to_string();
        let target = "AmazonSSM.GetParameter";
        let content_type = "application/x-amz-json-1.1";
        let mut request = ::http::Request::post(format!("{}/", endpoint.trim_end_matches('/')))
            .header("content-type", content_type)
            .header("x-amz-target", target)
            .body(SdkBody::from(body.clone()))?;

        let identity = self.credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ssm")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let uri = request.uri().to_string();
        let headers = [("content-type", content_type), ("x-amz-target", target)];
        let signable = SignableRequest::new(
            "POST",
            &uri,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);

        let response = self.connector.call(request.try_into()?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    }

    /// Ignores the SDK's connect timeouts: the attempt timeout covers them.
    fn http_client(&self) -> SharedHttpClient {
        let connector = self.connector();
        http_client_fn(move |_, _| connector.clone())
    }
}

/// The domain of a region's partition. SDK clients know it already.
fn domain(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "amazonaws.com.cn",
        Some(("eusc", _)) => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// A secret that cannot be read. A function that needs it does not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "the secret parameter {name} cannot be read; check that it exists and that the function's role may ssm:GetParameter it"
)]
pub struct SecretError {
    name: String,
    source: Error,
}

impl SecretError {
    fn new(name: &str, source: impl Into<Error>) -> Self {
        Self {
            name: name.to_owned(),
            source: source.into(),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Parameter")]
    parameter: Parameter,
}

#[derive(Deserialize)]
struct Parameter {
    #[serde(rename = "Value")]
    value: String,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
}

/// An HTTP connector that trusts Amazon's roots.
pub fn connector() -> SharedHttpConnector {
    SharedHttpConnector::new(
        Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls())
            .build(),
    )
}

fn tls() -> TlsContext {
    TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(AMAZON_ROOTS))
        .build()
        .expect("a trust store alone always makes a TLS context")
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}
