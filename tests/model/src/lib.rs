//! Every interleaving of a few orders, on the pure cores of the four services.
//!
//! The search runs what production runs: `decide`, `owed` and `place` of orders, the reservation and
//! stock decisions of inventory, `decide` and `settle` of payments and users' `may_order`. Around
//! these it puts rows as values in memory, written under the stores' conditions ([`services`]), and
//! messages as values that are lost, repeated, late and in any order.
//!
//! It cannot see the stores' expressions, the wire format, the runner's batches or real queues. The
//! simulation of the real handlers on a real engine shows those.

pub mod exhaustive;
pub mod messages;
pub mod participants;
pub mod services;
pub mod situation;
