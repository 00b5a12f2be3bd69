//! Units: stock, quantities of orders, and adjustments.

use jiff::Timestamp;
use uuid::Uuid;

use super::values::{Sku, is_readable};

pub const MAX_INITIAL_STOCK: i64 = 1_000_000_000;
pub const MAX_DELTA: i64 = 1_000_000;
pub const MAX_REASON_CHARS: usize = 200;
pub const MAX_QUANTITY: i64 = 10_000;

/// An item's units. After every write `stocked = available + held`, and none is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The initial stock plus all adjustments.
    pub stocked: i64,
    /// Units that an order can still get.
    pub available: i64,
    /// Units that orders have reserved and not released, confirmed orders included.
    pub held: i64,
}

impl Levels {
    /// The levels of a new item.
    pub fn initial(stock: InitialStock) -> Self {
        Self {
            stocked: stock.get(),
            available: stock.get(),
            held: 0,
        }
    }
}

/// The units of a new item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialStock(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a stock: send a whole number from 0 to {MAX_INITIAL_STOCK}")]
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

/// The units of one item that an order wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a quantity: send a whole number from 1 to {MAX_QUANTITY}")]
pub struct InvalidQuantity;

impl Quantity {
    /// A command's quantity.
    pub fn parse(units: i64) -> Result<Self, InvalidQuantity> {
        if (1..=MAX_QUANTITY).contains(&units) {
            Ok(Self(units))
        } else {
            Err(InvalidQuantity)
        }
    }

    /// A stored quantity, without an upper bound.
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

/// The change of stock by an adjustment: units found (positive) or lost (negative).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an adjustment: send a whole number from -{MAX_DELTA} to {MAX_DELTA}, except 0")]
pub struct InvalidDelta;

impl Delta {
    pub fn parse(units: i64) -> Result<Self, InvalidDelta> {
        if units != 0 && (-MAX_DELTA..=MAX_DELTA).contains(&units) {
            Ok(Self(units))
        } else {
            Err(InvalidDelta)
        }
    }

    /// A stored adjustment's change.
    pub fn stored(units: i64) -> Self {
        Self(units)
    }

    pub fn get(self) -> i64 {
        self.0
    }

    /// The units that must be available: the removed ones, or zero.
    pub fn takes(self) -> i64 {
        self.0.saturating_neg().max(0)
    }
}

/// The administrator's reason for an adjustment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a reason: send 1 to {MAX_REASON_CHARS} visible characters, not only blanks")]
pub struct InvalidReason;

impl Reason {
    pub fn parse(text: &str) -> Result<Self, InvalidReason> {
        if is_readable(text, MAX_REASON_CHARS) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidReason)
        }
    }

    /// A stored reason. Earlier rules may have accepted it.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A correction of an item's stock. It is stored for good.
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
    /// Whether two adjustments with one id are the same request, not a reused key.
    pub fn is_repeat_of(&self, other: &Adjustment) -> bool {
        self.sku == other.sku && self.delta == other.delta && self.reason == other.reason
    }
}
