//! The response to a client.

use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::http::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::Error;

/// Headers of every answer. Browsers must not guess a type (WHATWG Fetch, `nosniff`), and must not go
/// back to plain HTTP for a year (RFC 6797 §6.1; they ignore it where they came without TLS, §8.1).
const ALWAYS: [(&str, &str); 2] = [
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=31536000"),
];

/// A response, before Lambda wraps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Lower-case names, each once.
    pub headers: Vec<(&'static str, String)>,
    /// The text, if there is content.
    pub body: Option<String>,
    /// Whether the text is bytes in base64.
    pub is_base64: bool,
}

impl Response {
    /// A JSON document.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("a response type is plain JSON");
        Self {
            status,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                // A shared cache must not keep a response that only one caller may see.
                ("cache-control", "no-store".to_owned()),
            ],
            body: Some(body),
            is_base64: false,
        }
    }

    /// A response without a body, as for 204.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: vec![("cache-control", "no-store".to_owned())],
            body: None,
            is_base64: false,
        }
    }

    /// Sets a header and replaces one of the same name.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name, value.into()));
        self
    }

    /// Says that an earlier request had the effect, if this one has an `Idempotency-Key`.
    pub fn replayed(self, has_key: bool) -> Self {
        match has_key {
            true => self.with_header("idempotent-replayed", "true"),
            false => self,
        }
    }

    /// A header by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The answer to `HEAD`: that to `GET` with the length of its content instead of the content
    /// (RFC 9110 §9.3.2 and §8.6).
    pub fn without_content(mut self) -> Self {
        let Some(body) = self.body.take() else {
            return self;
        };
        let length = match self.is_base64 {
            true => body.len() / 4 * 3 - body.bytes().rev().take_while(|b| *b == b'=').count(),
            false => body.len(),
        };
        self.with_header("content-length", length.to_string())
    }

    /// The form in which the Lambda runtime sends it to API Gateway.
    pub fn into_lambda(self) -> Result<ApiGatewayV2httpResponse, Error> {
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = self.status.into();
        let always = ALWAYS.map(|(name, value)| (name, value.to_owned()));
        for (name, value) in self.headers.into_iter().chain(always) {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            response
                .headers
                .insert(name, HeaderValue::from_str(&value)?);
        }
        response.body = self.body.map(Body::Text);
        response.is_base64_encoded = self.is_base64;
        Ok(response)
    }
}
