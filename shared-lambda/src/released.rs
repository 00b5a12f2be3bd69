//! Constructors that only the last release's services use. `cargo xtask compat` builds those services on
//! this crate.

use crate::problem::{Problem, ProblemType};

/// Of a few types; a test runs once.
fn kind(status: u16, slug: &'static str) -> &'static ProblemType {
    Box::leak(Box::new(ProblemType {
        slug,
        status,
        title: "A problem of the last release",
        when: "",
        remedy: "",
    }))
}

#[allow(missing_docs)]
impl Problem {
    pub fn not_authenticated(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(kind(401, slug), detail)
    }

    pub fn forbidden(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(kind(403, slug), detail)
    }

    pub fn conflict(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(kind(409, slug), detail)
    }

    pub fn unprocessable(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(kind(422, slug), detail)
    }

    pub fn too_many(slug: &'static str, detail: impl Into<String>, seconds: u32) -> Self {
        Self::new(kind(429, slug), detail).with_retry_after(seconds)
    }
}
