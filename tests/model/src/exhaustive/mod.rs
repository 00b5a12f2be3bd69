//! The exhaustive tier: every interleaving of a few orders that contend for the same units.
//!
//! The network is unordered, repeats and loses: a message once sent may arrive at any time, any
//! number of times, or never, and every handler may die between what it writes and what it sends.
//! Neither is bounded. Time is abstract: an order in flight may be found due at any moment, and
//! every attempt but the last is like the first. That makes the space of states finite without a
//! limit on anything but the number of orders and of payment handlers that run side by side.
//!
//! In each state it is checked that nothing is oversold and no unit is lost or made, that nothing
//! is charged twice or refunded beyond the charge, that an order that has ended is right with
//! inventory and the provider from that moment on, that no message changes it any more, and that no
//! participant says what its partner must take for a contradiction. From each state there must be a
//! way on which every order ends. And everything worth seeing must have been seen
//! ([`Situation`](crate::situation::Situation)): a search that cannot get into trouble proves nothing.
//!
//! The search is our own. stateright 0.31 would do the walking, but it always brings its web
//! explorer, tells states apart by a 64-bit hash alone, has no "from every state a way leads to",
//! and its "eventually" is documented to miss counterexamples on graphs with cycles or joins, which
//! a network that repeats is made of. What makes the space small enough is specific to this system
//! anyway (see `share`): orders meet in an item's levels and nowhere else.

mod config;
mod outcome;
mod scene;
mod search;
mod share;
mod steps;

pub use config::Config;
pub use outcome::{Counterexample, Outcome};

use crate::services::{Production, Services};
use search::{MAX_ORDERS, Search};

/// Production, in one configuration, to the end.
pub fn run(config: Config) -> Outcome {
    try_services(&Production, config)
}

/// The same of any services.
pub fn try_services<S: Services>(services: &S, config: Config) -> Outcome {
    assert!(
        (1..=MAX_ORDERS).contains(&config.orders) && (1..=2).contains(&config.handlers_at_once),
        "1 to {MAX_ORDERS} orders, and 1 or 2 handlers at once"
    );
    Search::new(services, config).run()
}
