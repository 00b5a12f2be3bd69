//! `GET /.well-known/jwks.json`: the public keys of access tokens.

use serde_json::value::RawValue;
use shared_auth::{KeyError, KeySet};
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

/// Clients may cache the answer for 300 s, so a new key is published that long before it signs.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The configured key set, checked.
pub struct PublishedKeys(Box<RawValue>);

impl PublishedKeys {
    /// Refuses a set that a verifier would refuse.
    pub fn parse(text: String) -> Result<Self, KeyError> {
        KeySet::parse(&text)?;
        RawValue::from_string(text)
            .map(Self)
            .map_err(KeyError::NotAKeySet)
    }
}

pub fn wire(setup: &Setup) -> Result<PublishedKeys, Error> {
    Ok(PublishedKeys::parse(setup.env("AUTH_JWKS")?)?)
}

pub async fn handle(
    keys: &PublishedKeys,
    _context: Context,
    _request: Request,
) -> Result<Response, Problem> {
    Ok(Response::json(200, &keys.0).with_header("cache-control", CACHE_CONTROL))
}
