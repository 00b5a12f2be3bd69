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
//! ([`Situation`]): a search that cannot get into trouble proves nothing.
//!
//! The search is our own. stateright 0.31 would do the walking, but it always brings its web
//! explorer, tells states apart by a 64-bit hash alone, has no "from every state a way leads to",
//! and its "eventually" is documented to miss counterexamples on graphs with cycles or joins, which
//! a network that repeats is made of. What makes the space small enough is specific to this system
//! anyway (see `share`): orders meet in an item's levels and nowhere else.

mod search;
mod share;

use std::fmt;
use std::time::Duration;

use crate::services::{Production, Services};
use crate::situation::Situation;
use search::{MAX_ORDERS, Search};

/// How big a world is walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// At most 3.
    pub orders: usize,
    /// How many units of the one item there are; each order wants one.
    pub units: i8,
    /// How many handlers may be at one order's payment at once: 1 or 2.
    pub handlers_at_once: usize,
    /// Whether a message that was delivered may be lost all the same. It adds nothing to what can
    /// go wrong (a message that may never arrive again is as good as lost) but for the states in
    /// which only the sweeper can get things going. For one order only: it makes ninety conditions
    /// out of each (751,049 of [`Config::LOSSY`] instead of 8,303), and those of two orders multiply.
    pub lossy: bool,
    /// Whether handlers die between what they write and what they send.
    pub crashes: bool,
    pub users_may_be_down: bool,
    pub prices_may_change: bool,
    pub customers_may_cancel: bool,
    /// Whether operators retry steps. Elsewhere they do not: that every order can end must not rest
    /// on them.
    pub operators_retry: bool,
}

impl Config {
    /// Everything that can happen to one order, two payment handlers at once included.
    pub const ALONE: Config = Config {
        orders: 1,
        units: 1,
        handlers_at_once: 2,
        lossy: false,
        crashes: true,
        users_may_be_down: true,
        prices_may_change: true,
        customers_may_cancel: true,
        operators_retry: true,
    };

    /// One order whose messages are lost even after they have been delivered.
    pub const LOSSY: Config = Config {
        handlers_at_once: 1,
        lossy: true,
        operators_retry: false,
        ..Config::ALONE
    };

    /// Two orders contend for one unit, and everything else that can happen does.
    pub const PAIR: Config = Config {
        orders: 2,
        handlers_at_once: 1,
        operators_retry: false,
        ..Config::ALONE
    };

    /// Three orders contend for two units; nobody dies and nobody cancels.
    pub const TRIO: Config = Config {
        orders: 3,
        units: 2,
        handlers_at_once: 1,
        crashes: false,
        users_may_be_down: false,
        prices_may_change: false,
        customers_may_cancel: false,
        operators_retry: false,
        ..Config::ALONE
    };

    /// One order, quickly.
    pub const SMALL: Config = Config {
        handlers_at_once: 1,
        operators_retry: false,
        ..Config::ALONE
    };

    /// Two orders and one unit, quickly: nobody dies, and users answers.
    pub const SMALL_PAIR: Config = Config {
        crashes: false,
        users_may_be_down: false,
        prices_may_change: false,
        ..Config::PAIR
    };

    /// What every test run walks through.
    pub const IN_TESTS: [Config; 2] = [Config::SMALL, Config::SMALL_PAIR];

    /// What a proof walks through.
    pub const FULL: [Config; 4] = [Config::ALONE, Config::LOSSY, Config::PAIR, Config::TRIO];

    /// Whether a world like this must show a situation before its silence means anything.
    fn can_show(&self, situation: Situation) -> bool {
        let contended = self.orders > usize::from(self.units.unsigned_abs());
        match situation {
            Situation::Verifying | Situation::RejectedUser | Situation::GaveUpVerifying => {
                self.users_may_be_down
            }
            Situation::CancelledWhileVerifying => {
                self.users_may_be_down && self.customers_may_cancel
            }
            Situation::RefundingCancelled
            | Situation::ReleasingCancelled
            | Situation::Cancelled
            | Situation::CancelledWhileReserving
            | Situation::CancelledWhileCharging
            | Situation::CancelledAfterConfirmation
            | Situation::CancelledTooLate => self.customers_may_cancel,
            Situation::RejectedPriceChanged => self.prices_may_change,
            Situation::PaymentWriteOvertaken => self.handlers_at_once > 1,
            // A charge that was begun and is taken back unmade needs a handler that died, or
            // another beside it.
            Situation::ChargeCancelledAtProvider | Situation::ChargeFoundLate => {
                self.crashes || self.handlers_at_once > 1
            }
            Situation::RejectedOutOfStock | Situation::SoldOnce => contended,
            Situation::SoldAgain => contended,
            Situation::AllBought => !contended,
            Situation::Reserving
            | Situation::Charging
            | Situation::Confirmed
            | Situation::RefundingRejected
            | Situation::ReleasingRejected
            | Situation::Rejected
            | Situation::RejectedDeclined
            | Situation::RejectedTimedOut
            | Situation::GaveUpReserving
            | Situation::GaveUpCharging
            | Situation::ParkedRefunding
            | Situation::ParkedReleasing
            | Situation::UnitsGivenBack
            | Situation::ReleaseLeftTombstone
            | Situation::ReserveMetTombstone
            | Situation::PaymentCharged
            | Situation::PaymentDeclined
            | Situation::PaymentRefunded
            | Situation::RefundLeftTombstone
            | Situation::NobodyBought => true,
        }
    }
}

/// What a search did and found.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub config: Config,
    /// Distinct conditions a single order can be in, messages included.
    pub shares: usize,
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub time: Duration,
    pub seen: Vec<Situation>,
    /// What should have been seen and was not.
    pub missed: Vec<Situation>,
    pub counterexample: Option<Counterexample>,
}

/// A shortest way to something that must not be.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub why: String,
    pub trace: Vec<String>,
}

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

impl Outcome {
    /// Nothing that must not be, and everything that must be seen.
    pub fn holds(&self) -> bool {
        self.counterexample.is_none() && self.missed.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.config)?;
        writeln!(
            f,
            "{} states, {} transitions, depth {}; {} conditions of one order; {:.1} s",
            self.states,
            self.transitions,
            self.depth,
            self.shares,
            self.time.as_secs_f64()
        )?;
        writeln!(f, "{} situations seen", self.seen.len())?;
        match &self.counterexample {
            None => {
                for missed in &self.missed {
                    writeln!(f, "NOT SEEN: {}", missed.as_str())?;
                }
                writeln!(f, "0 counterexamples")
            }
            Some(found) => {
                writeln!(
                    f,
                    "COUNTEREXAMPLE, at which the search ended: {}",
                    found.why
                )?;
                for line in &found.trace {
                    writeln!(f, "  {line}")?;
                }
                Ok(())
            }
        }
    }
}
