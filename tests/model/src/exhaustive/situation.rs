//! What must be seen at least once: a search that never got there has shown nothing about it.

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
    PaymentWriteOvertaken => "two payment handlers met at one row",
    SoldOnce => "one order has the unit and another was refused it",
    SoldAgain => "a unit given back was sold to another order",
    NobodyBought => "every order ended without the units",
    AllBought => "every order was confirmed",
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(u64);

impl Seen {
    pub const NOTHING: Seen = Seen(0);

    pub fn of(situation: Situation) -> Self {
        Self(1 << situation as u64)
    }

    pub fn when(condition: bool, situation: Situation) -> Self {
        if condition { Self::of(situation) } else { Self::NOTHING }
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
}
