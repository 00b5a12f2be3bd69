//! Items with their names and prices.

use jiff::Timestamp;
use uuid::Uuid;

use super::stock::Levels;
use super::values::{Sku, is_readable};

pub const MAX_NAME_CHARS: usize = 200;

/// The highest price of one unit, in minor units: twelve digits, the longest amount that Stripe
/// accepts in any currency.
pub const MAX_AMOUNT: i64 = 999_999_999_999;

/// The highest amount of money: 2^53 - 1, the largest that every JSON reader keeps exactly
/// (RFC 7493 §2.2). Orders and payments have the same bound.
const MAX_STORED_AMOUNT: i64 = 9_007_199_254_740_991;

/// An item's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a name: send 1 to {MAX_NAME_CHARS} visible characters, not only blanks")]
pub struct InvalidName;

impl ItemName {
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if is_readable(text, MAX_NAME_CHARS) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName)
        }
    }

    /// A stored name. Earlier rules may have accepted it.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The price of one unit, in minor units of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceAmount(i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a price in minor units: send a whole number from 1 to {MAX_AMOUNT}")]
pub struct InvalidAmount;

impl PriceAmount {
    pub fn parse(amount: i64) -> Result<Self, InvalidAmount> {
        if (1..=MAX_AMOUNT).contains(&amount) {
            Ok(Self(amount))
        } else {
            Err(InvalidAmount)
        }
    }

    /// A stored price, with a higher bound.
    pub fn stored(amount: i64) -> Result<Self, InvalidAmount> {
        if (1..=MAX_STORED_AMOUNT).contains(&amount) {
            Ok(Self(amount))
        } else {
            Err(InvalidAmount)
        }
    }

    pub fn get(self) -> i64 {
        self.0
    }
}

/// A currency's code (ISO 4217).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a currency: send an ISO 4217 code with a minor unit, for example USD")]
pub struct InvalidCurrency;

fn is_current(currency: iso_currency::Currency) -> bool {
    // ISO 4217 keeps VES beside VED, which the crate calls its successor.
    let is_withdrawn =
        currency.is_superseded().is_some() && currency != iso_currency::Currency::VES;
    currency.exponent().is_some() && !currency.is_special() && !is_withdrawn
}

impl Currency {
    /// The currency of a new price. It must have a minor unit (unlike `XXX`, `XTS` and gold) and not
    /// be withdrawn.
    pub fn parse(text: &str) -> Result<Self, InvalidCurrency> {
        match iso_currency::Currency::from_code(text) {
            Some(known) if is_current(known) => Self::stored(text),
            Some(_) | None => Err(InvalidCurrency),
        }
    }

    /// The currency of a stored price: any three capitals. Earlier rules accepted them, and
    /// currencies end.
    pub fn stored(text: &str) -> Result<Self, InvalidCurrency> {
        if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCurrency)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The price of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub amount: PriceAmount,
    pub currency: Currency,
}

/// One entry of the catalogue with its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub sku: Sku,
    pub name: ItemName,
    pub price: Price,
    pub levels: Levels,
    pub created_at: Timestamp,
    /// The last change by an administrator, not by an order.
    pub updated_at: Timestamp,
}

/// The `Idempotency-Key` of a creation. It belongs to one administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreationKey {
    pub id: Uuid,
    /// Distinguishes a repeated request from another one that reuses the key.
    pub fingerprint: Uuid,
}

/// A change of an item by an administrator: a name, a price or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemChange {
    name: Option<ItemName>,
    price: Option<Price>,
}

impl ItemChange {
    /// None without a name and a price.
    pub fn new(name: Option<ItemName>, price: Option<Price>) -> Option<Self> {
        (name.is_some() || price.is_some()).then_some(Self { name, price })
    }

    /// Whether an item has all new values.
    pub fn is_made_in(&self, item: &Item) -> bool {
        self.name.as_ref().is_none_or(|name| *name == item.name)
            && self.price.as_ref().is_none_or(|price| *price == item.price)
    }

    pub fn name(&self) -> Option<&ItemName> {
        self.name.as_ref()
    }

    pub fn price(&self) -> Option<&Price> {
        self.price.as_ref()
    }
}
