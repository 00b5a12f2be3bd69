//! Production's SDK clients on the in-process AWS.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeId, AuthSchemeOption, AuthSchemeOptionsFuture,
};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use test_support::Aws;

/// Production's clients, with its timeouts and retries. Each world has its own retry budget, and
/// requests are not signed: signing would be a tenth of the work.
pub fn clients(aws: &Aws) -> (aws_sdk_dynamodb::Client, aws_sdk_sqs::Client) {
    static WORLDS: AtomicU64 = AtomicU64::new(0);
    let world = WORLDS.fetch_add(1, Ordering::Relaxed);
    let settings = shared_lambda::aws::Settings::new(
        "us-east-1".to_owned(),
        None,
        Credentials::new("simulation", "simulation", None, None, "simulation"),
        SharedHttpConnector::new(aws.clone()),
    );
    let partition = |service: &str| RetryPartition::new(format!("{service}-{world}"));
    let config = settings.dynamodb().config().to_builder();
    let config = config.retry_partition(partition("dynamodb"));
    let config = config.allow_no_auth().auth_scheme_resolver(Unsigned);
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
    let config = settings.sqs().config().to_builder();
    let config = config.retry_partition(partition("sqs"));
    let config = config.allow_no_auth().auth_scheme_resolver(Unsigned);
    let sqs = aws_sdk_sqs::Client::from_conf(config.build());
    (dynamodb, sqs)
}

#[derive(Debug)]
struct Unsigned;

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
