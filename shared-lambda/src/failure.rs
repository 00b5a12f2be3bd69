//! The failure of a message.

use crate::Error;

/// The reason why a message was not handled, and whether a later try can succeed.
#[derive(Debug)]
pub struct Failure {
    detail: String,
    cause: Option<Error>,
    retry: bool,
}

impl Failure {
    /// A dependency failed or was contended: SQS delivers the message again after a growing wait.
    pub fn retry(detail: impl Into<String>, cause: impl Into<Error>) -> Self {
        Self {
            detail: detail.into(),
            cause: Some(cause.into()),
            retry: true,
        }
    }

    /// No later try can succeed. SQS delivers the message again without a wait. After the last delivery
    /// it moves the message to the dead-letter queue, where an operator finds it.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            cause: None,
            retry: false,
        }
    }

    /// Adds the cause, for the log.
    pub fn because(mut self, cause: impl Into<Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The text that the log shows.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether a later delivery can succeed.
    pub fn is_retried(&self) -> bool {
        self.retry
    }

    /// The underlying error, if there is one.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
