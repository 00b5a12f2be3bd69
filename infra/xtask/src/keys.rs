//! The pair that access tokens are signed and checked with, in the parameter store.

use serde_json::{Value, json};
use shared_auth::{SigningKey, jwks};

use crate::aws::Aws;
use crate::error::{Context, Result};

/// The public key set, which every template reads.
pub const KEY_SET: &str = "/waybill/auth/jwks";
/// The private key, which only the function that issues tokens may read.
pub const SIGNING_KEY: &str = "/waybill/auth/signing-key";

/// Whether a pair was there before.
#[derive(Debug, PartialEq, Eq)]
pub enum Pair {
    Made,
    Kept,
}

/// Makes a pair unless there is one. An existing one is never replaced: tokens
/// signed with a key that no function knows yet would be refused.
pub fn ensure(aws: &Aws) -> Result<Pair> {
    if key_set(aws)?.is_some() && parameter(aws, SIGNING_KEY)?.is_some() {
        return Ok(Pair::Kept);
    }
    let key = SigningKey::generate();
    // The private half last: once it is there, the pair is whole.
    put(aws, KEY_SET, "String", &jwks(&[key.public_jwk()]))?;
    put(aws, SIGNING_KEY, "SecureString", &key.to_pkcs8_base64())?;
    Ok(Pair::Made)
}

/// The public key set, as the templates will find it.
pub fn key_set(aws: &Aws) -> Result<Option<String>> {
    let found = parameter(aws, KEY_SET)?;
    Ok(found.and_then(|parameter| parameter["Value"].as_str().map(str::to_owned)))
}

fn parameter(aws: &Aws, name: &str) -> Result<Option<Value>> {
    let found = aws
        .find(
            "ssm",
            "GetParameter",
            json!({"Name": name}),
            "ParameterNotFound",
        )
        .context(format!("reading the parameter {name}"))?;
    Ok(found.map(|mut answer| answer["Parameter"].take()))
}

fn put(aws: &Aws, name: &str, kind: &str, value: &str) -> Result<()> {
    aws.call(
        "ssm",
        "PutParameter",
        json!({"Name": name, "Type": kind, "Value": value, "Overwrite": true}),
    )
    .context(format!("writing the parameter {name}"))?;
    Ok(())
}
