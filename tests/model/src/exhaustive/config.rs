//! The sizes of the searched worlds.

use orders::domain::{Command, State, Status};

use crate::coverage::CoverageGoal;

/// The orders and stock of a world, and the events that can occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// At most 3.
    pub orders: usize,
    /// The units of the one item. Each order wants one.
    pub units: i8,
    /// The handlers that may work on one order's payment at once: 1 or 2.
    pub handlers_at_once: usize,
    /// Whether delivered messages can be lost. A message that never arrives again counts as lost
    /// anyway; this adds states that only the sweeper can leave. Use one order: the local states
    /// grow ninety-fold (751,049 of [`Config::LOSSY`] instead of 8,303), and those of two orders
    /// multiply.
    pub lossy: bool,
    /// Whether handlers crash between a write and a send.
    pub crashes: bool,
    pub users_may_be_down: bool,
    pub prices_may_change: bool,
    pub customers_may_cancel: bool,
    /// Whether operators retry steps. Otherwise each order must end without them.
    pub operators_retry: bool,
}

impl Config {
    /// One order with every event, and two payment handlers at once.
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

    /// One order whose delivered messages can be lost.
    pub const LOSSY: Config = Config {
        handlers_at_once: 1,
        lossy: true,
        operators_retry: false,
        ..Config::ALONE
    };

    /// Two orders contend for one unit, with every other event.
    pub const PAIR: Config = Config {
        orders: 2,
        handlers_at_once: 1,
        operators_retry: false,
        ..Config::ALONE
    };

    /// Three orders contend for two units, without crashes and cancellations.
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

    /// One order, for a fast test.
    pub const SMALL: Config = Config {
        handlers_at_once: 1,
        operators_retry: false,
        ..Config::ALONE
    };

    /// Two orders and one unit, without crashes, for a fast test.
    pub const SMALL_PAIR: Config = Config {
        crashes: false,
        users_may_be_down: false,
        prices_may_change: false,
        ..Config::PAIR
    };

    /// The configurations of every test run.
    pub const IN_TESTS: [Config; 2] = [Config::SMALL, Config::SMALL_PAIR];

    /// The configurations of the full proof.
    pub const FULL: [Config; 4] = [Config::ALONE, Config::LOSSY, Config::PAIR, Config::TRIO];

    /// Whether a search of this world must reach the goal.
    pub(super) fn can_cover(&self, goal: CoverageGoal) -> bool {
        let contended = self.orders > usize::from(self.units.unsigned_abs());
        match goal {
            CoverageGoal::Is(State::Verifying)
            | CoverageGoal::GaveUpIn(State::Verifying)
            | CoverageGoal::Refused(Command::VerifyUser) => self.users_may_be_down,
            CoverageGoal::CancelledIn(State::Verifying) => {
                self.users_may_be_down && self.customers_may_cancel
            }
            CoverageGoal::CancelledIn(_) | CoverageGoal::CancelledTooLate => {
                self.customers_may_cancel
            }
            CoverageGoal::Is(state) => match state.status() {
                Status::Cancelling | Status::Cancelled => self.customers_may_cancel,
                Status::Pending | Status::Confirmed | Status::Rejected => true,
            },
            CoverageGoal::Refused(Command::ReserveStock) => contended,
            CoverageGoal::RejectedPriceChanged => self.prices_may_change,
            CoverageGoal::PaymentWriteOvertaken => self.handlers_at_once > 1,
            // Only a crash, or a second handler, leaves a begun charge to cancel.
            CoverageGoal::ChargeCancelledAtProvider | CoverageGoal::ChargeFoundLate => {
                self.crashes || self.handlers_at_once > 1
            }
            CoverageGoal::SoldOnce => contended,
            CoverageGoal::SoldAgain => contended,
            CoverageGoal::AllConfirmed => !contended,
            CoverageGoal::Refused(_)
            | CoverageGoal::GaveUpIn(_)
            | CoverageGoal::Parked(_)
            | CoverageGoal::RejectedTimedOut
            | CoverageGoal::UnitsReleased
            | CoverageGoal::ReleaseLeftTombstone
            | CoverageGoal::ReserveMetTombstone
            | CoverageGoal::PaymentCharged
            | CoverageGoal::PaymentDeclined
            | CoverageGoal::PaymentRefunded
            | CoverageGoal::RefundLeftTombstone
            | CoverageGoal::NoneConfirmed => true,
        }
    }
}
