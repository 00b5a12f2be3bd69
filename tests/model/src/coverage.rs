//! The coverage goals: a search that never reaches a situation shows nothing about it.

use std::fmt;
use std::sync::LazyLock;

use orders::domain::{Command, Compensation, Order, STEPS, State, TimelineEvent};
use payments::domain::{Payment, PaymentState};

macro_rules! goals {
    ($($variant:ident => $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CoverageGoal {
            Is(State),
            CancelledIn(State),
            GaveUpIn(State),
            Refused(Command),
            Parked(Compensation),
            $($variant,)*
        }

        const SITUATIONS: &[CoverageGoal] = &[$(CoverageGoal::$variant,)*];

        impl fmt::Display for CoverageGoal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    CoverageGoal::Is(state) => write!(f, "an order is {state:?}"),
                    CoverageGoal::CancelledIn(state) => write!(f, "an order was cancelled in {state:?}"),
                    CoverageGoal::GaveUpIn(state) => write!(f, "a step was given up in {state:?}"),
                    CoverageGoal::Refused(command) => write!(f, "{command:?} was refused"),
                    CoverageGoal::Parked(undo) => write!(f, "parked a {undo:?}"),
                    $(CoverageGoal::$variant => f.write_str($name),)*
                }
            }
        }
    };
}

goals! {
    RejectedPriceChanged => "rejected: price_changed",
    RejectedTimedOut => "rejected: timed_out",
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

/// All goals. Those of states, commands and compensations follow from the saga's declaration.
pub static ALL: LazyLock<Vec<CoverageGoal>> = LazyLock::new(|| {
    let mut goals = SITUATIONS.to_vec();
    for state in State::ALL {
        goals.push(CoverageGoal::Is(state));
        let goes_forward = state.command().is_some_and(|it| it.undo().is_none());
        if goes_forward {
            goals.push(CoverageGoal::GaveUpIn(state));
        }
        if goes_forward || state == State::Confirmed {
            goals.push(CoverageGoal::CancelledIn(state));
        }
    }
    for step in &STEPS {
        let action = &step.action;
        goals.extend(
            action
                .refused
                .map(|_| CoverageGoal::Refused(action.command)),
        );
        let undo = step.undo.as_ref();
        goals.extend(undo.map(|undo| CoverageGoal::Parked(undo.compensation)));
    }
    goals
});

/// The bit of a goal in a set.
fn bit(goal: CoverageGoal) -> u64 {
    let position = ALL.iter().position(|known| *known == goal);
    1 << position.unwrap_or_else(|| panic!("{goal} is no goal"))
}

/// A set of goals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered(u64);

impl Covered {
    pub const NOTHING: Covered = Covered(0);

    pub fn of(goal: CoverageGoal) -> Self {
        Self(bit(goal))
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
        self.0 & bit(goal) != 0
    }

    /// The goals of an order's write: its state, and the new entries of its timeline.
    pub fn of_order(before: Option<&Order>, after: &Order) -> Self {
        let code = after.failure.as_ref().map(|failure| failure.code.as_str());
        let why = match (after.state, code) {
            (State::Rejected, Some("price_changed")) => {
                Self::of(CoverageGoal::RejectedPriceChanged)
            }
            (State::Rejected, Some("timed_out")) => Self::of(CoverageGoal::RejectedTimedOut),
            _ => Self::NOTHING,
        };
        let known = before.map_or(0, |before| before.timeline.len());
        let entries = after.timeline.iter().skip(known);
        let from = before.map(|before| before.state);
        entries.fold(why.and(CoverageGoal::Is(after.state)), |covered, entry| {
            let refused = STEPS
                .iter()
                .find(|step| step.action.refused == Some(entry.event));
            let goal = match (entry.event, from) {
                (TimelineEvent::CancelRequested, Some(from)) => {
                    Some(CoverageGoal::CancelledIn(from))
                }
                (TimelineEvent::StepTimedOut, Some(from)) => Some(CoverageGoal::GaveUpIn(from)),
                (TimelineEvent::OrderParked, Some(from)) => {
                    let undo = from.command().and_then(Command::undo);
                    undo.map(|undo| CoverageGoal::Parked(undo.compensation))
                }
                _ => refused.map(|step| CoverageGoal::Refused(step.action.command)),
            };
            goal.map_or(covered, |goal| covered.and(goal))
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
