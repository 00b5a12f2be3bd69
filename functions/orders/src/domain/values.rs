//! Values that are checked once, on entry, and valid from then on.
//!
//! Each type has two constructors. `parse` or `new` takes new input and may become stricter. `stored`
//! takes rows and messages: it accepts every value that was ever accepted, so older orders stay readable.

use std::fmt;

use iso_currency::Currency as Iso4217;

/// The most lines an order may have.
pub const MAX_LINES: usize = 50;

/// The most units one line may ask for.
pub const MAX_QUANTITY: u32 = 10_000;

/// The largest amount, 2^53 - 1: every JSON parser keeps integers up to here exact (RFC 7493 §2.2).
pub const MAX_AMOUNT: i64 = 9_007_199_254_740_991;

/// The most characters of an item's name that an order keeps.
pub const MAX_NAME: usize = 200;

/// The most characters of a failure's code.
pub const MAX_CODE: usize = 64;

/// The most characters of a detail, because DynamoDB refuses an item above 400 KB.
pub const MAX_DETAIL: usize = 1_000;

const MAX_SKU_CHARACTERS: usize = 64;
const MAX_PAYMENT_METHOD_CHARACTERS: usize = 128;

/// Payment card numbers have 12 to 19 digits (ISO/IEC 7812-1).
const MAX_DIGITS_IN_A_ROW: usize = 11;

/// Cleans a text of a participant or an operator: no control characters, at most `limit` characters.
/// A shortened text ends in an ellipsis.
pub fn bounded(text: &str, limit: usize) -> String {
    let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut kept: String = characters.by_ref().take(limit).collect();
    if characters.next().is_some() {
        kept.pop();
        kept.push('…');
    }
    kept
}

/// An invalid value; the text states the rule it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(&'static str);

/// A stock keeping unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sku(String);

impl Sku {
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        Self::stored(text)
    }

    pub fn stored(text: &str) -> Result<Self, InvalidValue> {
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
        Self::stored(units)
    }

    pub fn stored(units: i64) -> Result<Self, InvalidValue> {
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

/// An ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Takes a currency with a minor unit. In ISO 4217 `XXX` (no currency), `XTS` (for tests), metals
    /// and bonds have none.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        Self::stored(text)
            .ok()
            .filter(|currency| currency.exponent().is_some())
            .ok_or(InvalidValue(
                "is not a currency of ISO 4217 with a minor unit, in capital letters, for example USD",
            ))
    }

    /// Takes any three capital letters.
    pub fn stored(text: &str) -> Result<Self, InvalidValue> {
        <[u8; 3]>::try_from(text.as_bytes())
            .ok()
            .filter(|code| code.iter().all(u8::is_ascii_uppercase))
            .map(Self)
            .ok_or(InvalidValue("is not three capital letters"))
    }

    /// The minor unit's decimal places; none for a code without a minor unit or unknown to ISO 4217.
    fn exponent(self) -> Option<u16> {
        Iso4217::from_code(self.as_str())?.exponent()
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
        Ok(Self {
            amount: Self::minor_units(amount)?,
            currency: Currency::parse(currency)?,
        })
    }

    /// The amount alone, for a caller that checks the currency separately.
    pub fn minor_units(amount: i64) -> Result<i64, InvalidValue> {
        if !(0..=MAX_AMOUNT).contains(&amount) {
            return Err(InvalidValue(
                "is not an amount: whole minor units from 0 to 9007199254740991",
            ));
        }
        Ok(amount)
    }

    pub fn stored(amount: i64, currency: &str) -> Result<Self, InvalidValue> {
        if amount < 0 {
            return Err(InvalidValue("is below zero"));
        }
        Ok(Self {
            amount,
            currency: Currency::stored(currency)?,
        })
    }
}

/// In the currency's main unit: `14.00 USD`, `1400 JPY`, `1.400 BHD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (amount, code) = (self.amount, self.currency.as_str());
        match self.currency.exponent() {
            None => write!(f, "{amount} {code} (in minor units)"),
            Some(0) => write!(f, "{amount} {code}"),
            Some(places) => {
                let unit = 10_i64.pow(places.into());
                let (whole, part) = (amount / unit, amount % unit);
                write!(f, "{whole}.{part:0width$} {code}", width = places.into())
            }
        }
    }
}

/// A payment provider's token for a card or account, for example `pm_card_visa`. Never a card
/// number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentMethod(String);

impl PaymentMethod {
    /// Takes a provider's token: `pm`, then words joined by `_`. Each word has letters and digits, at
    /// least one letter, and no run of digits as long as a card number.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let mut words = text.split('_');
        let has_shape = words.next() == Some("pm") && text.contains('_') && words.all(is_word);
        if has_shape && text.len() <= MAX_PAYMENT_METHOD_CHARACTERS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue(
                "is not a payment method token: pm_ and at most 125 letters and digits, in words joined by '_', each with a letter and at most 11 digits in a row, for example pm_card_visa",
            ))
        }
    }

    /// Takes tokens by the older rule, which did not require `pm_`.
    pub fn stored(text: &str) -> Result<Self, InvalidValue> {
        let fits = (1..=MAX_PAYMENT_METHOD_CHARACTERS).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let card_number =
            (12..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if fits && !card_number {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue("is not a stored payment method token"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_word(word: &str) -> bool {
    let is_plain = word.bytes().all(|b| b.is_ascii_alphanumeric());
    let mut digits = word.split(|c: char| c.is_ascii_alphabetic());
    is_plain
        && word.contains(|c: char| c.is_ascii_alphabetic())
        && digits.all(|run| run.len() <= MAX_DIGITS_IN_A_ROW)
}
