//! What a function is wired from: its environment variables and its AWS clients.
//!
//! Each handler module has a `wire` that takes a [`Setup`]. A binary gives it the process's own; a
//! test gives it values, so that it wires the function exactly as the binary does.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};

use crate::aws::{SecretError, Settings};
use crate::{Error, MissingVariable, env_or_none};

/// A function's environment variables and its way to AWS.
#[derive(Clone, Debug)]
pub struct Setup {
    aws: Settings,
    /// In place of the process's own.
    variables: Option<BTreeMap<String, String>>,
    /// In place of those that the settings would make.
    clients: Option<(aws_sdk_dynamodb::Client, aws_sdk_sqs::Client)>,
}

impl Setup {
    /// The process's own.
    ///
    /// # Errors
    ///
    /// When a variable that Lambda sets in every function is missing.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self {
            aws: Settings::from_env()?,
            variables: None,
            clients: None,
        })
    }

    /// For tests: these variables and no others, and an AWS that answers whatever the clients ask.
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

    /// For tests: with clients of their own configuration.
    pub fn with_clients(
        mut self,
        dynamodb: aws_sdk_dynamodb::Client,
        sqs: aws_sdk_sqs::Client,
    ) -> Self {
        self.clients = Some((dynamodb, sqs));
        self
    }

    /// The value of a variable that the function cannot work without.
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

    /// For plain HTTP requests: the connector that the clients share.
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
