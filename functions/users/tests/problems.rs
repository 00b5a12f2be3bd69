//! The problems that the tests expect, whole.

use serde_json::{Value, json};
use shared_lambda::http::Response;

use crate::world::{INSTANCE, body_of};

pub fn assert_problem(response: &Response, expected: &Value) {
    assert_eq!(body_of(response), *expected);
    assert_eq!(json!(response.status), expected["status"]);
    let kind = response.header("content-type");
    assert_eq!(kind, Some("application/problem+json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

fn problem(status: u16, slug: &str, detail: &str) -> Value {
    let title = match slug {
        "invalid-request" => "The request is not valid",
        "invalid-credentials" => "The login failed",
        "invalid-refresh-token" => "The refresh token is not valid",
        "admin-only" => "The caller is not an administrator",
        "deactivated" => "The account is deactivated",
        "not-found" => "There is no such resource",
        "email-taken" => "The e-mail address is taken",
        "precondition-failed" => "The resource has changed",
        "idempotency-key-reused" => "The Idempotency-Key belongs to another request",
        "own-rights" => "Administrators cannot change their own rights",
        "too-many-requests" => "Too many requests",
        "internal" => "Something went wrong here",
        "unavailable" => "The service is busy or not reachable",
        _ => panic!("no test expects {slug}"),
    };
    json!({
        "type": format!("/problems/{slug}"),
        "urn": format!("urn:waybill:problem:{slug}"),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": INSTANCE,
    })
}

/// With the pointer and detail of each error.
pub fn invalid(errors: &[(&str, &str)]) -> Value {
    let detail = match errors {
        [("", detail)] => (*detail).to_owned(),
        [(pointer, detail)] => format!("{pointer} {detail}"),
        _ => format!("{} things are wrong; see errors", errors.len()),
    };
    let mut problem = problem(400, "invalid-request", &detail);
    let error = |(name, detail): (&str, &str)| match name.chars().next() {
        None | Some('/') => json!({"pointer": name, "detail": detail}),
        Some('A'..='Z') => json!({"header": name, "detail": detail}),
        Some(_) => json!({"parameter": name, "detail": detail}),
    };
    problem["errors"] = errors.iter().copied().map(error).collect();
    problem
}

pub fn invalid_credentials() -> Value {
    const DETAIL: &str =
        "the e-mail address or the password is wrong, or the account is not active";
    problem(401, "invalid-credentials", DETAIL)
}

pub fn invalid_refresh_token() -> Value {
    const DETAIL: &str = "the refresh token is not valid or no longer valid; log in again";
    problem(401, "invalid-refresh-token", DETAIL)
}

pub fn admin_only() -> Value {
    problem(403, "admin-only", "only an administrator may manage users")
}

pub fn deactivated() -> Value {
    problem(403, "deactivated", "your account is deactivated")
}

pub fn no_such_user() -> Value {
    const DETAIL: &str = "there is no such user, or you may not see it";
    problem(404, "not-found", DETAIL)
}

pub fn email_taken() -> Value {
    const DETAIL: &str = "this e-mail address is already registered; log in instead";
    problem(409, "email-taken", DETAIL)
}

pub fn precondition_failed() -> Value {
    const DETAIL: &str = "nothing was changed, because the ETag is not the one that the request names; \
                          read the resource again, then decide";
    problem(412, "precondition-failed", DETAIL)
}

pub fn key_reused() -> Value {
    const DETAIL: &str = "this Idempotency-Key belongs to another registration of this address; log in, \
                          or send a new key";
    problem(422, "idempotency-key-reused", DETAIL)
}

pub fn own_rights() -> Value {
    const DETAIL: &str = "you cannot change your own role or status, so that one administrator \
                          always remains; ask another administrator";
    problem(409, "own-rights", DETAIL)
}

pub fn too_many_requests(seconds: u32) -> Value {
    let detail = format!("try again in {seconds} seconds");
    problem(429, "too-many-requests", &detail)
}

pub fn internal() -> Value {
    const DETAIL: &str = "the failure has been logged; name the instance when you report it";
    problem(500, "internal", DETAIL)
}

pub fn unavailable() -> Value {
    const DETAIL: &str =
        "nothing was lost; try again shortly, with the same Idempotency-Key where you sent one";
    problem(503, "unavailable", DETAIL)
}
