//! The deterministic simulation: production's handlers, stores and decisions of all four services,
//! on a real DynamoDB engine in process, with simulated queues and time.
//!
//! A seed decides everything: the orders, the next call, duplicates, delays, losses and crashes.
//! The same seed gives the same run. The invariants are checked after every write ([`invariants`]).
//! At the end, each order must have a valid outcome ([`outcomes`]) and a user who could be active
//! ([`permissions`]). Then every message is delivered twice more, and no row may change.

pub mod abandonment;
pub mod clients;
pub mod clock;
pub mod fault_profile;
pub mod handled;
pub mod history;
pub mod invariants;
pub mod network;
pub mod outcomes;
pub mod participants;
pub mod pending_calls;
pub mod permissions;
pub mod report;
pub mod run;
pub mod script;
pub mod services;
pub mod system;
pub mod tables;
pub mod template_config;
pub mod wiring;

/// The simulation and its tests spend much of their time in the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
