//! The base of every test: an AWS of its own, in process, beneath the real SDK clients.
//!
//! [`Aws`] gives real `aws-sdk-dynamodb` and `aws-sdk-sqs` clients whose HTTP client opens no socket.
//! DynamoDB requests reach an in-memory engine (dynoxide, on SQLite), SQS requests in-memory queues.
//! Instances share nothing, so tables keep the names of their templates and tests run at once.
//!
//! [`Fault`]s are injected beneath the client, so a handler sees the SDK's errors after the SDK's
//! retries. Stale reads and transaction conflicts occur only if injected. There is no clock, so
//! visibility timeouts and request tokens do not expire (see [`Aws::redeliver`] and
//! [`Call::without_token`]).
//!
//! A test that crashes at every write, then redelivers:
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

pub mod alarms;
mod aws;
pub mod contracts;
mod crashable;
mod dynamodb;
pub mod events;
mod fault;
pub mod released;
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
