//! Payments and their transitions: no I/O, no clock, no wire format.

#![warn(clippy::wildcard_enum_match_arm)]

mod decide;
mod payment;
mod values;

pub use decide::{
    Command, Decision, INVALID_CURRENCY, Refusal, Reply, Settling, VOIDED, decide, settle,
};
pub use payment::{Charge, Decline, Payment, PaymentId, PaymentState, Settlement, UserId};
pub use values::{
    ChargeKey, Currency, InvalidValue, MAX_AMOUNT, Money, OrderId, PaymentMethod, RefundKey,
    printable,
};
