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

macro_rules! states {
    ($($state:ident $(($ending:ident))? => $name:literal,)*) => {
        impl State {
            pub const ALL: [State; [$($name),*].len()] =
                [$(State::$state $((Ending::$ending))?),*];

            /// The name in the table and in operators' reports.
            pub fn as_str(self) -> &'static str {
                match self { $(State::$state $((Ending::$ending))? => $name,)* }
            }
        }
    };
}

states! {
    Verifying => "verifying",
    Reserving => "reserving",
    Charging => "charging",
    Confirmed => "confirmed",
    Refunding(Rejected) => "refunding_to_reject",
    Refunding(Cancelled) => "refunding_to_cancel",
    Releasing(Rejected) => "releasing_to_reject",
    Releasing(Cancelled) => "releasing_to_cancel",
    Rejected => "rejected",
    Cancelled => "cancelled",
}

impl State {
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
    /// The coarse state in API responses.
    pub fn status(self) -> Status {
        match self {
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Refunding(Ending::Rejected)
            | State::Releasing(Ending::Rejected) => Status::Pending,
            State::Refunding(Ending::Cancelled) | State::Releasing(Ending::Cancelled) => {
                Status::Cancelling
            }
            State::Confirmed => Status::Confirmed,
            State::Rejected => Status::Rejected,
            State::Cancelled => Status::Cancelled,
        }
    }

    pub fn has_ended(self) -> bool {
        self.command().is_none()
    }
}

/// The coarse state in API responses. The timeline has the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Confirmed,
    Rejected,
    Cancelling,
    Cancelled,
}

impl Status {
    pub const ALL: [Status; 5] = [
        Status::Pending,
        Status::Confirmed,
        Status::Rejected,
        Status::Cancelling,
        Status::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Confirmed => "CONFIRMED",
            Status::Rejected => "REJECTED",
            Status::Cancelling => "CANCELLING",
            Status::Cancelled => "CANCELLED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}
