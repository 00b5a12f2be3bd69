//! Values that cannot be wrong: each is checked once, where it enters.

use std::fmt;

/// The most lines an order may have.
pub const MAX_LINES: usize = 50;

/// The most units one line may ask for.
pub const MAX_QUANTITY: u32 = 10_000;

const MAX_SKU_CHARACTERS: usize = 64;
const MAX_PAYMENT_METHOD_CHARACTERS: usize = 128;

/// A value that was not accepted; the text says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(&'static str);

/// A stock keeping unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sku(String);

impl Sku {
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let fits = (1..=MAX_SKU_CHARACTERS).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue(
                "is not a sku: 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit",
            ))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many units of one sku.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity(u32);

impl Quantity {
    pub fn new(units: i64) -> Result<Self, InvalidValue> {
        u32::try_from(units)
            .ok()
            .filter(|units| (1..=MAX_QUANTITY).contains(units))
            .map(Self)
            .ok_or(InvalidValue("is not a whole number from 1 to 10000"))
    }

    pub fn units(self) -> u32 {
        self.0
    }
}

/// An ISO 4217 code: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        <[u8; 3]>::try_from(text.as_bytes())
            .ok()
            .filter(|code| code.iter().all(u8::is_ascii_uppercase))
            .map(Self)
            .ok_or(InvalidValue(
                "is not a currency: three capital letters (ISO 4217), for example USD",
            ))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters are UTF-8")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in the currency's minor unit: 1999 USD is $19.99.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    pub amount: i64,
    pub currency: Currency,
}

impl Money {
    pub fn new(amount: i64, currency: &str) -> Result<Self, InvalidValue> {
        if amount < 0 {
            return Err(InvalidValue(
                "is below zero; amounts are whole minor units from 0",
            ));
        }
        Ok(Self {
            amount,
            currency: Currency::parse(currency)?,
        })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency.as_str())
    }
}

/// A payment provider's token for a card or account, for example `pm_card_visa`. Never a card
/// number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentMethod(String);

impl PaymentMethod {
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let fits = (1..=MAX_PAYMENT_METHOD_CHARACTERS).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        // Payment card numbers have 12 to 19 digits (ISO/IEC 7812-1); such a text must not be
        // stored or logged.
        let card_number =
            (12..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if fits && !card_number {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue(
                "is not a payment method token: 1 to 128 letters, digits, '_' or '-', for example pm_card_visa, and never a card number",
            ))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
