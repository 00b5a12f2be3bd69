//! Errors for clients: `application/problem+json` (RFC 9457).
//!
//! A problem has two halves. The client reads the type, title, status, detail and fields. The cause is
//! for the log only, and no code here can put it into an answer.

use std::fmt::Display;

use serde::Serialize;
use serde_json::json;

use crate::response::Response;
use crate::{Context, Error, telemetry};

/// The longest name from a caller that an answer repeats, in characters.
const MAX_NAME: usize = 64;

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON Pointer (RFC 6901) into the body, or the name of a parameter or header.
    pub pointer: String,
    /// The mistake and the accepted values.
    pub detail: String,
}

impl FieldError {
    /// A mistake at a place.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// Collects the mistakes in a request, so that one answer reports them all.
#[derive(Debug, Default)]
pub struct Fields {
    errors: Vec<FieldError>,
    /// Places with a missing or wrong value. Further mistakes there follow from the first.
    stand_ins: Vec<String>,
    /// Whether the search stopped before the end of the request.
    pub(crate) may_be_more: bool,
}

impl Fields {
    /// Starts with the mistakes in a body's JSON.
    pub(crate) fn of_body(
        errors: Vec<FieldError>,
        stand_ins: Vec<String>,
        may_be_more: bool,
    ) -> Self {
        Self {
            errors,
            stand_ins,
            may_be_more,
        }
    }

    /// Adds a mistake, unless it is about a stand-in.
    pub fn push(&mut self, error: FieldError) {
        let is_about =
            |place: &String| is_within(&error.pointer, place) || is_within(place, &error.pointer);
        if !self.stand_ins.iter().any(is_about) {
            self.errors.push(error);
        }
    }

    /// Returns the value, or adds the mistake.
    pub fn take<T>(&mut self, pointer: &str, parsed: Result<T, impl Display>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(FieldError::new(pointer, error.to_string()));
                None
            }
        }
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
            && let Some(known) = self
                .errors
                .iter_mut()
                .find(|known| known.pointer == pointer)
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

    /// The problem, if there are mistakes.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.into_problem())
        }
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

/// The statuses of problems. None is a 2xx, so an error cannot look like success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnprocessableContent,
    TooManyRequests,
    /// A bug: a retry does not help.
    Internal,
    /// A dependency does not answer: a retry helps.
    Unavailable,
}

impl Status {
    fn code(self) -> u16 {
        match self {
            Status::BadRequest => 400,
            Status::Unauthorized => 401,
            Status::Forbidden => 403,
            Status::NotFound => 404,
            Status::MethodNotAllowed => 405,
            Status::Conflict => 409,
            Status::PayloadTooLarge => 413,
            Status::UnsupportedMediaType => 415,
            Status::UnprocessableContent => 422,
            Status::TooManyRequests => 429,
            Status::Internal => 500,
            Status::Unavailable => 503,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Status::BadRequest => "The request is not valid",
            Status::Unauthorized => "The caller is not authenticated",
            Status::Forbidden => "The caller may not do this",
            Status::NotFound => "There is no such resource",
            Status::MethodNotAllowed => "The path does not take this method",
            Status::Conflict => "The resource does not allow this now",
            Status::PayloadTooLarge => "The request body is too large",
            Status::UnsupportedMediaType => "The type of the request body is not supported",
            Status::UnprocessableContent => "The request cannot be carried out as it stands",
            Status::TooManyRequests => "Too many requests",
            Status::Internal => "Something went wrong here",
            Status::Unavailable => "The service is busy or not reachable",
        }
    }
}

/// The reason why a request failed.
#[derive(Debug)]
pub struct Problem {
    status: Status,
    slug: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    challenge: &'static str,
    allow: Option<String>,
    cause: Option<Error>,
}

impl Problem {
    /// 400: these fields, parameters or headers are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.pointer.is_empty() => only.detail.clone(),
            [only] => format!("{} {}", only.pointer, only.detail),
            _ => format!("{} things are wrong; see errors", errors.len()),
        };
        Self {
            errors,
            ..Self::new(Status::BadRequest, "invalid-request", detail)
        }
    }

    /// 400 for one field.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, detail)])
    }

    /// 401: the request does not identify its caller.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(Status::Unauthorized, "unauthorized", detail)
    }

    /// 401 of another type: a credential other than a token is wrong.
    pub fn not_authenticated(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Status::Unauthorized, slug, detail)
    }

    /// 401: the token is not valid.
    pub fn invalid_token(detail: impl Into<String>) -> Self {
        Self {
            challenge: r#"Bearer realm="waybill", error="invalid_token""#,
            ..Self::unauthorized(detail)
        }
    }

    /// 403: the caller is known but not allowed.
    pub fn forbidden(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Status::Forbidden, slug, detail)
    }

    /// 404: no such resource, or the caller may not know of it.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Status::NotFound, "not-found", detail)
    }

    /// 405: the path takes only these methods (RFC 9110 §15.5.6).
    pub fn method_not_allowed(allow: String) -> Self {
        let detail = format!("this path takes {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(Status::MethodNotAllowed, "method-not-allowed", detail)
        }
    }

    /// 409: the state of the resource does not allow it.
    pub fn conflict(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Status::Conflict, slug, detail)
    }

    /// 413: the body is too long.
    pub fn payload_too_large(limit_bytes: usize) -> Self {
        Self::new(
            Status::PayloadTooLarge,
            "payload-too-large",
            format!("a request body has at most {limit_bytes} bytes"),
        )
    }

    /// 415: the headers do not declare JSON.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(
            Status::UnsupportedMediaType,
            "unsupported-media-type",
            detail,
        )
    }

    /// 422: well formed, but not possible.
    pub fn unprocessable(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Status::UnprocessableContent, slug, detail)
    }

    /// 429: the client must wait.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        let detail = format!("try again in {retry_after_seconds} seconds");
        Self::too_many("too-many-requests", detail, retry_after_seconds)
    }

    /// 429 of another type: a limit other than the request rate.
    pub fn too_many(
        slug: &'static str,
        detail: impl Into<String>,
        retry_after_seconds: u32,
    ) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(Status::TooManyRequests, slug, detail)
        }
    }

    /// 503: a dependency does not answer; the client may retry.
    pub fn unavailable(cause: impl Into<Error>) -> Self {
        Self {
            retry_after_seconds: Some(1),
            cause: Some(cause.into()),
            ..Self::new(
                Status::Unavailable,
                "unavailable",
                "nothing was lost; try again shortly, with the same Idempotency-Key where you sent one",
            )
        }
    }

    /// 503 for a request that may have succeeded and must not be repeated blindly. It has no
    /// `Retry-After`; the detail says how to find out.
    pub fn outcome_unknown(detail: impl Into<String>, cause: impl Into<Error>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(Status::Unavailable, "outcome-unknown", detail)
        }
    }

    /// 500: a bug.
    pub fn internal(cause: impl Into<Error>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                Status::Internal,
                "internal",
                "the failure has been logged; name the instance when you report it",
            )
        }
    }

    /// Adds a cause for the log.
    pub fn with_cause(mut self, cause: impl Into<Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.code()
    }

    /// The stable type without its prefix, for example `invalid-request`.
    pub fn slug(&self) -> &'static str {
        self.slug
    }

    /// The fields that are wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The response. A 5xx is logged here, once.
    pub(crate) fn into_response(self, context: &Context) -> Response {
        let status = self.status.code();
        let instance = format!("urn:waybill:trace:{}", context.trace_id());
        if status >= 500 {
            let cause = self.cause.as_deref().map(|cause| telemetry::chain(cause));
            tracing::error!(
                status,
                problem = self.slug,
                trace_id = context.trace_id(),
                detail = %self.detail,
                cause,
                "request failed"
            );
        } else {
            tracing::debug!(status, problem = self.slug, detail = %self.detail, "request refused");
        }
        let mut body = json!({
            "type": format!("urn:waybill:problem:{}", self.slug),
            "title": self.status.title(),
            "status": status,
            "detail": self.detail,
            "instance": instance,
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
        if self.status == Status::UnsupportedMediaType {
            // RFC 9110 §15.5.16: names the accepted types.
            response = response
                .with_header("accept", "application/json")
                .with_header("accept-encoding", "identity");
        }
        if self.status == Status::Unauthorized {
            // RFC 6750 §3: the challenge names the scheme, and the error if a token was sent.
            response = response.with_header("www-authenticate", self.challenge);
        }
        response
    }

    fn new(status: Status, slug: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            slug,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
            challenge: r#"Bearer realm="waybill""#,
            allow: None,
            cause: None,
        }
    }
}
