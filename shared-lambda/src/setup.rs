//! The inputs of a function's wiring: environment variables and AWS clients.
//!
//! Each handler module has a `wire` that takes a [`Setup`]. A binary passes the process's setup; a
//! test passes its own values. Both wire the function in the same way.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};

use crate::aws::{SecretError, Settings};
use crate::{Error, MissingVariable, env_or_none};

/// A function's environment variables and AWS clients.
#[derive(Clone, Debug)]
pub struct Setup {
    aws: Settings,
    /// Replace the process's variables.
    variables: Option<BTreeMap<String, String>>,
    /// Replace the clients of the settings.
    clients: Option<(aws_sdk_dynamodb::Client, aws_sdk_sqs::Client)>,
}

impl Setup {
    /// The process's setup.
    ///
    /// # Errors
    ///
    /// When one of Lambda's own variables is missing.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self {
            aws: Settings::from_env()?,
            variables: None,
            clients: None,
        })
    }

    /// For tests: only these variables, and a stand-in for AWS.
    pub fn for_tests(aws: impl HttpConnector + 'static, variables: &[(&str, &str)]) -> Self {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let connector = SharedHttpConnector::new(aws);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            aws: Settings::new("us-east-1".to_owned(), None, credentials, connector),
            variables: Some(variables.iter().map(owned).collect()),
            clients: None,
        }
    }

    /// For tests: replaces the clients.
    pub fn with_clients(
        mut self,
        dynamodb: aws_sdk_dynamodb::Client,
        sqs: aws_sdk_sqs::Client,
    ) -> Self {
        self.clients = Some((dynamodb, sqs));
        self
    }

    /// The value of a required variable.
    ///
    /// # Errors
    ///
    /// When it is missing or empty.
    pub fn env(&self, name: &'static str) -> Result<String, MissingVariable> {
        self.env_or_none(name).ok_or(MissingVariable(name))
    }

    /// The value of a variable; an empty one counts as missing.
    pub fn env_or_none(&self, name: &'static str) -> Option<String> {
        match &self.variables {
            None => env_or_none(name),
            Some(variables) => variables
                .get(name)
                .filter(|value| !value.is_empty())
                .cloned(),
        }
    }

    /// A client of DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        match &self.clients {
            None => self.aws.dynamodb(),
            Some((dynamodb, _)) => dynamodb.clone(),
        }
    }

    /// A client of SQS.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        match &self.clients {
            None => self.aws.sqs(),
            Some((_, sqs)) => sqs.clone(),
        }
    }

    /// The clients' connector, for plain HTTP requests.
    pub fn connector(&self) -> SharedHttpConnector {
        self.aws.connector()
    }

    /// The decrypted value of an SSM `SecureString` parameter.
    ///
    /// # Errors
    ///
    /// When the parameter cannot be read; the error names it.
    pub async fn secret_parameter(&self, name: &str) -> Result<String, SecretError> {
        self.aws.secret_parameter(name).await
    }
}
