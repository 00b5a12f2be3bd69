//! `GET /.well-known/jwks.json`: the public keys of access tokens, for anybody.

use serde_json::value::RawValue;
use shared_auth::{KeyError, KeySet};
use shared_lambda::http::Response;
use shared_lambda::problem::Problem;

/// How long anybody may keep the answer; a new key is to be published that long before it signs.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The key set as it is configured, known to be one.
pub struct PublishedKeys(Box<RawValue>);

impl PublishedKeys {
    /// Refuses a set that no verifier would take.
    pub fn parse(text: String) -> Result<Self, KeyError> {
        KeySet::parse(&text)?;
        RawValue::from_string(text)
            .map(Self)
            .map_err(KeyError::NotAKeySet)
    }
}

pub async fn handle(keys: &PublishedKeys) -> Result<Response, Problem> {
    Ok(Response::json(200, &keys.0).with_header("cache-control", CACHE_CONTROL))
}
