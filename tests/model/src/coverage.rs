//! What must be seen at least once: a run that never got there has shown nothing about it.

use orders::domain::{Ending, Order, State, TimelineEvent};
use payments::domain::{Payment, PaymentState};

macro_rules! situations {
    ($($variant:ident => $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Situation { $($variant,)* }

        impl Situation {
            pub const ALL: &[Situation] = &[$(Situation::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Situation::$variant => $name,)* }
            }
        }
    };
}

situations! {
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
    GaveUpVerifying => "gave up verifying the user",
    GaveUpReserving => "gave up reserving",
    GaveUpCharging => "gave up charging",
    ParkedRefunding => "parked a refund",
    ParkedReleasing => "parked a release",
    CancelledWhileVerifying => "cancelled while verifying",
    CancelledWhileReserving => "cancelled while reserving",
    CancelledWhileCharging => "cancelled while charging",
    CancelledAfterConfirmation => "cancelled after the confirmation",
    CancelledTooLate => "cancelled too late",
    UnitsGivenBack => "units were given back",
    ReleaseLeftTombstone => "a release came before its reserve",
    ReserveMetTombstone => "a reserve was refused by a tombstone",
    PaymentCharged => "a payment was charged",
    PaymentDeclined => "a payment was declined",
    PaymentRefunded => "a payment was refunded",
    RefundLeftTombstone => "a refund came before its charge",
    ChargeCancelledAtProvider => "a charge was cancelled before the provider made it",
    ChargeFoundLate => "a charge was found only by trying to cancel it",
    PaymentWriteOvertaken => "two payment handlers met at one payment",
    SoldOnce => "one order has the unit and another was refused it",
    SoldAgain => "a unit given back was sold to another order",
    NobodyBought => "every order ended without the units",
    AllBought => "every order was confirmed",
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Seen {
    pub const NOTHING: Seen = Seen(0);

    pub fn of(situation: Situation) -> Self {
        Self(1 << situation as u64)
    }

    pub fn when(condition: bool, situation: Situation) -> Self {
        if condition {
            Self::of(situation)
        } else {
            Self::NOTHING
        }
    }

    #[must_use]
    pub fn and(self, situation: Situation) -> Self {
        self.and_all(Self::of(situation))
    }

    #[must_use]
    pub fn and_all(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn contains(self, situation: Situation) -> bool {
        self.0 >> situation as u64 & 1 == 1
    }

    /// An order's write: where it is now, and what its timeline says about the way.
    pub fn of_order(before: Option<&Order>, after: &Order) -> Self {
        let state = Self::of(match after.state {
            State::Verifying => Situation::Verifying,
            State::Reserving => Situation::Reserving,
            State::Charging => Situation::Charging,
            State::Confirmed => Situation::Confirmed,
            State::Refunding(Ending::Rejected) => Situation::RefundingRejected,
            State::Refunding(Ending::Cancelled) => Situation::RefundingCancelled,
            State::Releasing(Ending::Rejected) => Situation::ReleasingRejected,
            State::Releasing(Ending::Cancelled) => Situation::ReleasingCancelled,
            State::Rejected => Situation::Rejected,
            State::Cancelled => Situation::Cancelled,
        });
        let code = after.failure.as_ref().map(|failure| failure.code.as_str());
        let why = match (after.state, code) {
            (State::Rejected, Some("out_of_stock")) => Self::of(Situation::RejectedOutOfStock),
            (State::Rejected, Some("price_changed")) => Self::of(Situation::RejectedPriceChanged),
            (State::Rejected, Some("payment_declined")) => Self::of(Situation::RejectedDeclined),
            (State::Rejected, Some("user_not_allowed")) => Self::of(Situation::RejectedUser),
            (State::Rejected, Some("timed_out")) => Self::of(Situation::RejectedTimedOut),
            _ => Self::NOTHING,
        };
        let told = before.map_or(0, |before| before.timeline.len());
        let entries = after.timeline.iter().skip(told);
        let from = before.map(|before| before.state);
        entries.fold(state.and_all(why), |seen, entry| {
            seen.and_all(match (entry.event, from) {
                (TimelineEvent::CancelRequested, Some(State::Verifying)) => {
                    Self::of(Situation::CancelledWhileVerifying)
                }
                (TimelineEvent::CancelRequested, Some(State::Reserving)) => {
                    Self::of(Situation::CancelledWhileReserving)
                }
                (TimelineEvent::CancelRequested, Some(State::Charging)) => {
                    Self::of(Situation::CancelledWhileCharging)
                }
                (TimelineEvent::CancelRequested, Some(State::Confirmed)) => {
                    Self::of(Situation::CancelledAfterConfirmation)
                }
                (TimelineEvent::StepTimedOut, Some(State::Verifying)) => {
                    Self::of(Situation::GaveUpVerifying)
                }
                (TimelineEvent::StepTimedOut, Some(State::Reserving)) => {
                    Self::of(Situation::GaveUpReserving)
                }
                (TimelineEvent::StepTimedOut, Some(State::Charging)) => {
                    Self::of(Situation::GaveUpCharging)
                }
                (TimelineEvent::OrderParked, Some(State::Refunding(_))) => {
                    Self::of(Situation::ParkedRefunding)
                }
                (TimelineEvent::OrderParked, Some(State::Releasing(_))) => {
                    Self::of(Situation::ParkedReleasing)
                }
                _ => Self::NOTHING,
            })
        })
    }

    /// A payment's write.
    pub fn of_payment(after: Option<&Payment>) -> Self {
        match after.map(|payment| &payment.state) {
            None | Some(PaymentState::Charging(_) | PaymentState::Refunding(..)) => Self::NOTHING,
            Some(PaymentState::Charged(..)) => Self::of(Situation::PaymentCharged),
            Some(PaymentState::Declined(..)) => Self::of(Situation::PaymentDeclined),
            Some(PaymentState::Refunded(..)) => Self::of(Situation::PaymentRefunded),
            Some(PaymentState::Voided(Some(_))) => Self::of(Situation::ChargeCancelledAtProvider),
            Some(PaymentState::Voided(None)) => Self::of(Situation::RefundLeftTombstone),
        }
    }
}
