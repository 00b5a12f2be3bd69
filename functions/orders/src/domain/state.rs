//! The states of the saga.

use super::step::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The users service did not answer when the order was placed, so it is asked by queue.
    Verifying,
    Reserving,
    Charging,
    Confirmed,
    /// Refunds a charge that was made, or may have been.
    Refunding(Ending),
    /// Releases stock that was reserved, or may have been.
    Releasing(Ending),
    Rejected,
    Cancelled,
}

/// The final state that compensations lead to.
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

    /// The name in the table and in operators' reports.
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

    /// The command to send in this state until the answer comes; none once the order has ended.
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
