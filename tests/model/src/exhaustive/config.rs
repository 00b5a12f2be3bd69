//! How big a world is walked through.

use crate::situation::Situation;

/// What there is in a world, and what can happen in it.
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
    pub(super) fn can_show(&self, situation: Situation) -> bool {
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
