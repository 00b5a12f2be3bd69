//! Values that cannot be wrong: each is checked once, where it enters.

use std::fmt;

use super::payment::OrderId;

const MAX_PAYMENT_METHOD_CHARACTERS: usize = 128;

/// A value that was not accepted; the text says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(&'static str);

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

/// An amount in the currency's minor unit: 1999 USD is $19.99. There is always something to
/// charge or to give back, so it is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    amount: i64,
    currency: Currency,
}

impl Money {
    pub fn new(amount: i64, currency: &str) -> Result<Self, InvalidValue> {
        if amount < 1 {
            return Err(InvalidValue(
                "is not above zero; amounts are whole minor units from 1",
            ));
        }
        Ok(Self {
            amount,
            currency: Currency::parse(currency)?,
        })
    }

    /// In the currency's minor unit.
    pub fn amount(self) -> i64 {
        self.amount
    }

    pub fn currency(self) -> Currency {
        self.currency
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
        // stored or sent on.
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

/// The idempotency key under which the provider knows an order's charge. It is stored with the
/// charge, so that a charge under way keeps its key whatever later code derives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeKey(String);

impl ChargeKey {
    pub fn of(order_id: OrderId) -> Self {
        Self(format!("charge-{}", order_id.0))
    }

    /// A key as it was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The key under which this charge, and no other, is given back.
    pub fn refund(&self) -> RefundKey {
        RefundKey(format!("{}-refund", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The idempotency key under which the provider knows the refund of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundKey(String);

impl RefundKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
