//! Errors of a table, grouped by the caller's next step.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::Error;
use crate::failure::Failure;
use crate::problem::Problem;

/// Temporary service errors (DynamoDB developer guide, "Error handling").
const TRANSIENT: [&str; 9] = [
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// A failed call to the table. Failed conditions are outcomes, not errors: stores handle them.
#[derive(Debug, thiserror::Error)]
#[error("the table call failed: {operation}")]
pub struct TableError {
    operation: &'static str,
    kind: Kind,
    source: Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Temporary.
    Transient,
    /// Other writers won every try; nothing was written.
    Contended,
    /// The row is invalid until an operator repairs it.
    Corrupt,
    Permanent,
}

impl TableError {
    /// `operation` names the call in the service's words: "reserve stock".
    pub fn new<E, R>(operation: &'static str, error: SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let transient = match &error {
            // An answer without a code comes from a proxy, not from DynamoDB.
            SdkError::ServiceError(service) => service
                .err()
                .code()
                .is_none_or(|code| TRANSIENT.contains(&code)),
            SdkError::TimeoutError(_)
            | SdkError::DispatchFailure(_)
            | SdkError::ResponseError(_) => true,
            _ => false,
        };
        Self {
            operation,
            kind: if transient {
                Kind::Transient
            } else {
                Kind::Permanent
            },
            source: error.into(),
        }
    }

    /// Contention that outlasted all tries.
    pub fn contended(operation: &'static str) -> Self {
        Self {
            operation,
            kind: Kind::Contended,
            source: "other writers kept getting in first".into(),
        }
    }

    /// A row that this code cannot read.
    pub fn corrupt(operation: &'static str, source: impl Into<Error>) -> Self {
        Self {
            operation,
            kind: Kind::Corrupt,
            source: source.into(),
        }
    }

    /// Whether it is temporary. Every other error is a bug or an invalid row.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Transient | Kind::Contended)
    }

    /// Whether the write may have succeeded: perhaps only the answer was lost.
    pub fn is_unknown_outcome(&self) -> bool {
        self.kind == Kind::Transient
    }

    /// The problem for a write that a repeat would make twice, unless there is an `Idempotency-Key`.
    /// `how_to_tell` explains how to find out whether it was made.
    pub fn of_write(self, has_key: bool, how_to_tell: impl Into<String>) -> Problem {
        if has_key || !self.is_unknown_outcome() {
            return self.into();
        }
        Problem::outcome_unknown(how_to_tell, self)
    }

    /// Whether the cause is an unreadable row. Retries do not help.
    pub fn is_corrupt(&self) -> bool {
        self.kind == Kind::Corrupt
    }
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        if error.is_transient() {
            Problem::unavailable(error)
        } else {
            Problem::internal(error)
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        // An operator repairs the row, then redrives the message.
        if error.is_corrupt() {
            return Failure::unprocessable("a row that it needs cannot be read").because(error);
        }
        Failure::retry("the table call failed", error)
    }
}
