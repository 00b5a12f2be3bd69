//! What inventory is about, as values and decisions: no I/O, no clock, no serde.

mod catalogue;
mod invisible;
mod reservation;
mod stock;

pub use catalogue::{
    Currency, InvalidAmount, InvalidCurrency, InvalidName, InvalidSku, Item, ItemChange, ItemName,
    MAX_AMOUNT, MAX_NAME_CHARS, MAX_SKU_CHARS, Price, PriceAmount, Sku,
};
pub use reservation::{
    InvalidLines, MAX_LINES, OnRelease, OnReserve, OtherLines, Outcome, Refusal, RefusalCode,
    Reservation, ReservedLine, WantedLine, WantedLines, decide, on_release, on_reserve,
};
pub use stock::{
    Adjustment, Delta, InitialStock, InvalidDelta, InvalidQuantity, InvalidReason, InvalidStock,
    Levels, MAX_DELTA, MAX_INITIAL_STOCK, MAX_QUANTITY, MAX_REASON_CHARS, Quantity, Reason,
};

/// Whether a text is something a person can read: not blank, not too long, and nothing in it that
/// cannot be seen, control characters included.
fn is_readable(text: &str, max_chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max_chars && !invisible::is_in(text)
}
