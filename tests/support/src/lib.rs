//! What each test stands on: an AWS of its own, in process, beneath the real SDK clients.
//!
//! [`Aws`] gives real `aws-sdk-dynamodb` and `aws-sdk-sqs` clients whose HTTP
//! client never opens a socket: DynamoDB requests reach an in-memory engine
//! (dynoxide, on SQLite), SQS requests reach in-memory queues. Nothing is
//! shared between two instances, so tables keep the names their templates give
//! them and tests run at once.
//!
//! Failure is injected beneath the client ([`Fault`]), so what a handler sees
//! is what it would see in production: the SDK's own error types after the
//! SDK's own retries. Not imitated: reads that are behind and transaction
//! conflicts by themselves (inject them), visibility timeouts and request
//! tokens that run out by themselves (there is no clock here; see
//! [`Aws::redeliver`] and [`Call::without_token`]).
//!
//! A walk of "die at every write, then redeliver" looks like this:
//!
//! ```text
//! for nth in 0..writes_of_a_clean_run {
//!     let aws = Aws::new();
//!     aws.fault_at(nth, Fault::KillAfter);
//!     assert!(crashable(handle(&aws, message)).await.is_none());
//!     handle(&aws, message).await.unwrap(); // the redelivery
//!     assert_eq!(aws.dump(&table), clean_table);
//! }
//! ```

mod aws;
pub mod contracts;
mod crashable;
mod dynamodb;
pub mod events;
mod fault;
mod sqs;
mod ssm;
pub mod template;
pub mod template_config;
mod wire;

pub use aws::Aws;
pub use crashable::crashable;
pub use fault::{Fault, Hook};
pub use sqs::Message;
pub use template::services;
pub use wire::Call;
