//! AWS calls by the names the API reference gives them, without an SDK crate for each service.
//!
//! Five of the services take JSON as it is, and the rest need a line each, so that one signed request
//! (`aws/sign.rs`, `aws/wire.rs`) stands in for ten clients that would take minutes to compile.

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

/// The region the local stack pretends to be in.
pub const LOCAL_REGION: &str = "us-east-1";

/// What the emulator takes for the account's root user.
pub const LOCAL_CREDENTIALS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
];

const ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// What makes one more of its kind each time: a lost answer is no reason to ask again.
const ASKED_ONCE: &str = "CreateKey";
/// A function that is invoked may take its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A code of this module's own: there are no credentials, or they cannot be refreshed.
pub const NO_CREDENTIALS: &str = "NoCredentials";
/// A code of this module's own: no connection, or no answer.
const NO_ANSWER: &str = "NoAnswer";

/// Gives the credentials for a call; those of a role change by the hour.
pub type Provider = dyn Fn() -> std::result::Result<Credentials, AwsError> + Send + Sync;

/// A way to one account.
pub struct Aws {
    client: Client,
    region: String,
    /// Where every service is, in place of AWS.
    endpoint: Option<String>,
    credentials: Box<Provider>,
}

/// An account and region.
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

    /// What an operator is told before anything is done.
    pub fn described(&self, prefix: &str) -> String {
        let Self {
            account, region, ..
        } = self;
        format!("account {account}, region {region}, prefix {prefix}")
    }
}

/// Why AWS, or the way to it, did not do what was asked.
#[derive(Debug)]
pub struct AwsError {
    /// As AWS spells it, e.g. `ResourceNotFoundException`.
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

    /// Whether asking again may help.
    pub fn is_passing(&self) -> bool {
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

    /// Whether AWS says this; the emulator says some of it in the message alone.
    pub fn is(&self, code: &str) -> bool {
        self.code == code || self.message.contains(code)
    }
}

impl Aws {
    /// The emulator at `endpoint`.
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

    /// An account's region.
    pub fn account(region: &str, credentials: Box<Provider>) -> Self {
        Self {
            client: Client::with_timeout("", PATIENCE),
            region: region.to_owned(),
            endpoint: None,
            credentials,
        }
    }

    /// Where the calls go, as AWS itself says it.
    pub fn place(&self) -> Result<Place> {
        let identity = self
            .call("sts", "GetCallerIdentity", json!({}))
            .map_err(|error| unidentified(&error))?;
        located(&identity, &self.region)
    }

    /// One call, named as the API reference names it: `call("sqs", "SendMessage", ..)`.
    ///
    /// Times are as the service writes them (JSON services: seconds since 1970), binary values base64.
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
                Err(error) if attempt < attempts && error.is_passing() => {
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

    /// Everything that a listing holds under `items`, through all its pages.
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
                // A listing of nothing may leave the name out, or in XML hold no element.
                Value::Null | Value::String(_) => {}
                one => all.push(one),
            }
            match answer[next].take() {
                Value::String(token) if !token.is_empty() => params[ask] = Value::String(token),
                _ => return Ok(all),
            }
        }
    }

    /// As [`Aws::call`], with `None` where AWS says `missing`.
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

/// A time as the JSON services write it.
pub fn time(seconds: &Value) -> Option<Timestamp> {
    Timestamp::from_millisecond((seconds.as_f64()? * 1_000.0).round() as i64).ok()
}

/// Codes of AWS for credentials that are missing, incomplete, expired or wrong.
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
            "; next: give credentials of the account (export AWS_PROFILE=NAME, after aws sso login \
             where it uses that, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), then do this again"
        }
        false => "",
    };
    Error::new(format!("asking AWS which account this is: {error}{next}"))
}

fn located(identity: &Value, region: &str) -> Result<Place> {
    let account = identity["Account"]
        .as_str()
        .context("AWS does not say which account this is")?;
    let partition = identity["Arn"]
        .as_str()
        .and_then(|arn| arn.split(':').nth(1))
        .context("AWS does not say which partition this is")?;
    Ok(Place {
        partition: partition.to_owned(),
        account: account.to_owned(),
        region: region.to_owned(),
    })
}

/// What would lead a local call to somebody's real account.
pub const FOREIGN_VARIABLES: [&str; 5] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// What makes any AWS tool talk to the emulator and to nothing else.
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

    /// How often it is asked where each answer is this one, or none, and what it says then.
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
    fn what_may_pass_is_asked_again_but_no_second_key_is_made() {
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
    fn a_busy_service_is_asked_again() {
        for code in [
            "ProvisionedThroughputExceededException",
            "RequestTimeout",
            "SlowDown",
            "ThrottlingException",
        ] {
            assert!(AwsError::new(code, "later").is_passing(), "{code}");
        }
        assert!(!AwsError::new("AccessDenied", "no").is_passing());
    }

    #[test]
    fn who_has_no_credentials_is_told_how_to_give_them() {
        let told = |code: &str| {
            let (code, message) = (code.to_owned(), "no".to_owned());
            unidentified(&AwsError { code, message }).to_string()
        };
        for code in [NO_CREDENTIALS, "ExpiredToken"] {
            let told = told(code);
            let begins = format!("asking AWS which account this is: {code}: no; next: ");
            assert!(told.starts_with(&begins), "{told}");
            assert!(told.contains("AWS_PROFILE"), "{told}");
        }
        assert!(!told(NO_ANSWER).contains("credentials"));
    }

    #[test]
    fn an_account_is_told_with_its_region_and_prefix_or_not_used() {
        let identity = json!({"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:root"});
        let place = located(&identity, "eu-west-1").expect("all is known");
        let told = place.described("shop");
        assert_eq!(told, "account 123456789012, region eu-west-1, prefix shop");
        assert!(located(&json!({}), "eu-west-1").is_err());
    }
}
