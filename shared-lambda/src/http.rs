//! Endpoints: one function per route takes a request and gives a response or a [`Problem`].

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use shared_auth::{Caller, TokenError, Verifier};
use tokio::time::Instant;
use uuid::Uuid;

use crate::conditional::{BLANKS, Conditions};
pub use crate::object::Object;
use crate::problem::{FieldError, Fields, Part, Problem, shortened};
use crate::problems::ADMIN_ONLY;
pub use crate::response::Response;
use crate::runtime::{answer, serve};
use crate::{Context, Error, Origin, cursor, json, telemetry};

/// The longest body a request may have, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// How many items a page has by default.
pub const DEFAULT_PAGE: usize = 20;
/// The most items a page has.
pub const MAX_PAGE: usize = 100;

/// Headers that may occur once. API Gateway (payload format 2.0) and proxies join repeated headers
/// with a comma. `Waybill-Fault` and `Content-Encoding` are lists, so they may be repeated
/// (RFC 9110 §5.3).
const SINGLE_HEADERS: [&str; 3] = ["Authorization", "Content-Type", "Idempotency-Key"];

/// The longest `Idempotency-Key`, in characters.
const MAX_KEY_CHARACTERS: usize = 255;

/// How many wrong query parameters one answer names.
const MAX_WRONG_PARAMETERS: usize = 20;

/// A request, without API Gateway's wrapping.
///
/// The runner looks for mistakes that concern no handler in particular. Then every reader refuses the
/// request: [`uuid`](Self::uuid), [`page`](Self::page), [`json`](Self::json), [`parse`](Self::parse) and
/// each one that begins with [`fields`](Self::fields). So a handler reads first and changes later.
#[derive(Clone, Debug, Default)]
pub struct Request {
    method: String,
    path: String,
    raw_query: String,
    path_parameters: HashMap<String, String>,
    query: Vec<(String, String)>,
    headers: HashMap<String, String>,
    source_address: Option<String>,
    body: Bytes,
    route: String,
    request_id: Option<String>,
    /// The runner's findings.
    faults: Fields,
    conditions: Conditions,
    /// Set when the token is checked, for the log line of the request.
    caller: Arc<OnceLock<Uuid>>,
}

/// The part of a list that the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<P> {
    /// The most items.
    pub limit: usize,
    /// The position before the page, from the cursor; none for the first page.
    pub after: Option<P>,
}

/// An `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key without quotes.
    pub value: String,
    /// The header as sent, with quotes or repeats, if that was once a key of its own. Records under
    /// such keys must still be found.
    pub formerly: Option<String>,
}

impl Request {
    /// An empty request, for tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// The request of an API Gateway event (HTTP API, payload format 2.0).
    ///
    /// It reads only the needed fields, so that no client input makes it fail. It builds no URI,
    /// because clients may exceed the limits of one.
    pub fn of_event(event: Value) -> Result<Self, Error> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let strings = |pointer: &str| {
            let members = event.pointer(pointer).and_then(Value::as_object);
            let members = members.into_iter().flatten();
            members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        };
        if event.pointer("/requestContext/http").is_none() {
            return Err("the event is not one of an HTTP API with payload format 2.0".into());
        }
        let body = text("/body").unwrap_or_default();
        let is_base64 = event.get("isBase64Encoded") == Some(&Value::Bool(true));
        // `queryStringParameters` joins repeated parameters with commas, which a value may hold too.
        let raw_query = text("/rawQueryString").unwrap_or_default();
        let query = form_urlencoded::parse(raw_query.as_bytes()).into_owned();
        Ok(Self {
            method: text("/requestContext/http/method")
                .unwrap_or_default()
                .to_owned(),
            path: text("/rawPath").unwrap_or_default().to_owned(),
            raw_query: raw_query.to_owned(),
            path_parameters: strings("/pathParameters").collect(),
            query: query.collect(),
            headers: strings("/headers")
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
            source_address: text("/requestContext/http/sourceIp").map(str::to_owned),
            route: text("/routeKey").unwrap_or_default().to_owned(),
            request_id: text("/requestContext/requestId").map(str::to_owned),
            caller: Arc::default(),
            faults: Fields::default(),
            conditions: Conditions::default(),
            body: if is_base64 {
                STANDARD.decode(body)?.into()
            } else {
                Bytes::copy_from_slice(body.as_bytes())
            },
        })
    }

    /// Sets the route and API Gateway's id of the request.
    pub fn with_route(mut self, route: &str, request_id: &str) -> Self {
        self.route = route.to_owned();
        self.request_id = Some(request_id.to_owned());
        self
    }

    /// Names the caller in the log line of the request.
    pub fn called_by(&self, caller: Uuid) {
        // The first check decides; a handler checks the same token again at most.
        let _ = self.caller.set(caller);
    }

    /// Adds a parameter of the route.
    pub fn with_path_parameter(mut self, name: &str, value: impl Into<String>) -> Self {
        self.path_parameters.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a query parameter.
    pub fn with_query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a header and replaces one of the same name.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    /// Sets the client's address.
    pub fn with_source_address(mut self, address: impl Into<String>) -> Self {
        self.source_address = Some(address.into());
        self
    }

    /// Sets the body: JSON, unless a `Content-Type` is set.
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.headers
            .entry("content-type".to_owned())
            .or_insert_with(|| "application/json".to_owned());
        self
    }

    /// The method in capital letters.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path as sent, without a public prefix.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query as sent, without `?`.
    pub fn raw_query(&self) -> &str {
        &self.raw_query
    }

    /// A parameter of the route. The route's template guarantees it, so an absent one is empty.
    pub fn path_parameter(&self, name: &str) -> &str {
        self.path_parameters.get(name).map_or("", String::as_str)
    }

    /// A parameter of the route that is a UUID.
    pub fn uuid(&self, name: &str) -> Result<Uuid, Problem> {
        let mut fields = self.fields();
        let id = fields.take_parameter(name, parse_uuid(self.path_parameter(name)));
        fields.finish(id)
    }

    /// The mistakes that the runner has found. A handler adds its own, so that one answer has all.
    pub fn fields(&self) -> Fields {
        self.faults.clone()
    }

    /// The conditions of the request (RFC 9110 §13), as the runner has read them.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// A query parameter, decoded. [`Query::respond`] refuses repeated ones.
    pub fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A header by its name in lower case. Equal repeats of a single header are one value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        let is_single = |single: &str| single.eq_ignore_ascii_case(name);
        // A broken `traceparent` starts a new trace and is never refused (W3C Trace Context §4.3).
        if SINGLE_HEADERS.into_iter().any(is_single) || name == "traceparent" {
            return Some(single_value(value).unwrap_or(value));
        }
        Some(value)
    }

    /// The `Idempotency-Key`. `k` and `"k"` are one key (IETF draft).
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, String> {
        let Some(sent) = self.headers.get("idempotency-key") else {
            return Ok(None);
        };
        let is_key = |text: &str| {
            (1..=MAX_KEY_CHARACTERS).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let value = single_value(sent).map(unquoted);
        match value.filter(|value| is_key(value) && !value.starts_with('"')) {
            Some(value) => Ok(Some(IdempotencyKey {
                value: value.to_owned(),
                formerly: (value != sent && is_key(sent)).then(|| sent.clone()),
            })),
            None => Err(format!(
                "is not 1 to {MAX_KEY_CHARACTERS} visible ASCII characters, in quotes if there is a \
                 comma among them; a fresh UUID per request is a good key"
            )),
        }
    }

    /// The client's address as API Gateway saw it (`requestContext.http.sourceIp`). It never comes
    /// from `X-Forwarded-For`, which a client can forge. Behind a front,
    /// [`TrustedFront::locate`](crate::front::TrustedFront::locate) sets it.
    pub fn source_address(&self) -> Option<&str> {
        self.source_address.as_deref()
    }

    /// `?limit=` (1 to [`MAX_PAGE`]) and `?cursor=`. An empty cursor means the first page.
    pub fn page<P: DeserializeOwned>(&self) -> Result<Page<P>, Problem> {
        let mut fields = self.fields();
        let limit = self.query("limit").map_or(Ok(DEFAULT_PAGE), |text| {
            let sent = text.parse::<i64>().ok();
            let limit = sent.and_then(|sent| usize::try_from(sent).ok());
            let limit = limit.filter(|limit| (1..=MAX_PAGE).contains(limit));
            limit.ok_or_else(|| {
                // Other text is not repeated, because it may be a secret.
                let sent = sent.map(|sent| format!("{sent}, ")).unwrap_or_default();
                format!("is {sent}not a whole number from 1 to {MAX_PAGE}")
            })
        });
        let limit = fields.take_parameter("limit", limit);
        let cursor = self.query("cursor").filter(|cursor| !cursor.is_empty());
        let after = fields.add(cursor.map(cursor::decode).transpose());
        let page = limit.zip(after);
        fields.finish(page.map(|(limit, after)| Page { limit, after }))
    }

    /// The raw body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Reads the body strictly. The problem names each unknown field, wrong type and missing field by
    /// its JSON Pointer.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.parse(self.fields(), |body, _| Some(body))
    }

    /// Reads the body and converts it with `read`. The problem reports all mistakes at once: the known
    /// ones of other parts, those of the JSON, and those that `read` adds. `read` gets a stand-in for each
    /// missing or wrong value; its result is then not used.
    pub fn parse<T: DeserializeOwned, V>(
        &self,
        mut fields: Fields,
        read: impl FnOnce(T, &mut Fields) -> Option<V>,
    ) -> Result<V, Problem> {
        let text = self.text()?;
        let text = text.map_err(|detail| FieldError::new("", detail));
        let document = text
            .map(json::read_all)
            .unwrap_or_else(json::Document::of_fault);
        let json::Document {
            value,
            faults,
            stand_ins,
        } = document;
        fields.add_body(faults, stand_ins, value.is_none());
        let value = value.and_then(|body| read(body, &mut fields));
        fields.finish(value)
    }

    /// The body as text, or its mistake. Nothing else is checked in a body that is too long or of another
    /// type.
    fn text(&self) -> Result<Result<&str, &'static str>, Problem> {
        if self.body.is_empty() {
            return Ok(Err("the body is empty; send a JSON object"));
        }
        self.is_plain_json()?;
        if self.body.len() > MAX_BODY_BYTES {
            return Err(Problem::payload_too_large(MAX_BODY_BYTES));
        }
        // RFC 8259 §8.1: JSON between systems is UTF-8.
        let text = std::str::from_utf8(&self.body);
        Ok(text.map_err(|_| "the body is not UTF-8"))
    }

    /// Refuses a body that is not declared as JSON or is compressed (RFC 9110 §15.5.16).
    ///
    /// Browsers send forms, `text/plain` and bodies without a type to other sites without a
    /// preflight. They send JSON only if the site allows it.
    fn is_plain_json(&self) -> Result<(), Problem> {
        let encodings = self.header("content-encoding").unwrap_or("identity");
        let is_plain = |coding: &str| coding.trim_matches(BLANKS).eq_ignore_ascii_case("identity");
        if !encodings.split(',').all(is_plain) {
            return Err(Problem::unsupported_media_type(
                "the body has a Content-Encoding; send it without one",
            ));
        }
        let sent = self.header("content-type").unwrap_or_default();
        let mut parts = sent.split(';').map(|part| part.trim_matches(BLANKS));
        let is_json = parts
            .next()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
        let is_utf_8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                unquoted(value).eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        };
        if is_json && parts.all(is_utf_8) {
            return Ok(());
        }
        Err(Problem::unsupported_media_type(
            "the body is not declared as JSON in UTF-8; send Content-Type: application/json",
        ))
    }

    /// Finds different values of one header, wrong conditions, and repeated or unknown query parameters.
    fn check(&mut self, known: Query) {
        let mut fields = Fields::default();
        for name in SINGLE_HEADERS {
            let sent = self.headers.get(&name.to_ascii_lowercase());
            if sent.is_some_and(|sent| single_value(sent).is_none()) {
                // A key with a comma looks like repeats, which the gateway joins with a comma.
                let key = match name {
                    "Idempotency-Key" => ", in double quotes if the key has a comma",
                    _ => "",
                };
                let detail = "occurs more than once, with different values; send it once";
                fields.push(FieldError::header(name, format!("{detail}{key}")));
            }
        }
        self.conditions = Conditions::of(self.method(), |name| self.header(name), &mut fields);
        let mut wrong = Vec::new();
        for (index, (name, _)) in self.query.iter().enumerate() {
            let detail = if known.0 == Query::ANY.0 {
                break;
            } else if !known.0.contains(&name.as_str()) {
                known.unknown()
            } else if self.query[..index].iter().any(|(before, _)| before == name) {
                "occurs more than once; send it once".to_owned()
            } else {
                continue;
            };
            let name = if name.is_empty() { "\"\"" } else { name };
            let error = FieldError::parameter(shortened(name), detail);
            if wrong.contains(&error) {
                continue;
            }
            if wrong.len() == MAX_WRONG_PARAMETERS {
                fields.may_be_more = true;
                break;
            }
            wrong.push(error);
        }
        wrong.into_iter().for_each(|error| fields.push(error));
        self.faults = fields;
    }
}

/// Reads a UUID in the form of RFC 9562 §4, in small or capital letters. The crate also reads URNs,
/// braces and digits without hyphens, which would give one resource several paths.
pub fn parse_uuid(text: &str) -> Result<Uuid, &'static str> {
    const LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == LENGTH);
    id.ok_or("is not a UUID, for example 01890a5d-ac96-774b-bcce-b302099a8057")
}

/// The value of a single header, if all its repeats are equal.
fn single_value(joined: &str) -> Option<&str> {
    let (first, mut rest) = first_part(joined);
    while let Some(joined) = rest {
        let (next, after) = first_part(joined);
        if unquoted(next) != unquoted(first) {
            return None;
        }
        rest = after;
    }
    Some(first)
}

/// The first value of a joined header, and the text after its comma. A quoted comma belongs to the
/// value.
fn first_part(joined: &str) -> (&str, Option<&str>) {
    let quoted = joined.trim_start_matches(BLANKS).strip_prefix('"');
    let end_of_quoted = quoted.and_then(|quoted| {
        quoted.match_indices('"').find_map(|(at, _)| {
            let after = quoted[at + 1..].trim_start_matches(BLANKS);
            (after.is_empty() || after.starts_with(',')).then_some(joined.len() - after.len())
        })
    });
    let end = end_of_quoted.or_else(|| joined.find(','));
    let (first, rest) = joined.split_at(end.unwrap_or(joined.len()));
    (first.trim_matches(BLANKS), rest.strip_prefix(','))
}

fn unquoted(text: &str) -> &str {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text)
}

/// The query parameters of a route. The runner refuses all others before it calls the handler.
#[derive(Clone, Copy, Debug)]
pub struct Query(pub &'static [&'static str]);

impl Query {
    /// No parameters.
    pub const NONE: Self = Self(&[]);

    /// Any parameters, for a function that answers paths without an endpoint.
    pub const ANY: Self = Self(&["*"]);

    /// Runs an endpoint without authentication.
    pub async fn run<F, Fut>(self, handler: F) -> Result<(), Error>
    where
        F: Fn(Context, Request) -> Fut,
        Fut: Future<Output = Result<Response, Problem>>,
    {
        let (origin, handler) = (&Origin::system(), &handler);
        // Boxed, because the SDK's futures nest too deeply for the compiler.
        serve(&|event| {
            async move {
                let request = Request::of_event(event.payload)?;
                answer(&self.respond(origin, request, handler).await.into_lambda()?)
            }
            .boxed_local()
        })
        .await
    }

    /// Runs an endpoint for callers with a valid access token.
    pub async fn run_authenticated<F, Fut>(
        self,
        verifier: &Verifier,
        handler: F,
    ) -> Result<(), Error>
    where
        F: Fn(Caller, Context, Request) -> Fut,
        Fut: Future<Output = Result<Response, Problem>>,
    {
        let handler = &handler;
        self.run(move |context, request| async move {
            let caller = authenticate(verifier, &request, context.now)?;
            handler(caller, context, request).await
        })
        .await
    }

    /// Runs an endpoint with an optional access token.
    pub async fn run_public<F, Fut>(self, verifier: &Verifier, handler: F) -> Result<(), Error>
    where
        F: Fn(Option<Caller>, Context, Request) -> Fut,
        Fut: Future<Output = Result<Response, Problem>>,
    {
        let handler = &handler;
        self.run(move |context, request| async move {
            let caller = authenticate_if_sent(verifier, &request, context.now)?;
            handler(caller, context, request).await
        })
        .await
    }

    /// Passes one request through a handler, as [`Query::run`] does per call. A panic becomes a 500,
    /// so that the client gets an answer and the process survives.
    pub async fn respond<F, Fut>(self, origin: &Origin, request: Request, handler: F) -> Response
    where
        F: Fn(Context, Request) -> Fut,
        Fut: Future<Output = Result<Response, Problem>>,
    {
        let context = origin.context(request.header("traceparent"));
        let is_head = request.method == "HEAD";
        let call = Call::begin(&request);
        let outcome = self.outcome(&context, request, handler).await;
        let response = call.end(outcome, context);
        match is_head {
            true => response.without_content(),
            false => response,
        }
    }

    async fn outcome<F, Fut>(
        self,
        context: &Context,
        mut request: Request,
        handler: F,
    ) -> Result<Response, Problem>
    where
        F: Fn(Context, Request) -> Fut,
        Fut: Future<Output = Result<Response, Problem>>,
    {
        request.check(self);
        let (mut faults, conditions) = (request.fields(), request.conditions().clone());
        // The call is inside the guarded future, to catch a panic before the first await too.
        let call = async { handler(context.clone(), request).await };
        let response = AssertUnwindSafe(call)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                Err(Problem::internal(
                    "the handler panicked; see the previous log line",
                ))
            })?;
        // The handler of a plain `GET` reads nothing, and so does not see them.
        conditions.check_answer(&response, &mut faults);
        faults.finish(Some(response))
    }

    fn unknown(self) -> String {
        match self.0 {
            [] => "is not a known parameter; none is known here".to_owned(),
            known => format!("is not a known parameter; known here: {}", known.join(", ")),
        }
    }
}

/// A request for its log line: ids and the route's template, and no other text of the client.
struct Call {
    route: String,
    request_id: Option<String>,
    order: Option<Uuid>,
    caller: Arc<OnceLock<Uuid>>,
    begun: Instant,
}

impl Call {
    fn begin(request: &Request) -> Self {
        let id = match request.route.contains("/orders/{id}") {
            true => "id",
            false => "order_id",
        };
        Self {
            route: request.route.clone(),
            request_id: request.request_id.clone(),
            order: parse_uuid(request.path_parameter(id)).ok(),
            caller: Arc::clone(&request.caller),
            begun: Instant::now(),
        }
    }

    /// Writes the line and names the request in the response.
    fn end(self, outcome: Result<Response, Problem>, context: Context) -> Response {
        let ms = self.begun.elapsed().as_millis() as u64;
        let (response, problem, failure) = match outcome {
            Ok(response) => (response, None, None),
            Err(problem) => {
                let is_failure = problem.status() >= 500;
                let failure = is_failure.then(|| (problem.detail().to_owned(), problem.cause()));
                let slug = problem.slug();
                (problem.into_response(&context), Some(slug), failure)
            }
        };
        // A new order is named by `Location`.
        let placed = response.header("location").and_then(|location| {
            let id = location.strip_prefix("/api/v1/orders/")?;
            Uuid::try_parse(id).ok()
        });
        let order = self.order.or(placed).map(tracing::field::display);
        let caller = self.caller.get().map(tracing::field::display);
        let (route, request) = (self.route, self.request_id);
        let (status, trace) = (response.status, context.trace_id());
        match failure {
            Some((detail, cause)) => tracing::error!(
                route,
                status,
                ms,
                problem,
                caller,
                order,
                trace,
                request,
                detail,
                cause,
                "request failed"
            ),
            None => tracing::info!(
                target: telemetry::CALLS,
                route, status, ms, problem, caller, order, trace, request
            ),
        }
        let response = response.with_header("traceparent", context.traceparent);
        match request {
            Some(id) => response.with_header("x-request-id", id),
            None => response,
        }
    }
}

/// [`Query::run`] for an endpoint without query parameters.
pub async fn run<F, Fut>(handler: F) -> Result<(), Error>
where
    F: Fn(Context, Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
    Query::NONE.run(handler).await
}

/// [`Query::run_authenticated`] for an endpoint without query parameters.
pub async fn run_authenticated<F, Fut>(verifier: &Verifier, handler: F) -> Result<(), Error>
where
    F: Fn(Caller, Context, Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
    Query::NONE.run_authenticated(verifier, handler).await
}

/// [`Query::run_public`] for an endpoint without query parameters.
pub async fn run_public<F, Fut>(verifier: &Verifier, handler: F) -> Result<(), Error>
where
    F: Fn(Option<Caller>, Context, Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
    Query::NONE.run_public(verifier, handler).await
}

/// [`Query::respond`] for an endpoint without query parameters.
pub async fn respond<F, Fut>(origin: &Origin, request: Request, handler: F) -> Response
where
    F: Fn(Context, Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
    Query::NONE.respond(origin, request, handler).await
}

/// The caller of a request, or the 401 with the reason.
pub fn authenticate(
    verifier: &Verifier,
    request: &Request,
    now: Timestamp,
) -> Result<Caller, Problem> {
    // A second token is no wrong token (RFC 6750 §3.1).
    if request.faults.has(Part::Header, "Authorization") {
        return Err(request.fields().into_problem());
    }
    let caller = verifier.caller(request.header("authorization"), now);
    let caller = caller.map_err(|error| match error {
        TokenError::Missing => Problem::unauthorized(error.to_string()),
        _ => Problem::invalid_token(error.to_string()),
    })?;
    request.called_by(caller.user_id);
    Ok(caller)
}

/// [`authenticate`] for an optional token. A token that is sent must be valid: with an expired one
/// the client gets an error instead of a reduced answer.
pub fn authenticate_if_sent(
    verifier: &Verifier,
    request: &Request,
    now: Timestamp,
) -> Result<Option<Caller>, Problem> {
    let is_sent = request.header("authorization").is_some();
    is_sent
        .then(|| authenticate(verifier, request, now))
        .transpose()
}

/// Refuses a caller who is not an administrator. `why` is the problem's detail.
pub fn require_admin(caller: &Caller, why: &str) -> Result<(), Problem> {
    if caller.is_admin() {
        return Ok(());
    }
    Err(Problem::new(&ADMIN_ONLY, why))
}

/// Reads a field that may be absent but not null: null looks like a change but makes none. Used as
/// `#[serde(default, deserialize_with = "not_null")]`.
pub fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
