//! Units: how many there are, how many an order wants, and corrections by hand.

use jiff::Timestamp;
use uuid::Uuid;

use super::values::{Sku, is_readable};

pub const MAX_INITIAL_STOCK: i64 = 1_000_000_000;
pub const MAX_DELTA: i64 = 1_000_000;
pub const MAX_REASON_CHARS: usize = 200;
pub const MAX_QUANTITY: i64 = 10_000;

/// An item's units. At rest `stocked = available + held`, and none is ever negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// What the item was created with and every adjustment since.
    pub stocked: i64,
    /// What an order can still get.
    pub available: i64,
    /// What orders hold: reserved and not released, which includes confirmed orders.
    pub held: i64,
}

impl Levels {
    /// Nobody holds anything yet.
    pub fn initial(stock: InitialStock) -> Self {
        Self {
            stocked: stock.get(),
            available: stock.get(),
            held: 0,
        }
    }
}

/// How many units an item is created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialStock(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a stock: a whole number from 0 to {MAX_INITIAL_STOCK}")]
pub struct InvalidStock;

impl InitialStock {
    pub fn parse(units: i64) -> Result<Self, InvalidStock> {
        if (0..=MAX_INITIAL_STOCK).contains(&units) {
            Ok(Self(units))
        } else {
            Err(InvalidStock)
        }
    }

    pub fn get(self) -> i64 {
        self.0
    }
}

/// How many units of one item an order wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a quantity: a whole number from 1 to {MAX_QUANTITY}")]
pub struct InvalidQuantity;

impl Quantity {
    /// Of a command.
    pub fn parse(units: i64) -> Result<Self, InvalidQuantity> {
        if (1..=MAX_QUANTITY).contains(&units) {
            Ok(Self(units))
        } else {
            Err(InvalidQuantity)
        }
    }

    /// Of a reservation that exists.
    pub fn stored(units: i64) -> Result<Self, InvalidQuantity> {
        if units >= 1 {
            Ok(Self(units))
        } else {
            Err(InvalidQuantity)
        }
    }

    pub fn get(self) -> i64 {
        self.0
    }
}

/// By how much an adjustment changes the stock: units found (positive) or lost (negative).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an adjustment: a whole number from -{MAX_DELTA} to {MAX_DELTA} other than 0")]
pub struct InvalidDelta;

impl Delta {
    pub fn parse(units: i64) -> Result<Self, InvalidDelta> {
        if units != 0 && (-MAX_DELTA..=MAX_DELTA).contains(&units) {
            Ok(Self(units))
        } else {
            Err(InvalidDelta)
        }
    }

    /// Of an adjustment that was made.
    pub fn stored(units: i64) -> Self {
        Self(units)
    }

    pub fn get(self) -> i64 {
        self.0
    }

    /// How many units must be available for it: what it takes away, and it may add to none.
    pub fn takes(self) -> i64 {
        self.0.saturating_neg().max(0)
    }
}

/// Why an administrator adjusted the stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a reason: 1 to {MAX_REASON_CHARS} characters, not only blanks, none that cannot be seen"
)]
pub struct InvalidReason;

impl Reason {
    pub fn parse(text: &str) -> Result<Self, InvalidReason> {
        if is_readable(text, MAX_REASON_CHARS) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidReason)
        }
    }

    /// As it was stored, by whatever rule it was accepted.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One correction of an item's stock, kept for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    pub id: Uuid,
    pub sku: Sku,
    pub delta: Delta,
    pub reason: Reason,
    /// The administrator who made it.
    pub made_by: Uuid,
    pub created_at: Timestamp,
}

impl Adjustment {
    /// Whether two adjustments of one id are one request sent twice, rather than a key used twice.
    pub fn is_repeat_of(&self, other: &Adjustment) -> bool {
        self.sku == other.sku && self.delta == other.delta && self.reason == other.reason
    }
}
