//! Why a message was not handled, and whether a later try can succeed.

use crate::Error;

/// Why a message was not handled.
#[derive(Debug)]
pub struct Failure {
    detail: String,
    cause: Option<Error>,
    retry: bool,
}

impl Failure {
    /// Something did not answer or was contended: the message comes back after a growing wait.
    pub fn retry(detail: impl Into<String>, cause: impl Into<Error>) -> Self {
        Self {
            detail: detail.into(),
            cause: Some(cause.into()),
            retry: true,
        }
    }

    /// No later try can succeed: the message comes back at once until the queue's redrive policy
    /// moves it to the dead-letter queue, where an operator finds it whole.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            cause: None,
            retry: false,
        }
    }

    /// Adds what was beneath it, for the log.
    pub fn because(mut self, cause: impl Into<Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What the log says.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether a later delivery can succeed.
    pub fn is_retried(&self) -> bool {
        self.retry
    }

    /// What was the matter beneath, where there is more to it than the detail.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
