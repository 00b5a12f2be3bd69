//! AWS calls without an AWS SDK: boto3 in a child process, asked by name over its pipes.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::project::Project;
use crate::tools;

const BRIDGE: &str = include_str!("aws_bridge.py");

/// The region the local stack pretends to be in.
pub const LOCAL_REGION: &str = "us-east-1";

/// What the emulator takes for the account's root user.
pub const LOCAL_CREDENTIALS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
];

/// A connection to one account. Calls from several threads wait for one another.
pub struct Aws {
    bridge: Mutex<Bridge>,
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

struct Bridge {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Why AWS, or the way to it, did not do what was asked.
#[derive(Debug, Deserialize)]
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
    /// Whether AWS says this; the emulator says some of it in the message alone.
    pub fn is(&self, code: &str) -> bool {
        self.code == code || self.message.contains(code)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Value),
    Error(AwsError),
}

impl Aws {
    /// The emulator at `endpoint`.
    pub fn local(project: &Project, endpoint: &str) -> Result<Self> {
        let mut command = bridge(project);
        command.envs(local_environment(endpoint));
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        Self::start(command)
    }

    /// The account that the environment names (profile, role or variables). An environment that
    /// would lead the calls elsewhere is refused.
    pub fn account(project: &Project) -> Result<Self> {
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        leads_to_aws(names)?;
        let mut command = bridge(project);
        // Every SDK but this one reads AWS_REGION.
        if let (None, Some(region)) = (
            std::env::var_os("AWS_DEFAULT_REGION"),
            std::env::var_os("AWS_REGION"),
        ) {
            command.env("AWS_DEFAULT_REGION", region);
        }
        Self::start(command)
    }

    /// Where the calls go, as AWS itself says it.
    pub fn place(&self) -> Result<Place> {
        let identity = self
            .call("sts", "GetCallerIdentity", json!({}))
            .map_err(|error| unidentified(&error))?;
        let region = self
            .answer(&json!({"region": true}))
            .context("finding the region")?;
        located(&identity, &region)
    }

    fn start(mut command: Command) -> Result<Self> {
        // A group of its own: Ctrl-C reaches this program, whose end the bridge
        // sees as the end of its input.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the SAM CLI's Python")?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the bridge has no output")?);
        Ok(Self {
            bridge: Mutex::new(Bridge {
                child,
                requests,
                answers,
            }),
        })
    }

    /// One call, named as the API reference names it: `call("sqs", "SendMessage", ..)`.
    ///
    /// Times in the answer are RFC 3339, bodies are text.
    pub fn call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> std::result::Result<Value, AwsError> {
        self.answer(&json!({"service": service, "operation": operation, "params": params}))
    }

    fn answer(&self, request: &Value) -> std::result::Result<Value, AwsError> {
        let mut bridge = self.bridge.lock().unwrap_or_else(PoisonError::into_inner);
        match bridge.ask(request) {
            Ok(Answer::Ok(value)) => Ok(value),
            Ok(Answer::Error(error)) => Err(error),
            Err(error) => Err(AwsError {
                code: "Bridge".to_owned(),
                message: error.to_string(),
            }),
        }
    }

    /// Everything that a listing holds under `items`, through all its pages.
    pub fn list(
        &self,
        service: &str,
        operation: &str,
        items: &str,
        params: Value,
    ) -> std::result::Result<Vec<Value>, AwsError> {
        let request = json!({
            "service": service, "operation": operation, "params": params, "pages": true,
        });
        let mut answer = self.answer(&request)?;
        // A listing of nothing may leave the name out.
        match answer[items].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
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

impl Bridge {
    fn ask(&mut self, request: &Value) -> Result<Answer> {
        let requests = self.requests.as_mut().context("the bridge is closed")?;
        writeln!(requests, "{request}")
            .and_then(|()| requests.flush())
            .context("the bridge does not listen")?;
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .context("the bridge does not answer")?;
        serde_json::from_str(&line).context("the bridge ended without an answer")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// `cargo xtask env` exports such a variable: in that shell an audit of an account would read the
/// emulator, and find that everything balances.
fn leads_to_aws(names: impl Iterator<Item = String>) -> Result<()> {
    const ENDPOINT: &str = "AWS_ENDPOINT_URL";
    let leads_elsewhere = |name: &String| {
        name.strip_prefix(ENDPOINT)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let mut elsewhere: Vec<String> = names.filter(leads_elsewhere).collect();
    elsewhere.sort();
    if elsewhere.is_empty() {
        return Ok(());
    }
    let names = elsewhere.join(" ");
    Err(Error::new(format!(
        "--aws is for an AWS account, and this shell leads AWS calls elsewhere ({names} is set, \
         perhaps by cargo xtask env): use another shell with the account's credentials, or leave \
         --aws out for the local stack"
    )))
}

/// Codes of botocore and of AWS for credentials that are missing, incomplete, expired or wrong.
const UNUSABLE_CREDENTIALS: [&str; 11] = [
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "ExpiredToken",
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

fn located(identity: &Value, region: &Value) -> Result<Place> {
    let account = identity["Account"]
        .as_str()
        .context("AWS does not say which account this is")?;
    let region = region
        .as_str()
        .context("no region is set: export AWS_REGION, or set the profile's")?;
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

fn bridge(project: &Project) -> Command {
    let mut command = Command::new(tools::SAM.program(project, "python"));
    command.args(["-u", "-c", BRIDGE]).env_remove("PYTHONPATH");
    command
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
    use super::*;

    #[test]
    fn a_shell_that_leads_to_the_emulator_is_refused_for_an_account() {
        let checked = |names: &[&str]| leads_to_aws(names.iter().map(|name| (*name).to_owned()));
        assert!(checked(&["AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URLS"]).is_ok());
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"] {
            let error = checked(&["AWS_REGION", name]).expect_err("it leads elsewhere");
            let error = error.to_string();
            assert!(error.contains(&format!("{name} is set")), "{error}");
            assert!(error.contains("use another shell"), "{error}");
        }
        // What `cargo xtask env` exports is such a shell.
        let exported = local_environment("http://127.0.0.1:4566");
        assert!(leads_to_aws(exported.into_iter().map(|(name, _)| name.to_owned())).is_err());
    }

    #[test]
    fn who_has_no_credentials_is_told_how_to_give_them() {
        let told = |code: &str| {
            let (code, message) = (code.to_owned(), "no".to_owned());
            unidentified(&AwsError { code, message }).to_string()
        };
        for code in ["NoCredentialsError", "ExpiredToken", "ProfileNotFound"] {
            let told = told(code);
            let begins = format!("asking AWS which account this is: {code}: no; next: ");
            assert!(told.starts_with(&begins), "{told}");
            assert!(told.contains("AWS_PROFILE"), "{told}");
        }
        assert!(!told("EndpointConnectionError").contains("credentials"));
    }

    #[test]
    fn an_account_is_told_with_its_region_and_prefix_or_not_used() {
        let identity = json!({"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:root"});
        let place = located(&identity, &json!("eu-west-1")).expect("all is known");
        let told = place.described("shop");
        assert_eq!(told, "account 123456789012, region eu-west-1, prefix shop");
        assert!(located(&json!({}), &json!("eu-west-1")).is_err());
        let error = located(&identity, &Value::Null).expect_err("no region");
        assert!(error.to_string().contains("AWS_REGION"), "{error}");
    }
}
