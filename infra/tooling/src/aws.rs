//! Calls AWS operations by the names in the API reference, without an SDK crate for each service.
//!
//! Five services take JSON as it is, and each of the others needs a line. One signed request
//! (`aws/sign.rs`, `aws/wire.rs`) replaces ten clients that take minutes to compile.

mod sign;
mod wire;

use std::fmt;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::http::Client;
pub use sign::Credentials;

/// The region of the local stack.
pub const LOCAL_REGION: &str = "us-east-1";

/// The emulator treats these as the root user's.
pub const LOCAL_CREDENTIALS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
];

const ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Never retried: a repeat after a lost answer would create a second key.
const ASKED_ONCE: &str = "CreateKey";
/// An invoked function may run this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// This module's own code: no credentials, or they cannot be refreshed.
pub const NO_CREDENTIALS: &str = "NoCredentials";
/// This module's own code: no connection or no answer.
const NO_ANSWER: &str = "NoAnswer";

/// Returns the credentials for a call. A role's credentials expire.
pub type Provider = dyn Fn() -> std::result::Result<Credentials, AwsError> + Send + Sync;

/// A connection to one account.
pub struct Aws {
    client: Client,
    region: String,
    /// The endpoint of every service, instead of AWS.
    endpoint: Option<String>,
    credentials: Box<Provider>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub partition: String,
    pub account: String,
    pub region: String,
}

impl Place {
    /// The ARN of a resource of this account.
    pub fn arn(&self, service: &str, region: &str, resource: &str) -> String {
        let Self {
            partition, account, ..
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }

    /// The line that is printed before a command changes anything.
    pub fn described(&self, prefix: &str) -> String {
        let Self {
            account, region, ..
        } = self;
        format!("account {account}, region {region}, prefix {prefix}")
    }
}

/// An error of AWS or of the connection.
#[derive(Debug)]
pub struct AwsError {
    /// As AWS spells it, for example `ResourceNotFoundException`.
    pub code: String,
    pub message: String,
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for AwsError {}

impl AwsError {
    pub fn new(code: &str, message: impl fmt::Display) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_string(),
        }
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        [
            NO_ANSWER,
            "Throttl",
            "TooManyRequests",
            "Internal",
            "ServiceUnavailable",
            "RequestLimitExceeded",
            "RequestTimeout",
            "ProvisionedThroughputExceeded",
            "SlowDown",
        ]
        .iter()
        .any(|code| self.code.contains(code))
    }

    /// Checks the code. The emulator returns some codes in the message only.
    pub fn is(&self, code: &str) -> bool {
        self.code == code || self.message.contains(code)
    }
}

impl Aws {
    /// Connects to the emulator at `endpoint`.
    pub fn local(endpoint: &str) -> Self {
        let [(_, id), (_, secret)] = LOCAL_CREDENTIALS;
        Self {
            endpoint: Some(endpoint.to_owned()),
            ..Self::account(
                LOCAL_REGION,
                Box::new(|| Ok(Credentials::new(id, secret, None))),
            )
        }
    }

    /// Connects with the keys in the environment, which a pipeline's runner has.
    pub fn environment(region: &str) -> Self {
        let read = |name: &str| {
            std::env::var(name)
                .map_err(|_| AwsError::new(NO_CREDENTIALS, format!("{name} is not set")))
        };
        let keys = move || {
            let (id, secret) = (read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?);
            let token = std::env::var("AWS_SESSION_TOKEN").ok();
            Ok(Credentials::new(&id, &secret, token.as_deref()))
        };
        Self::account(region, Box::new(keys))
    }

    /// Connects to a region of an account.
    pub fn account(region: &str, credentials: Box<Provider>) -> Self {
        Self {
            client: Client::with_timeout("", PATIENCE),
            region: region.to_owned(),
            endpoint: None,
            credentials,
        }
    }

    /// The account and region, as AWS reports them.
    pub fn place(&self) -> Result<Place> {
        let identity = self
            .call("sts", "GetCallerIdentity", json!({}))
            .map_err(|error| unidentified(&error))?;
        located(&identity, &self.region)
    }

    /// Calls an operation by its name in the API reference: `call("sqs", "SendMessage", ..)`.
    ///
    /// Times have the service's own format (JSON services: seconds since 1970); binary values are
    /// base64.
    pub fn call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> std::result::Result<Value, AwsError> {
        let request = wire::request(service, operation, &params)?;
        let attempts = match operation {
            ASKED_ONCE => 1,
            _ => ATTEMPTS,
        };
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            match self.send(&request) {
                Err(error) if attempt < attempts && error.is_transient() => {
                    thread::sleep(wait);
                    wait *= 2;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn send(&self, request: &wire::Request) -> std::result::Result<Value, AwsError> {
        let service = request.service;
        let endpoint = self.endpoint.clone().unwrap_or_else(|| {
            let region = &self.region;
            format!("https://{service}.{region}.{}", wire::domain(region))
        });
        let credentials = (self.credentials)()?;
        let headers = sign::headers(request, &endpoint, &self.region, &credentials);
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = self
            .client
            .send(
                request.method,
                &format!("{endpoint}{}", request.target()),
                None,
                &headers,
                Some(request.body.as_bytes()),
            )
            .map_err(|error| AwsError::new(NO_ANSWER, error))?;
        wire::answer(request, &answer)
    }

    /// Returns all `items` of a listing, from all pages.
    pub fn list(
        &self,
        service: &str,
        operation: &str,
        items: &str,
        mut params: Value,
    ) -> std::result::Result<Vec<Value>, AwsError> {
        let (ask, next) = wire::page_tokens(service);
        let mut all = Vec::new();
        loop {
            let mut answer = self.call(service, operation, params.clone())?;
            match answer[items].take() {
                Value::Array(items) => all.extend(items),
                // An empty listing may omit the name or, in XML, hold no element.
                Value::Null | Value::String(_) => {}
                one => all.push(one),
            }
            match answer[next].take() {
                Value::String(token) if !token.is_empty() => params[ask] = Value::String(token),
                _ => return Ok(all),
            }
        }
    }

    /// Like [`Aws::call`], but `None` for the error code `missing`.
    pub fn find(
        &self,
        service: &str,
        operation: &str,
        params: Value,
        missing: &str,
    ) -> std::result::Result<Option<Value>, AwsError> {
        match self.call(service, operation, params) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is(missing) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Parses a time of the JSON services.
pub fn time(seconds: &Value) -> Option<Timestamp> {
    Timestamp::from_millisecond((seconds.as_f64()? * 1_000.0).round() as i64).ok()
}

/// The codes for missing, incomplete, expired and wrong credentials.
const UNUSABLE_CREDENTIALS: [&str; 6] = [
    NO_CREDENTIALS,
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

fn unidentified(error: &AwsError) -> Error {
    let next = match UNUSABLE_CREDENTIALS.contains(&&*error.code) {
        true => {
            "; next: set the account's credentials (export AWS_PROFILE=NAME, after aws sso login \
             if it uses SSO, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), then run this again"
        }
        false => "",
    };
    Error::new(format!("asking AWS which account this is: {error}{next}"))
}

fn located(identity: &Value, region: &str) -> Result<Place> {
    let account = identity["Account"]
        .as_str()
        .context("AWS returned no account")?;
    let partition = identity["Arn"]
        .as_str()
        .and_then(|arn| arn.split(':').nth(1))
        .context("AWS returned no partition")?;
    Ok(Place {
        partition: partition.to_owned(),
        account: account.to_owned(),
        region: region.to_owned(),
    })
}

/// Variables that could redirect a local call to a real account.
pub const REDIRECTING_VARIABLES: [&str; 5] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// Variables that make any AWS tool use the emulator only.
pub fn local_environment(endpoint: &str) -> Vec<(&'static str, String)> {
    let mut variables: Vec<_> = LOCAL_CREDENTIALS
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    variables.extend([
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_REGION", LOCAL_REGION.to_owned()),
        ("AWS_DEFAULT_REGION", LOCAL_REGION.to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]);
    variables
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The number of attempts if every attempt gets this answer, and the last error.
    fn asked(service: &str, operation: &str, answer: &'static str) -> (usize, AwsError) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut request = BufReader::new(connection.expect("a connection"));
                let (mut line, mut length) = (String::new(), 0);
                while request.read_line(&mut line).expect("a line") > 2 {
                    let header = line.to_ascii_lowercase();
                    if let Some(text) = header.strip_prefix("content-length:") {
                        length = text.trim().parse().expect("a number");
                    }
                    line.clear();
                }
                request.read_exact(&mut vec![0; length]).expect("a body");
                counted.fetch_add(1, Ordering::SeqCst);
                let answered = request.get_mut().write_all(answer.as_bytes());
                answered.expect("it is sent");
            }
        });
        let error = Aws::local(&endpoint)
            .call(service, operation, json!({}))
            .expect_err("it is never answered");
        (count.load(Ordering::SeqCst), error)
    }

    #[test]
    fn transient_errors_are_retried_except_create_key() {
        const PROXY: &str = "HTTP/1.1 503 Busy\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\
                             Connection: close\r\n\r\n<html><p>Busy";
        for (operation, attempts) in [("DescribeKey", 3), ("CreateKey", 1)] {
            let (count, error) = asked("kms", operation, "");
            assert_eq!((count, &*error.code), (attempts, NO_ANSWER), "{error}");
        }
        let (count, error) = asked("sts", "GetCallerIdentity", PROXY);
        assert_eq!((count, &*error.code), (3, "Internal503"), "{error}");
    }

    #[test]
    fn throttling_is_transient() {
        for code in [
            "ProvisionedThroughputExceededException",
            "RequestTimeout",
            "SlowDown",
            "ThrottlingException",
        ] {
            assert!(AwsError::new(code, "later").is_transient(), "{code}");
        }
        assert!(!AwsError::new("AccessDenied", "no").is_transient());
    }

    #[test]
    fn missing_credentials_name_the_next_step() {
        let output = |code: &str| {
            let (code, message) = (code.to_owned(), "no".to_owned());
            unidentified(&AwsError { code, message }).to_string()
        };
        for code in [NO_CREDENTIALS, "ExpiredToken"] {
            let output = output(code);
            let begins = format!("asking AWS which account this is: {code}: no; next: ");
            assert!(output.starts_with(&begins), "{output}");
            assert!(output.contains("AWS_PROFILE"), "{output}");
        }
        assert!(!output(NO_ANSWER).contains("credentials"));
    }

    #[test]
    fn the_account_is_described_with_region_and_prefix() {
        let identity = json!({"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:root"});
        let place = located(&identity, "eu-west-1").expect("all is known");
        let output = place.described("shop");
        assert_eq!(
            output,
            "account 123456789012, region eu-west-1, prefix shop"
        );
        assert!(located(&json!({}), "eu-west-1").is_err());
    }
}
