//! The exhaustive search: every interleaving of a few orders that contend for the same units.
//!
//! A sent message can arrive at any time, repeatedly or never. A handler can crash between its
//! write and its send. Time is abstract: an order in flight can be due at any moment, and every
//! attempt but the last equals the first. So the state space is finite; only the orders and the
//! payment handlers at once are bounded.
//!
//! Each state is checked. Stock is never oversold, lost or created. An order is charged at most
//! once, and a refund never exceeds the charge. The rows of an ended order match, and no message
//! changes them. No participant contradicts another. From each state, every order must be able to
//! end. Each [`CoverageGoal`](crate::coverage::CoverageGoal) must be reached, because a search
//! without difficult states proves nothing.
//!
//! The search is our own: stateright 0.31 always includes its web explorer, compares states by a
//! 64-bit hash alone, and has no "from every state, eventually". Its "eventually" misses
//! counterexamples on graphs with cycles or joins, as its documentation says. Local states (see
//! `local_state`) keep this state space small.

mod config;
mod fixture;
mod local_state;
mod outcome;
mod search;
mod steps;

pub use config::Config;
pub use outcome::{Counterexample, Outcome};

use crate::services::{Production, Services};
use search::{MAX_ORDERS, Search};

/// Searches production in one configuration.
pub fn run(config: Config) -> Outcome {
    try_services(&Production, config)
}

/// Searches any services.
pub fn try_services<S: Services>(services: &S, config: Config) -> Outcome {
    assert!(
        (1..=MAX_ORDERS).contains(&config.orders) && (1..=2).contains(&config.handlers_at_once),
        "1 to {MAX_ORDERS} orders, and 1 or 2 handlers at once"
    );
    Search::new(services, config).run()
}
