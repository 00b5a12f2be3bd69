//! Errors for clients: `application/problem+json` (RFC 9457).
//!
//! A problem has two halves. The client reads the type, title, status, detail and fields. The cause is
//! for the log only, and no code here can put it into an answer.

use std::fmt::Display;

use serde::{Serialize, Serializer};
use serde_json::json;

use crate::problems::{
    INTERNAL, INVALID_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, OUTCOME_UNKNOWN, PAYLOAD_TOO_LARGE,
    PRECONDITION_FAILED, ProblemType, TOO_MANY_REQUESTS, UNAUTHORIZED, UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
};
use crate::response::Response;
use crate::{Context, Error, telemetry};

/// The longest name from a caller that an answer repeats, in characters.
const MAX_NAME: usize = 64;

/// The part of a request with a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The body; the name is a JSON Pointer (RFC 6901), and empty for the whole body.
    Body,
    /// A parameter of the path or the query.
    Parameter,
    /// A header.
    Header,
}

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where the name belongs.
    pub part: Part,
    /// The pointer, or the name of the parameter or header.
    pub name: String,
    /// The mistake and the accepted values.
    pub detail: String,
}

impl FieldError {
    /// A mistake in the body, at a JSON Pointer.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::of(Part::Body, pointer, detail)
    }

    /// A mistake in a parameter of the path or the query.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::of(Part::Parameter, name, detail)
    }

    /// A mistake in a header.
    pub fn header(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::of(Part::Header, name, detail)
    }

    fn of(part: Part, name: impl Into<String>, detail: impl Into<String>) -> Self {
        let (name, detail) = (name.into(), detail.into());
        let is_pointer = name.is_empty() || name.starts_with('/');
        debug_assert!(part != Part::Body || is_pointer, "{name} is no pointer");
        Self { part, name, detail }
    }
}

/// One member says where: `pointer`, `parameter` or `header`.
impl Serialize for FieldError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let part = match self.part {
            Part::Body => "pointer",
            Part::Parameter => "parameter",
            Part::Header => "header",
        };
        let members = [(part, &self.name), ("detail", &self.detail)];
        serializer.collect_map(members)
    }
}

/// Collects the mistakes in a request, so that one answer reports them all.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    errors: Vec<FieldError>,
    /// Places with a missing or wrong value. Further mistakes there follow from the first.
    stand_ins: Vec<String>,
    /// Whether the search stopped before the end of the request.
    pub(crate) may_be_more: bool,
}

impl Fields {
    /// Adds the mistakes in a body's JSON.
    pub(crate) fn add_body(
        &mut self,
        errors: Vec<FieldError>,
        stand_ins: Vec<String>,
        may_be_more: bool,
    ) {
        self.errors.extend(errors);
        self.stand_ins = stand_ins;
        self.may_be_more |= may_be_more;
    }

    /// Returns the value, or adds the mistakes that its problem lists.
    pub fn add<T>(&mut self, read: Result<T, Problem>) -> Option<T> {
        read.map_err(|problem| {
            problem
                .errors
                .into_iter()
                .for_each(|error| self.push(error))
        })
        .ok()
    }

    /// Adds a mistake, unless it follows from one that is known: it is about a stand-in, or about the
    /// same parameter or header.
    pub fn push(&mut self, error: FieldError) {
        let is_about =
            |place: &String| is_within(&error.name, place) || is_within(place, &error.name);
        let follows = match error.part {
            Part::Body => self.stand_ins.iter().any(is_about),
            Part::Parameter | Part::Header => self.has(error.part, &error.name),
        };
        if !follows {
            self.errors.push(error);
        }
    }

    /// Whether a mistake in this parameter or header is known.
    pub(crate) fn has(&self, part: Part, name: &str) -> bool {
        let mut known = self.errors.iter();
        known.any(|known| (known.part, known.name.as_str()) == (part, name))
    }

    /// Returns the value, or adds the mistake at this pointer.
    pub fn take<T>(&mut self, pointer: &str, parsed: Result<T, impl Display>) -> Option<T> {
        self.value(parsed.map_err(|error| FieldError::new(pointer, error.to_string())))
    }

    /// [`take`](Self::take) for a header.
    pub fn take_header<T>(&mut self, name: &str, parsed: Result<T, impl Display>) -> Option<T> {
        self.value(parsed.map_err(|error| FieldError::header(name, error.to_string())))
    }

    /// [`take`](Self::take) for a parameter.
    pub fn take_parameter<T>(&mut self, name: &str, parsed: Result<T, impl Display>) -> Option<T> {
        self.value(parsed.map_err(|error| FieldError::parameter(name, error.to_string())))
    }

    fn value<T>(&mut self, parsed: Result<T, FieldError>) -> Option<T> {
        parsed.map_err(|error| self.push(error)).ok()
    }

    /// [`take`](Self::take) for a number: the mistake repeats the number.
    pub fn take_number<T>(
        &mut self,
        pointer: &str,
        sent: i64,
        parsed: Result<T, impl Display>,
    ) -> Option<T> {
        let parsed = parsed.map_err(|error| error.to_string());
        let beside =
            |sent: &str, error: &str| error.replacen("is not ", &format!("{sent}, not "), 1);
        // These two values stand in for a number beyond an `i64`. Its mistake names the range of an
        // `i64`; the field's own range is more useful.
        if let (i64::MIN | i64::MAX, Err(error)) = (sent, &parsed)
            && let Some(known) = self.errors.iter_mut().find(|known| known.name == pointer)
            && let Some((sent, _)) = known.detail.split_once(", not ")
        {
            known.detail = beside(sent, error);
            return None;
        }
        let sent = format!("is {sent}");
        self.take(pointer, parsed.map_err(|error| beside(&sent, &error)))
    }

    /// The 400 that lists the mistakes.
    pub fn into_problem(self) -> Problem {
        let mut problem = Problem::invalid(self.errors);
        if self.may_be_more && problem.errors.len() > 1 {
            problem.detail.insert_str(0, "at least ");
        }
        problem
    }

    /// The value, or the problem if there are mistakes.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        if !self.errors.is_empty() {
            return Err(self.into_problem());
        }
        value.ok_or_else(|| Problem::internal("a request was refused without a reason"))
    }
}

/// A name from the caller, short enough for an answer.
pub(crate) fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        None => name.to_owned(),
        Some(_) => name.chars().take(MAX_NAME - 1).chain(['…']).collect(),
    }
}

/// Whether a JSON Pointer names this place or a place within it.
pub(crate) fn is_within(pointer: &str, place: &str) -> bool {
    let rest = pointer.strip_prefix(place);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The reason why a request failed.
#[derive(Debug)]
pub struct Problem {
    kind: &'static ProblemType,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    challenge: &'static str,
    allow: Option<String>,
    cause: Option<Error>,
}

impl Problem {
    /// A problem of this type. The detail is about this request.
    pub fn new(kind: &'static ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
            challenge: r#"Bearer realm="waybill""#,
            allow: None,
            cause: None,
        }
    }

    /// 400: these fields, parameters or headers are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.name.is_empty() => only.detail.clone(),
            [only] => format!("{} {}", only.name, only.detail),
            _ => format!("{} things are wrong; see errors", errors.len()),
        };
        Self {
            errors,
            ..Self::new(&INVALID_REQUEST, detail)
        }
    }

    /// 400 for one field of the body.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, detail)])
    }

    /// 400 for one parameter of the path or the query.
    pub fn invalid_parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::parameter(name, detail)])
    }

    /// 401: the request does not identify its caller.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(&UNAUTHORIZED, detail)
    }

    /// 401: the token is not valid.
    pub fn invalid_token(detail: impl Into<String>) -> Self {
        Self {
            challenge: r#"Bearer realm="waybill", error="invalid_token""#,
            ..Self::unauthorized(detail)
        }
    }

    /// 404: no such resource, or the caller may not know of it.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(&NOT_FOUND, detail)
    }

    /// 405: the path takes only these methods (RFC 9110 §15.5.6).
    pub fn method_not_allowed(allow: String) -> Self {
        Self {
            allow: Some(allow.clone()),
            ..Self::new(&METHOD_NOT_ALLOWED, format!("this path takes {allow}"))
        }
    }

    /// 412: a condition of the request does not hold (RFC 9110 §15.5.13).
    pub fn precondition_failed() -> Self {
        Self::new(
            &PRECONDITION_FAILED,
            "nothing was changed, because the ETag is not the one that the request names; read the \
             resource again, then decide",
        )
    }

    /// 413: the body is too long.
    pub fn payload_too_large(limit_bytes: usize) -> Self {
        let detail = format!("a request body has at most {limit_bytes} bytes");
        Self::new(&PAYLOAD_TOO_LARGE, detail)
    }

    /// 415: the headers do not declare JSON.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(&UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 429: the client must wait.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        let detail = format!("try again in {retry_after_seconds} seconds");
        Self::new(&TOO_MANY_REQUESTS, detail).with_retry_after(retry_after_seconds)
    }

    /// 503: a dependency does not answer; the client may retry.
    pub fn unavailable(cause: impl Into<Error>) -> Self {
        let detail =
            "nothing was lost; try again shortly, with the same Idempotency-Key where you sent one";
        Self::new(&UNAVAILABLE, detail)
            .with_retry_after(1)
            .with_cause(cause)
    }

    /// 503 for a request that may have succeeded and must not be repeated blindly. It has no
    /// `Retry-After`; the detail says how to find out.
    pub fn outcome_unknown(detail: impl Into<String>, cause: impl Into<Error>) -> Self {
        Self::new(&OUTCOME_UNKNOWN, detail).with_cause(cause)
    }

    /// 500: a bug.
    pub fn internal(cause: impl Into<Error>) -> Self {
        let detail = "the failure has been logged; name the instance when you report it";
        Self::new(&INTERNAL, detail).with_cause(cause)
    }

    /// Says how long the client has to wait.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds a cause for the log.
    pub fn with_cause(mut self, cause: impl Into<Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.kind.status
    }

    /// The type without its prefix, for example `invalid-request`.
    pub fn slug(&self) -> &'static str {
        self.kind.slug
    }

    /// The fields that are wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The text about this request.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The cause with its sources.
    pub(crate) fn cause(&self) -> Option<String> {
        let cause = self.cause.as_deref();
        cause.map(|cause| telemetry::chain(cause))
    }

    /// The response.
    pub(crate) fn into_response(self, context: &Context) -> Response {
        let ProblemType {
            slug,
            status,
            title,
            ..
        } = *self.kind;
        let mut body = json!({
            // RFC 9457 §3.1.1 asks for the full path in a relative reference.
            "type": format!("/problems/{slug}"),
            "urn": format!("urn:waybill:problem:{slug}"),
            "title": title,
            "status": status,
            "detail": self.detail,
            "instance": format!("urn:waybill:trace:{}", context.trace_id()),
        });
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        let mut response =
            Response::json(status, &body).with_header("content-type", "application/problem+json");
        if let Some(seconds) = self.retry_after_seconds {
            response = response.with_header("retry-after", seconds.to_string());
        }
        if let Some(allow) = self.allow {
            response = response.with_header("allow", allow);
        }
        if status == UNSUPPORTED_MEDIA_TYPE.status {
            // RFC 9110 §15.5.16: names the accepted types.
            response = response
                .with_header("accept", "application/json")
                .with_header("accept-encoding", "identity");
        }
        if status == UNAUTHORIZED.status {
            // RFC 6750 §3: the challenge names the scheme, and the error if a token was sent.
            response = response.with_header("www-authenticate", self.challenge);
        }
        response
    }
}
