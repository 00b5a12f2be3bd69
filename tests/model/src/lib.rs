//! Every interleaving of a few orders, on the decisions of the four services.
//!
//! The search runs production code: `decide`, `owed` and `place` of orders, the reservation and
//! stock decisions of inventory, `decide` and `settle` of payments, and `may_order` of users. Rows
//! and messages are values in memory; writes follow the stores' conditions ([`services`]).
//!
//! It does not cover the stores' expressions, the wire format, the queue runner or real queues. The
//! simulation covers those.

pub mod coverage;
pub mod exhaustive;
pub mod messages;
pub mod participants;
pub mod services;
