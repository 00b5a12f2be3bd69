//! Where an order is on its way.

use super::step::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Users could not be asked when the order was placed; it is asked through its queue.
    Verifying,
    Reserving,
    Charging,
    Confirmed,
    /// Taking back a charge that was, or may have been, made.
    Refunding(Ending),
    /// Giving back stock that was, or may have been, reserved.
    Releasing(Ending),
    Rejected,
    Cancelled,
}

/// What compensations lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    Rejected,
    Cancelled,
}

impl State {
    pub const ALL: [State; 10] = [
        State::Verifying,
        State::Reserving,
        State::Charging,
        State::Confirmed,
        State::Refunding(Ending::Rejected),
        State::Refunding(Ending::Cancelled),
        State::Releasing(Ending::Rejected),
        State::Releasing(Ending::Cancelled),
        State::Rejected,
        State::Cancelled,
    ];

    /// How the state is spelled, in the table and to operators.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Verifying => "verifying",
            State::Reserving => "reserving",
            State::Charging => "charging",
            State::Confirmed => "confirmed",
            State::Refunding(Ending::Rejected) => "refunding_to_reject",
            State::Refunding(Ending::Cancelled) => "refunding_to_cancel",
            State::Releasing(Ending::Rejected) => "releasing_to_reject",
            State::Releasing(Ending::Cancelled) => "releasing_to_cancel",
            State::Rejected => "rejected",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// What an order in this state asks for, until the answer comes; nothing once it has ended.
    pub fn command(self) -> Option<Command> {
        match self {
            State::Verifying => Some(Command::VerifyUser),
            State::Reserving => Some(Command::ReserveStock),
            State::Charging => Some(Command::ChargePayment),
            State::Refunding(_) => Some(Command::RefundPayment),
            State::Releasing(_) => Some(Command::ReleaseStock),
            State::Confirmed | State::Rejected | State::Cancelled => None,
        }
    }
}
