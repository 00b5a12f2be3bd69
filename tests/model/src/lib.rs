//! The saga under every fault, on the pure cores of the four services: a random tier that is fast
//! and a small one that is exhaustive.
//!
//! Both run what production runs, `decide`, `owed` and `place` of orders, the reservation and stock
//! decisions of inventory, `decide` and `settle` of payments and users' `may_order`, and put around
//! it what is not pure: rows as values in memory, written under the stores' conditions
//! ([`services`]), and messages as values that are lost, repeated, late and in any order.
//!
//! - [`soup`] walks through one of very many interleavings per seed: handlers side by side, cut at
//!   every read, write and send.
//! - [`exhaustive`] walks through all interleavings of a few orders.
//!
//! What neither can see: the stores' expressions, the wire format, the runner's batches, real
//! queues. Those are shown by the simulation of the real handlers on a real engine.

pub mod chance;
pub mod exhaustive;
pub mod messages;
pub mod participants;
pub mod services;
pub mod situation;
pub mod soup;
