//! What an order is and what may happen to it. No I/O, no clock, no wire format.

mod order;
mod rehearsal;
mod saga;
mod standing;
mod timeline;
mod values;

pub use order::{Draft, Failure, Line, Order, OrderId, Status, UserId};
pub use rehearsal::{Fault, InvalidRehearsal, Rehearsal, Step, owed_fault};
pub use saga::{
    CancelledBy, Command, Compensation, Decision, Ending, Event, Ignored, MAX_ATTEMPTS,
    MAX_TIMELINE, PARKED_RETRY, Refusal, ReservedLine, State, StepTimeout, abandonment, decide,
    owed, place,
};
pub use standing::{
    FIRST_DELAY, FREE_UNPAID, Limit, MAX_DELAY, MAX_OPEN_ORDERS, MAX_OPEN_UNITS, RECENT_ORDERS,
    RECENT_WINDOW, Wait, may_place,
};
pub use timeline::{Entry, What};
pub use values::{
    Currency, InvalidValue, MAX_AMOUNT, MAX_CODE, MAX_DETAIL, MAX_LINES, MAX_NAME, MAX_QUANTITY,
    Money, PaymentMethod, Quantity, Sku, bounded,
};
