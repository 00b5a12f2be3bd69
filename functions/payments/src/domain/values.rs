//! Values that cannot be wrong: each is checked once, where it enters.

use std::fmt;

use uuid::Uuid;

const MAX_PAYMENT_METHOD_CHARACTERS: usize = 128;

/// The order a payment is for. There is one payment an order, so this is its id as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderId(pub Uuid);

/// A value that was not accepted; the text says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(&'static str);

/// A currency's code as orders and rows have it: three capital letters. ISO 4217 is consulted at the
/// first charge only, so that an older charge with another code can still be refunded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    pub fn stored(text: &str) -> Result<Self, InvalidValue> {
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

    /// How many digits its minor unit has (ISO 4217); nothing where it has none, or is no currency.
    pub fn minor_digits(&self) -> Option<u16> {
        iso_currency::Currency::from_code(self.as_str())?.exponent()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The highest amount that is charged: the whole numbers that every JSON reader keeps exactly
/// (RFC 7493 §2.2, 2^53 - 1). Orders has the same bound for a total.
pub const MAX_AMOUNT: i64 = 9_007_199_254_740_991;

/// An amount in the currency's minor unit: 1999 USD is $19.99. There is always something to
/// charge or to give back, so it is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    amount: i64,
    currency: Currency,
}

impl Money {
    /// Of a command.
    pub fn new(amount: i64, currency: &str) -> Result<Self, InvalidValue> {
        if !(1..=MAX_AMOUNT).contains(&amount) {
            return Err(InvalidValue(
                "is not a whole number of minor units from 1 to 9007199254740991",
            ));
        }
        Self::stored(amount, currency)
    }

    /// Of a payment that exists. Takes whatever `new` has ever taken.
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

/// For people, in the major unit: `14.00 USD`, `1400 JPY`, `1.400 KWD`.
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

/// A payment provider's token for a card or account, for example `pm_card_visa`. New orders have nothing
/// else here. Older ones may have a card number in groups, so a payment method is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentMethod(String);

impl fmt::Debug for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentMethod(..)")
    }
}

impl PaymentMethod {
    /// Takes whatever orders has ever taken.
    pub fn stored(text: &str) -> Result<Self, InvalidValue> {
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

const MAX_TEXT_CHARACTERS: usize = 500;

/// A provider's text as it is kept and passed on: one bounded line without card numbers. An order's row
/// keeps it as well, and a provider may quote what it was given.
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
