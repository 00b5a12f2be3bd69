//! Inventory's values and decisions: no I/O, no clock, no serde.

#![warn(clippy::wildcard_enum_match_arm)]

mod catalogue;
mod reservation;
mod stock;
mod values;

pub use catalogue::{
    CreationKey, Currency, InvalidAmount, InvalidCurrency, InvalidName, Item, ItemChange, ItemName,
    MAX_AMOUNT, MAX_NAME_CHARS, Price, PriceAmount,
};
pub use reservation::{
    InvalidLines, MAX_LINES, OnRelease, OnReserve, OtherLines, Outcome, Refusal, RefusalCode,
    Reservation, ReservedLine, WantedLine, WantedLines, decide, on_release, on_reserve,
};
pub use stock::{
    Adjustment, Delta, InitialStock, InvalidDelta, InvalidQuantity, InvalidReason, InvalidStock,
    Levels, MAX_DELTA, MAX_INITIAL_STOCK, MAX_QUANTITY, MAX_REASON_CHARS, Quantity, Reason,
};
pub use values::{InvalidSku, MAX_SKU_CHARS, Sku};
