//! What went wrong with a table, told apart by what the caller can do about it; and how lists treat
//! a row that cannot be read.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};

use crate::Error;
use crate::failure::Failure;
use crate::problem::Problem;

use crate::telemetry::chain;

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

    /// Whether it is a stored row that cannot be read, which no later try can change.
    pub fn is_corrupt(&self) -> bool {
        self.kind == Kind::Corrupt
    }
}

/// A row as DynamoDB returns it.
pub type Row = HashMap<String, AttributeValue>;

/// The rows of a list.
#[derive(Debug)]
pub struct Rows<T> {
    pub readable: Vec<T>,
    pub unreadable: Vec<Unreadable>,
}

/// A row that is not what this code writes.
#[derive(Debug)]
pub struct Unreadable {
    /// The row's partition key, or `?` where it has none.
    pub pk: String,
    pub error: TableError,
}

/// Reads the rows of a list, in their order. One bad row must not hide the others, so a row that
/// `parse` refuses is left out and logged as an error. All lists of all services read through here.
pub fn read_rows<T>(
    table: &str,
    rows: impl IntoIterator<Item = Row>,
    mut parse: impl FnMut(Row) -> Result<T, TableError>,
) -> Rows<T> {
    let mut read = Rows {
        readable: Vec::new(),
        unreadable: Vec::new(),
    };
    for row in rows {
        let pk = row.get("pk").and_then(|pk| pk.as_s().ok()).cloned();
        match parse(row) {
            Ok(value) => read.readable.push(value),
            Err(error) => {
                let pk = pk.unwrap_or_else(|| "?".to_owned());
                tracing::error!(
                    event = "row_unreadable",
                    table,
                    pk,
                    cause = chain(&error),
                    "a row cannot be read and is left out of a list; \
                     repair the attribute that the cause names, or delete the row"
                );
                read.unreadable.push(Unreadable { pk, error });
            }
        }
    }
    read
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

/// Why each part of a transaction was cancelled, in the order of its items; nothing where it
/// failed for another reason.
pub fn cancellation_reasons<R>(
    error: &SdkError<TransactWriteItemsError, R>,
) -> Option<&[CancellationReason]> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            Some(cancelled.cancellation_reasons())
        }
        _ => None,
    }
}

/// Whether an item's own condition is what failed.
pub fn condition_failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Whether another transaction held an item just then, or too much was going on; trying again is
/// right.
pub fn was_contended(reasons: &[CancellationReason]) -> bool {
    reasons.iter().any(|reason| {
        matches!(
            reason.code(),
            Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
        )
    })
}
