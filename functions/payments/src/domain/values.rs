//! Validated values: each is checked once, where it enters.

use std::fmt;

use uuid::Uuid;

const MAX_PAYMENT_METHOD_CHARACTERS: usize = 128;

/// The order of a payment. An order has one payment, so this is also the payment's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderId(pub Uuid);

/// A refused value. The text names the accepted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(&'static str);

/// A currency's code: three capital letters. Only the first charge checks it against ISO 4217, so
/// that an older charge with another code can still be refunded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    pub fn stored(text: &str) -> Result<Self, InvalidValue> {
        <[u8; 3]>::try_from(text.as_bytes())
            .ok()
            .filter(|code| code.iter().all(u8::is_ascii_uppercase))
            .map(Self)
            .ok_or(InvalidValue(
                "is not a currency: send three capital letters (ISO 4217), for example USD",
            ))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters are UTF-8")
    }

    /// The digits of its minor unit (ISO 4217), if the currency exists and has one.
    pub fn minor_digits(&self) -> Option<u16> {
        iso_currency::Currency::from_code(self.as_str())?.exponent()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The highest charge: 2^53 - 1, the largest number that every JSON reader keeps exactly
/// (RFC 7493 §2.2). Orders has the same bound for a total.
pub const MAX_AMOUNT: i64 = 9_007_199_254_740_991;

/// An amount in the currency's minor unit: 1999 USD is $19.99. Charges and refunds are above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    amount: i64,
    currency: Currency,
}

impl Money {
    /// An amount of a command.
    pub fn new(amount: i64, currency: &str) -> Result<Self, InvalidValue> {
        if !(1..=MAX_AMOUNT).contains(&amount) {
            return Err(InvalidValue(
                "is not a whole number of minor units from 1 to 9007199254740991",
            ));
        }
        Self::stored(amount, currency)
    }

    /// A stored amount. It accepts every amount that `new` has ever accepted.
    pub fn stored(amount: i64, currency: &str) -> Result<Self, InvalidValue> {
        if amount < 1 {
            return Err(InvalidValue(
                "is not above zero; amounts are whole minor units from 1",
            ));
        }
        Ok(Self {
            amount,
            currency: Currency::stored(currency)?,
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

/// In the major unit: `14.00 USD`, `1400 JPY`, `1.400 KWD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (amount, code) = (self.amount, self.currency.as_str());
        match self.currency.minor_digits() {
            None => write!(f, "{amount} {code} (in minor units)"),
            Some(0) => write!(f, "{amount} {code}"),
            Some(digits) => {
                let unit = 10_i64.pow(digits.into());
                let (major, minor) = (amount / unit, amount % unit);
                write!(f, "{major}.{minor:0width$} {code}", width = digits.into())
            }
        }
    }
}

/// A payment provider's token for a card or account, for example `pm_card_visa`. Old orders may have
/// a grouped card number instead, so a payment method is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentMethod(String);

impl fmt::Debug for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentMethod(..)")
    }
}

impl PaymentMethod {
    /// Accepts every token that orders has ever accepted.
    pub fn stored(text: &str) -> Result<Self, InvalidValue> {
        let fits = (1..=MAX_PAYMENT_METHOD_CHARACTERS).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        // Card numbers have 12 to 19 digits (ISO/IEC 7812-1). They must not be stored or sent.
        let card_number =
            (12..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if fits && !card_number {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue(
                "is not a payment method token: send 1 to 128 letters, digits, '_' or '-', for example pm_card_visa, never a card number",
            ))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const MAX_TEXT_CHARACTERS: usize = 500;

/// A provider's text as one bounded line without card numbers, which a provider may quote. Payments
/// and orders store this form.
pub fn printable(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut line = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let in_groups = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.');
        let end = from.find(|c| !in_groups(c)).unwrap_or(from.len());
        let number = from[..end].trim_end_matches(|c: char| !c.is_ascii_digit());
        line.push_str(before);
        // Card numbers have 12 to 19 digits (ISO/IEC 7812-1).
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let is_short = digits < 12;
        line.push_str(if is_short {
            number
        } else {
            "(number left out)"
        });
        rest = &from[number.len()..];
    }
    line.push_str(rest);
    line.chars().take(MAX_TEXT_CHARACTERS).collect()
}

/// The provider's idempotency key of an order's charge. It is stored with the charge, so that a
/// running charge keeps its key if later code derives another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeKey(String);

impl ChargeKey {
    pub fn of(order_id: OrderId) -> Self {
        Self(format!("charge-{}", order_id.0))
    }

    /// A stored key.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The key of this charge's refund.
    pub fn refund(&self) -> RefundKey {
        RefundKey(format!("{}-refund", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The provider's idempotency key of a charge's refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundKey(String);

impl RefundKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
