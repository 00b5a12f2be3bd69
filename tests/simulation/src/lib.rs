//! The deterministic simulation: the production handlers, stores and decisions of all four
//! services, on a real DynamoDB engine in process, with simulated queues and time.
//!
//! A seed decides everything: who orders what, which of all waiting calls goes next, what is
//! delivered twice, late or never, what dies where. The invariants are checked after every write
//! ([`books`]), and once more when the world has come to rest, where each order must have ended for a
//! reason ([`endings`]) and been let in for one ([`permissions`]); then every message ever sent is
//! delivered twice again, and the tables must not change. The same seed gives the same run, to the
//! last step.

pub mod abandoning;
pub mod books;
pub mod chance;
pub mod clients;
pub mod clock;
pub mod endings;
pub mod gate;
pub mod handled;
pub mod history;
pub mod network;
pub mod participants;
pub mod permissions;
pub mod report;
pub mod run;
pub mod script;
pub mod services;
pub mod system;
pub mod tables;
pub mod template_config;
pub mod wiring;
