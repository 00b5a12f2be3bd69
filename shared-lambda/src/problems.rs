//! The problem types that functions of more than one service answer. A service's own types are in
//! its `problems.rs`.

/// A type of problem (RFC 9457 §3.1): a client decides by it, and `/problems/SLUG` explains it.
///
/// All types are constants in a `problems.rs`. `xtask::problem_types` reads these files for the
/// documents and pages, so they have no other form.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// Its name, which never changes.
    pub slug: &'static str,
    /// The HTTP status of each answer with this type: 4xx or 5xx.
    pub status: u16,
    /// The same text in each answer.
    pub title: &'static str,
    /// When it occurs; Markdown.
    pub when: &'static str,
    /// The caller's next step; Markdown.
    pub remedy: &'static str,
}

/// The request is wrong; `errors` says where.
pub const INVALID_REQUEST: ProblemType = ProblemType {
    slug: "invalid-request",
    status: 400,
    title: "The request is not valid",
    when: "the body, a header or a parameter is wrong",
    remedy: "correct what `errors` lists",
};

/// The access token identifies no caller.
pub const UNAUTHORIZED: ProblemType = ProblemType {
    slug: "unauthorized",
    status: 401,
    title: "The caller is not authenticated",
    when: "the access token is missing, expired or not valid",
    remedy: "refresh the token, or log in",
};

/// Only administrators may do this.
pub const ADMIN_ONLY: ProblemType = ProblemType {
    slug: "admin-only",
    status: 403,
    title: "The caller is not an administrator",
    when: "the caller is not an administrator, or is not one any more",
    remedy: "use an administrator's account",
};

/// No such resource, or the caller may not know of it.
pub const NOT_FOUND: ProblemType = ProblemType {
    slug: "not-found",
    status: 404,
    title: "There is no such resource",
    when: "the path or the resource does not exist, or the caller may not see it",
    remedy: "check path and id",
};

/// The path has no such method.
pub const METHOD_NOT_ALLOWED: ProblemType = ProblemType {
    slug: "method-not-allowed",
    status: 405,
    title: "The path does not take this method",
    when: "the path does not take this method",
    remedy: "use one of the methods in `Allow`",
};

/// A condition of the request does not hold (RFC 9110 §15.5.13).
pub const PRECONDITION_FAILED: ProblemType = ProblemType {
    slug: "precondition-failed",
    status: 412,
    title: "The resource has changed",
    when: "the resource has another `ETag` than `If-Match` names",
    remedy: "read it again, then decide",
};

/// The body is too long.
pub const PAYLOAD_TOO_LARGE: ProblemType = ProblemType {
    slug: "payload-too-large",
    status: 413,
    title: "The request body is too large",
    when: "the body is longer than 65,536 bytes",
    remedy: "send a shorter body",
};

/// The headers do not declare plain JSON.
pub const UNSUPPORTED_MEDIA_TYPE: ProblemType = ProblemType {
    slug: "unsupported-media-type",
    status: 415,
    title: "The type of the request body is not supported",
    when: "the body is not `application/json` in UTF-8, or is compressed",
    remedy: "set `Content-Type: application/json`, send no `Content-Encoding`",
};

/// The key was used for another request.
pub const IDEMPOTENCY_KEY_REUSED: ProblemType = ProblemType {
    slug: "idempotency-key-reused",
    status: 422,
    title: "The Idempotency-Key belongs to another request",
    when: "an earlier request with this `Idempotency-Key` asked for something else",
    remedy: "use a new key",
};

/// The rate of requests is limited.
pub const TOO_MANY_REQUESTS: ProblemType = ProblemType {
    slug: "too-many-requests",
    status: 429,
    title: "Too many requests",
    when: "too many failed logins, refreshes or password changes, or too many registrations",
    remedy: "wait for `Retry-After` seconds",
};

/// A bug: a retry does not help.
pub const INTERNAL: ProblemType = ProblemType {
    slug: "internal",
    status: 500,
    title: "Something went wrong here",
    when: "Waybill has a bug",
    remedy: "report the `instance`",
};

/// A dependency does not answer: a retry helps.
pub const UNAVAILABLE: ProblemType = ProblemType {
    slug: "unavailable",
    status: 503,
    title: "The service is busy or not reachable",
    when: "a service that Waybill needs does not answer; nothing was lost",
    remedy: "send it again after `Retry-After` seconds",
};

/// A write without an answer, which must not be repeated blindly.
pub const OUTCOME_UNKNOWN: ProblemType = ProblemType {
    slug: "outcome-unknown",
    status: 503,
    title: "The outcome of the request is not known",
    when: "the change may have been made, and the request had no `Idempotency-Key`",
    remedy: "read first, as `detail` says; then send it again if the change was not made",
};
