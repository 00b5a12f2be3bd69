//! Finds the credentials of the environment (profile, SSO, role or variables) as the AWS SDKs do.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials as Found;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::runtime::Runtime;

use crate::aws::{Aws, AwsError, Credentials, NO_CREDENTIALS};
use crate::error::{Context, Error, Result};

/// Credentials are renewed this long before they expire.
const MARGIN: Duration = Duration::from_secs(300);

/// Connects to the account. Refuses an environment that redirects AWS calls.
pub fn account(profile: Option<&str>) -> Result<Aws> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    refuse_redirects(names)?;
    let (runtime, region, provider) = search(profile)?;
    let search = Mutex::new((runtime, None::<Found>));
    Ok(Aws::account(
        &region,
        Box::new(move || {
            let (runtime, found) = &mut *search.lock().unwrap_or_else(PoisonError::into_inner);
            let lasts = |found: &Found| {
                found
                    .expiry()
                    .is_none_or(|end| end > SystemTime::now() + MARGIN)
            };
            let known = match found.take().filter(lasts) {
                Some(known) => known,
                None => runtime
                    .block_on(provider.provide_credentials())
                    .map_err(|error| AwsError::new(NO_CREDENTIALS, cause(&error)))?,
            };
            let (id, secret) = (known.access_key_id(), known.secret_access_key());
            let given = Credentials::new(id, secret, known.session_token());
            *found = Some(known);
            Ok(given)
        }),
    ))
}

/// The region and the credentials provider; with a named profile, only that profile's.
fn search(profile: Option<&str>) -> Result<(Runtime, String, SharedCredentialsProvider)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the search for credentials")?;
    let client = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader =
        aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(client.clone());
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    // Only boto3 and the AWS CLI read AWS_DEFAULT_REGION.
    if let (Err(_), Ok(region)) = (
        std::env::var("AWS_REGION"),
        std::env::var("AWS_DEFAULT_REGION"),
    ) {
        loader = loader.region(Region::new(region));
    }
    let config = runtime.block_on(loader.load());
    let region = config
        .region()
        .context("no region is set; export AWS_REGION or set the profile's region")?;
    let provider = match profile {
        // The default chain prefers AWS_ACCESS_KEY_ID, which may belong to another account.
        Some(profile) => {
            let settings = ProviderConfig::without_region()
                .with_region(Some(region.clone()))
                .with_http_client(client);
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&settings)
                .profile_name(profile)
                .build();
            SharedCredentialsProvider::new(provider)
        }
        None => config
            .credentials_provider()
            .context("no credentials are configured")?,
    };
    Ok((runtime, region.to_string(), provider))
}

/// The source of the chain's error names each place that was searched.
fn cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or(error.to_string(), ToString::to_string)
}

/// `cargo xtask env` exports such a variable. In that shell, an audit of an account would read the
/// emulator.
fn refuse_redirects(names: impl Iterator<Item = String>) -> Result<()> {
    const ENDPOINT: &str = "AWS_ENDPOINT_URL";
    let redirects = |name: &String| {
        name.strip_prefix(ENDPOINT)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let mut elsewhere: Vec<String> = names.filter(redirects).collect();
    elsewhere.sort();
    if elsewhere.is_empty() {
        return Ok(());
    }
    let names = elsewhere.join(" ");
    Err(Error::new(format!(
        "--aws needs an AWS account, but this shell redirects AWS calls ({names} is set, perhaps \
         by cargo xtask env): use another shell with the account's credentials, or omit --aws for \
         the local stack"
    )))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::assert_contains;
    use crate::aws::local_environment;

    /// Environment variables belong to a process, so the search runs in a child process.
    #[test]
    fn a_named_profile_wins_over_environment_keys() {
        const NAME: &str = "a_named_profile_wins_over_environment_keys";
        const SEARCHING: &str = "WAYBILL_TEST_SEARCHES";
        if std::env::var_os(SEARCHING).is_some() {
            for (profile, key, place) in [(None, "ENV", "eu-1"), (Some("shop"), "SHOP", "eu-2")] {
                let (runtime, region, provider) = search(profile).expect("a provider");
                let found = runtime.block_on(provider.provide_credentials());
                assert_eq!(found.expect("credentials").access_key_id(), key);
                assert_eq!(region, place);
            }
            let (runtime, _, provider) = search(Some("keyless")).expect("a provider");
            let found = runtime.block_on(provider.provide_credentials());
            found.expect_err("the environment's keys are not taken in place of the profile's");
            return;
        }
        let file = std::env::temp_dir().join(format!("waybill-profiles-{}", std::process::id()));
        let profiles = "[default]\nregion = eu-1\n[profile shop]\nregion = eu-2\n\
                        aws_access_key_id = SHOP\naws_secret_access_key = s\n\
                        [profile keyless]\nregion = eu-3\n";
        std::fs::write(&file, profiles).expect("a file");
        let this = std::env::current_exe().expect("a path");
        let searched = Command::new(this)
            .args([
                "--exact",
                &format!("credentials::tests::{NAME}"),
                "--nocapture",
            ])
            .env_remove("AWS_REGION")
            .env_remove("AWS_DEFAULT_REGION")
            .env_remove("AWS_PROFILE")
            .env(SEARCHING, "yes")
            .env("AWS_ACCESS_KEY_ID", "ENV")
            .env("AWS_SECRET_ACCESS_KEY", "s")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", &file)
            .env("AWS_SHARED_CREDENTIALS_FILE", &file)
            .output();
        std::fs::remove_file(&file).expect("it can be removed");
        let searched = searched.expect("it runs");
        let output = String::from_utf8_lossy(&searched.stdout);
        assert!(
            searched.status.success() && output.contains("1 passed"),
            "{output}"
        );
    }

    #[test]
    fn a_redirecting_shell_is_refused_for_an_account() {
        let checked =
            |names: &[&str]| refuse_redirects(names.iter().map(|name| (*name).to_owned()));
        assert!(checked(&["AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URLS"]).is_ok());
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"] {
            let error = checked(&["AWS_REGION", name]).expect_err("it leads elsewhere");
            let error = error.to_string();
            assert_contains(&error, &[&format!("{name} is set"), "use another shell"]);
        }
        // `cargo xtask env` exports these variables.
        let exported = local_environment("http://127.0.0.1:4566");
        assert!(refuse_redirects(exported.into_iter().map(|(name, _)| name.to_owned())).is_err());
    }
}
