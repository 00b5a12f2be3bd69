//! The coverage goals: a search that never reaches a situation shows nothing about it.

use orders::domain::{Ending, Order, State, TimelineEvent};
use payments::domain::{Payment, PaymentState};

macro_rules! goals {
    ($($variant:ident => $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CoverageGoal { $($variant,)* }

        impl CoverageGoal {
            pub const ALL: &[CoverageGoal] = &[$(CoverageGoal::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(CoverageGoal::$variant => $name,)* }
            }
        }
    };
}

goals! {
    Verifying => "an order is Verifying",
    Reserving => "an order is Reserving",
    Charging => "an order is Charging",
    Confirmed => "an order is Confirmed",
    RefundingRejected => "an order is Refunding(Rejected)",
    RefundingCancelled => "an order is Refunding(Cancelled)",
    ReleasingRejected => "an order is Releasing(Rejected)",
    ReleasingCancelled => "an order is Releasing(Cancelled)",
    Rejected => "an order is Rejected",
    Cancelled => "an order is Cancelled",
    RejectedOutOfStock => "rejected: out_of_stock",
    RejectedPriceChanged => "rejected: price_changed",
    RejectedDeclined => "rejected: payment_declined",
    RejectedUser => "rejected: user_not_allowed",
    RejectedTimedOut => "rejected: timed_out",
    GaveUpVerifying => "verifying the user timed out",
    GaveUpReserving => "reserving timed out",
    GaveUpCharging => "charging timed out",
    ParkedRefunding => "parked a refund",
    ParkedReleasing => "parked a release",
    CancelledWhileVerifying => "cancelled while verifying",
    CancelledWhileReserving => "cancelled while reserving",
    CancelledWhileCharging => "cancelled while charging",
    CancelledAfterConfirmation => "cancelled after the confirmation",
    CancelledTooLate => "cancelled too late",
    UnitsReleased => "units were released",
    ReleaseLeftTombstone => "a release came before its reserve",
    ReserveMetTombstone => "a reserve was refused by a tombstone",
    PaymentCharged => "a payment was charged",
    PaymentDeclined => "a payment was declined",
    PaymentRefunded => "a payment was refunded",
    RefundLeftTombstone => "a refund came before its charge",
    ChargeCancelledAtProvider => "a charge was cancelled before it was made",
    ChargeFoundLate => "a charge was found by its cancellation",
    PaymentWriteOvertaken => "two payment handlers wrote one payment",
    SoldOnce => "one order got the unit and another was refused",
    SoldAgain => "a released unit was sold to another order",
    NoneConfirmed => "every order ended unconfirmed",
    AllConfirmed => "every order was confirmed",
}

/// A set of goals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered(u64);

impl Covered {
    pub const NOTHING: Covered = Covered(0);

    pub fn of(goal: CoverageGoal) -> Self {
        Self(1 << goal as u64)
    }

    pub fn when(condition: bool, goal: CoverageGoal) -> Self {
        if condition {
            Self::of(goal)
        } else {
            Self::NOTHING
        }
    }

    #[must_use]
    pub fn and(self, goal: CoverageGoal) -> Self {
        self.and_all(Self::of(goal))
    }

    #[must_use]
    pub fn and_all(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn contains(self, goal: CoverageGoal) -> bool {
        self.0 >> goal as u64 & 1 == 1
    }

    /// The goals of an order's write: its state, and the new entries of its timeline.
    pub fn of_order(before: Option<&Order>, after: &Order) -> Self {
        let state = Self::of(match after.state {
            State::Verifying => CoverageGoal::Verifying,
            State::Reserving => CoverageGoal::Reserving,
            State::Charging => CoverageGoal::Charging,
            State::Confirmed => CoverageGoal::Confirmed,
            State::Refunding(Ending::Rejected) => CoverageGoal::RefundingRejected,
            State::Refunding(Ending::Cancelled) => CoverageGoal::RefundingCancelled,
            State::Releasing(Ending::Rejected) => CoverageGoal::ReleasingRejected,
            State::Releasing(Ending::Cancelled) => CoverageGoal::ReleasingCancelled,
            State::Rejected => CoverageGoal::Rejected,
            State::Cancelled => CoverageGoal::Cancelled,
        });
        let code = after.failure.as_ref().map(|failure| failure.code.as_str());
        let why = match (after.state, code) {
            (State::Rejected, Some("out_of_stock")) => Self::of(CoverageGoal::RejectedOutOfStock),
            (State::Rejected, Some("price_changed")) => {
                Self::of(CoverageGoal::RejectedPriceChanged)
            }
            (State::Rejected, Some("payment_declined")) => Self::of(CoverageGoal::RejectedDeclined),
            (State::Rejected, Some("user_not_allowed")) => Self::of(CoverageGoal::RejectedUser),
            (State::Rejected, Some("timed_out")) => Self::of(CoverageGoal::RejectedTimedOut),
            _ => Self::NOTHING,
        };
        let known = before.map_or(0, |before| before.timeline.len());
        let entries = after.timeline.iter().skip(known);
        let from = before.map(|before| before.state);
        entries.fold(state.and_all(why), |covered, entry| {
            covered.and_all(match (entry.event, from) {
                (TimelineEvent::CancelRequested, Some(State::Verifying)) => {
                    Self::of(CoverageGoal::CancelledWhileVerifying)
                }
                (TimelineEvent::CancelRequested, Some(State::Reserving)) => {
                    Self::of(CoverageGoal::CancelledWhileReserving)
                }
                (TimelineEvent::CancelRequested, Some(State::Charging)) => {
                    Self::of(CoverageGoal::CancelledWhileCharging)
                }
                (TimelineEvent::CancelRequested, Some(State::Confirmed)) => {
                    Self::of(CoverageGoal::CancelledAfterConfirmation)
                }
                (TimelineEvent::StepTimedOut, Some(State::Verifying)) => {
                    Self::of(CoverageGoal::GaveUpVerifying)
                }
                (TimelineEvent::StepTimedOut, Some(State::Reserving)) => {
                    Self::of(CoverageGoal::GaveUpReserving)
                }
                (TimelineEvent::StepTimedOut, Some(State::Charging)) => {
                    Self::of(CoverageGoal::GaveUpCharging)
                }
                (TimelineEvent::OrderParked, Some(State::Refunding(_))) => {
                    Self::of(CoverageGoal::ParkedRefunding)
                }
                (TimelineEvent::OrderParked, Some(State::Releasing(_))) => {
                    Self::of(CoverageGoal::ParkedReleasing)
                }
                _ => Self::NOTHING,
            })
        })
    }

    /// The goals of a payment's write.
    pub fn of_payment(after: Option<&Payment>) -> Self {
        match after.map(|payment| &payment.state) {
            None | Some(PaymentState::Charging(_) | PaymentState::Refunding(..)) => Self::NOTHING,
            Some(PaymentState::Charged(..)) => Self::of(CoverageGoal::PaymentCharged),
            Some(PaymentState::Declined(..)) => Self::of(CoverageGoal::PaymentDeclined),
            Some(PaymentState::Refunded(..)) => Self::of(CoverageGoal::PaymentRefunded),
            Some(PaymentState::Voided(Some(_))) => {
                Self::of(CoverageGoal::ChargeCancelledAtProvider)
            }
            Some(PaymentState::Voided(None)) => Self::of(CoverageGoal::RefundLeftTombstone),
        }
    }
}
