//! Endpoints: a request in, a response or a [`Problem`] out, one function per route.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::http::{HeaderName, HeaderValue};
use lambda_http::request::RequestContext;
use lambda_http::{Body, LambdaEvent, RequestExt, lambda_runtime, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared_auth::{Caller, TokenError, Verifier};
use uuid::Uuid;

pub use crate::object::Object;
use crate::problem::Problem;
use crate::{Context, Error, Origin, json, telemetry};

/// The longest body a request may have, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// How many items a page has when the client does not say, and at most.
pub const DEFAULT_PAGE: usize = 20;
pub const MAX_PAGE: usize = 100;

/// A request, after API Gateway's own wrapping has been taken off.
#[derive(Clone, Debug, Default)]
pub struct Request {
    path_parameters: HashMap<String, String>,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
    source_address: Option<String>,
    body: Bytes,
}

/// Which part of a list the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub cursor: Option<String>,
}

impl Request {
    pub fn new() -> Self {
        Self::default()
    }

    /// The request of an API Gateway event (HTTP API, payload format 2.0).
    ///
    /// Whatever a client sends has to be one: lambda_http makes a URI and headers of it, and panics or
    /// refuses where it cannot, which anybody could make an alarm of.
    pub fn of_event(mut event: Value) -> Result<Self, Error> {
        tame(&mut event);
        Ok(lambda_http::request::from_str(&event.to_string())?.into())
    }

    pub fn with_path_parameter(mut self, name: &str, value: impl Into<String>) -> Self {
        self.path_parameters.insert(name.to_owned(), value.into());
        self
    }

    pub fn with_query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.insert(name.to_owned(), value.into());
        self
    }

    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    pub fn with_source_address(mut self, address: impl Into<String>) -> Self {
        self.source_address = Some(address.into());
        self
    }

    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// A parameter of the route. The route's template guarantees it, so an absent one is empty.
    pub fn path_parameter(&self, name: &str) -> &str {
        self.path_parameters.get(name).map_or("", String::as_str)
    }

    /// A parameter of the route that is a UUID.
    pub fn uuid(&self, name: &str) -> Result<Uuid, Problem> {
        Uuid::try_parse(self.path_parameter(name)).map_err(|_| {
            Problem::invalid_field(
                name,
                "is not a UUID, for example 01890a5d-ac96-774b-bcce-b302099a8057",
            )
        })
    }

    /// A query parameter, decoded; of one that is repeated, the last.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The address the request came from, as API Gateway saw it itself (`requestContext.http.sourceIp`).
    /// Never from a header: `X-Forwarded-For` says what the client likes.
    pub fn source_address(&self) -> Option<&str> {
        self.source_address.as_deref()
    }

    /// `?limit=` (1 to [`MAX_PAGE`]) and `?cursor=`.
    pub fn page(&self) -> Result<Page, Problem> {
        let limit = match self.query("limit") {
            None => DEFAULT_PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_PAGE).contains(limit))
                .ok_or_else(|| {
                    Problem::invalid_field(
                        "limit",
                        format!("is not a whole number from 1 to {MAX_PAGE}"),
                    )
                })?,
        };
        let cursor = self.query("cursor").map(str::to_owned);
        Ok(Page { limit, cursor })
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, read strictly: an unknown field, a wrong type or a missing field is named by its
    /// JSON Pointer.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if self.body.len() > MAX_BODY_BYTES {
            return Err(Problem::payload_too_large(MAX_BODY_BYTES));
        }
        let wrong = |pointer: String, detail: &str| match pointer.as_str() {
            "" => Problem::invalid_field("", format!("the body {detail}")),
            _ => Problem::invalid_field(pointer, detail),
        };
        if self.body.is_empty() {
            return Err(wrong(String::new(), "is empty; send a JSON object"));
        }
        // RFC 8259 §8.1: JSON between systems is UTF-8.
        let text =
            std::str::from_utf8(&self.body).map_err(|_| wrong(String::new(), "is not UTF-8"))?;
        // Left to itself, serde takes an array of the fields' values for an object.
        if text.trim_start().starts_with('[') {
            return Err(wrong(String::new(), "is not an object"));
        }
        json::read(text).map_err(|mistake| wrong(mistake.pointer, &mistake.detail))
    }
}

/// Takes out of an event what no URI or header can be made of, or would be made of what the client says
/// of itself; nothing of it is read here.
fn tame(event: &mut Value) {
    if let Some(Value::String(query)) = event.get_mut("rawQueryString") {
        *query = query.chars().map(escaped).collect();
    }
    if let Some(context) = event
        .get_mut("requestContext")
        .and_then(Value::as_object_mut)
    {
        context.remove("domainName");
    }
    let headers = event.get_mut("headers").and_then(Value::as_object_mut);
    let Some(headers) = headers else { return };
    headers.retain(|name, value| {
        let is_readable = HeaderName::from_bytes(name.as_bytes()).is_ok() && value.is_string();
        is_readable && !name.eq_ignore_ascii_case("host")
    });
    for value in headers.values_mut() {
        if let Value::String(text) = value {
            *text = text.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
        }
    }
}

/// A character of a query as a URI may have it (RFC 3986 §3.4; what has been escaped stays so).
fn escaped(character: char) -> String {
    if character.is_ascii_graphic() && !"\"<>#".contains(character) {
        return character.to_string();
    }
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}

impl From<lambda_http::Request> for Request {
    fn from(request: lambda_http::Request) -> Self {
        let path_parameters = request
            .path_parameters()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let query = request
            .query_string_parameters()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let source_address = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
            _ => None,
        };
        let (parts, body) = request.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| {
                // One that is not UTF-8 stays, spoilt: an `Idempotency-Key` must not look absent.
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str().to_owned(), value.into_owned())
            })
            .collect();
        let body = match body {
            Body::Text(text) => Bytes::from(text),
            Body::Binary(bytes) => Bytes::from(bytes),
            _ => Bytes::new(),
        };
        Self {
            path_parameters,
            query,
            headers,
            source_address,
            body,
        }
    }
}

/// What goes back to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<String>,
}

impl Response {
    /// A JSON document.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("a response type is plain JSON");
        Self {
            status,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                // What a caller may see is theirs alone; a shared cache must not keep it.
                ("cache-control", "no-store".to_owned()),
            ],
            body: Some(body),
        }
    }

    /// No body, as with 204.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: vec![("cache-control", "no-store".to_owned())],
            body: None,
        }
    }

    /// Sets a header, in place of one of the same name.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name, value.into()));
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// As the Lambda runtime sends it to API Gateway.
    pub fn into_lambda(self) -> Result<ApiGatewayV2httpResponse, Error> {
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = self.status.into();
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            response
                .headers
                .insert(name, HeaderValue::from_str(&value)?);
        }
        response.body = self.body.map(Body::Text);
        Ok(response)
    }
}

/// Runs an endpoint that anybody may call.
pub async fn run<F, Fut>(handler: F) -> Result<(), Error>
where
    F: Fn(Context, Request) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Response, Problem>> + Send,
{
    telemetry::init();
    let (origin, handler) = (Origin::system(), &handler);
    // Boxed once here: the SDK's futures nest deeply enough to defeat the compiler otherwise.
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let origin = origin.clone();
        async move {
            let request = Request::of_event(event.payload)?;
            respond(&origin, request, handler).await.into_lambda()
        }
        .boxed()
    }))
    .await
}

/// Runs an endpoint for callers with a valid access token.
pub async fn run_authenticated<F, Fut>(verifier: &Verifier, handler: F) -> Result<(), Error>
where
    F: Fn(Caller, Context, Request) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Response, Problem>> + Send,
{
    let handler = &handler;
    run(move |context, request| async move {
        let caller = authenticate(verifier, &request, context.now)?;
        handler(caller, context, request).await
    })
    .await
}

/// Who is calling, or the 401 that says why that is not known.
pub fn authenticate(
    verifier: &Verifier,
    request: &Request,
    now: Timestamp,
) -> Result<Caller, Problem> {
    verifier
        .caller(request.header("authorization"), now)
        .map_err(|error| match error {
            TokenError::Missing => Problem::unauthorized(error.to_string()),
            _ => Problem::invalid_token(error.to_string()),
        })
}

/// One request through a handler: what [`run`] does per call, without Lambda around it. A panic
/// becomes a 500, so that the client gets an answer and the process goes on.
pub async fn respond<F, Fut>(origin: &Origin, request: Request, handler: F) -> Response
where
    F: Fn(Context, Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
    let context = origin.context(request.header("traceparent"));
    // Called inside the guarded future, so that a panic before the first await is caught as well.
    let call = async { handler(context.clone(), request).await };
    let outcome = AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            Err(Problem::internal(
                "the handler panicked; see the line before",
            ))
        });
    outcome.unwrap_or_else(|problem| problem.into_response(&context))
}
