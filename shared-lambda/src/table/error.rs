//! What went wrong with a table, told apart by what the caller can do about it.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::Error;
use crate::failure::Failure;
use crate::problem::Problem;

/// Service errors that go away by themselves (DynamoDB developer guide, "Error handling").
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

/// A call to the table that failed for a reason that is not part of its contract. Failed
/// conditions are outcomes, not errors: stores handle those themselves.
#[derive(Debug, thiserror::Error)]
#[error("the table did not carry out: {operation}")]
pub struct TableError {
    operation: &'static str,
    kind: Kind,
    source: Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It goes away by itself.
    Transient,
    /// Others kept getting in first: nothing was written.
    Contended,
    /// What is stored is not what this code writes: it stays until somebody mends the row.
    Corrupt,
    Permanent,
}

impl TableError {
    /// `operation` says what was wanted in the service's own words: "reserve stock".
    pub fn new<E, R>(operation: &'static str, error: SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let transient = match &error {
            // An answer without a code is not DynamoDB's own but of something before it.
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

    /// Contention that outlasted the tries it was given.
    pub fn contended(operation: &'static str) -> Self {
        Self {
            operation,
            kind: Kind::Contended,
            source: "other writers kept getting in first".into(),
        }
    }

    /// A row that is not what this code writes.
    pub fn corrupt(operation: &'static str, source: impl Into<Error>) -> Self {
        Self {
            operation,
            kind: Kind::Corrupt,
            source: source.into(),
        }
    }

    /// Whether it goes away by itself. Anything else is a fault of the code or of a row.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Transient | Kind::Contended)
    }

    /// Whether a write may have been made all the same: the answer to one of its tries may be what
    /// was lost.
    pub fn is_unknown_outcome(&self) -> bool {
        self.kind == Kind::Transient
    }

    /// The problem of a write that would count twice if it were simply sent again, which only an
    /// `Idempotency-Key` makes safe. `how_to_tell` says how to find out whether it was made.
    pub fn of_write(self, has_key: bool, how_to_tell: impl Into<String>) -> Problem {
        if has_key || !self.is_unknown_outcome() {
            return self.into();
        }
        Problem::outcome_unknown(how_to_tell, self)
    }

    /// Whether it is a stored row that cannot be read, which no later try can change.
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
        // A row that cannot be read stays so until somebody mends it, and sends the message back then.
        if error.is_corrupt() {
            return Failure::unprocessable("it meets a row that cannot be read").because(error);
        }
        Failure::retry("its table did not carry it out", error)
    }
}
