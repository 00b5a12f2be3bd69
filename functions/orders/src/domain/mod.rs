//! Orders and the saga's rules. No I/O, no clock, no wire format.

#![warn(clippy::wildcard_enum_match_arm)]

mod decide;
mod faults;
mod limits;
mod order;
mod progress;
mod state;
mod step;
mod timeline;
mod values;

pub use decide::{
    CancelledBy, Decision, Event, Ignored, Refusal, ReservedLine, abandonment, decide,
};
pub use faults::{Fault, InjectedFaults, InvalidFaults};
pub use limits::{
    FIRST_DELAY, FREE_UNPAID, Limit, MAX_DELAY, MAX_OPEN_ORDERS, MAX_OPEN_UNITS, RECENT_ORDERS,
    RECENT_WINDOW, Wait, may_place,
};
pub use order::{Draft, Failure, Line, Order, OrderId, UserId};
pub use progress::{
    MAX_ATTEMPTS, MAX_TIMELINE, PARKED_RETRY, StepTimeout, owed, owed_fault, place,
};
pub use state::{Ending, State, Status};
pub use step::{Action, Command, Compensation, Kind, Participant, STEPS, Step};
pub use timeline::{Entry, TimelineEvent};
pub use values::{
    Currency, InvalidValue, MAX_AMOUNT, MAX_CODE, MAX_DETAIL, MAX_LINES, MAX_NAME, MAX_QUANTITY,
    Money, PaymentMethod, Quantity, Sku, bounded,
};
