//! The fields that each service needs to read its own rows.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{EVENTS, Money, PaymentStatus, REFUSALS, ReservationStatus, RowKey};

/// The fields a service reads. Fields that it only writes may be missing.
pub(super) trait Shape: DeserializeOwned {
    fn check(&self, place: &RowKey) -> Result<(), String>;
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "most fields only have to exist")]
pub(super) struct OrderShape {
    lines: Vec<LineShape>,
    payment_method: String,
    expected_total: Option<MoneyShape>,
    fingerprint: Uuid,
    #[serde(rename = "rehearsal")]
    faults: Option<String>,
    total: Option<MoneyShape>,
    failure: Option<ReasonShape>,
    timeline: Vec<EntryShape>,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct LineShape {
    sku: String,
    quantity: i64,
    #[serde(rename = "unit_price")]
    _unit_price: Option<MoneyShape>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "these fields only have to exist")]
struct ReasonShape {
    code: String,
    detail: String,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "most fields only have to exist")]
struct EntryShape {
    what: String,
    attempt: Option<u32>,
}

impl Shape for OrderShape {
    fn check(&self, _: &RowKey) -> Result<(), String> {
        for line in &self.lines {
            is_line(&line.sku, line.quantity)?;
        }
        is_token(&self.payment_method)?;
        // `<step>=<fault>`, several with commas between them.
        let is_fault = |part: &str| {
            let is_word = |word: &str| {
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            let pair = part.trim().split_once('=');
            pair.is_some_and(|(step, fault)| is_word(step) && is_word(fault))
        };
        if let Some(text) = &self.faults
            && !text.split(',').all(is_fault)
        {
            return Err(format!("its rehearsal is {text:?}"));
        }
        let mut events = self.timeline.iter().map(|entry| &*entry.what);
        match events.find(|what| !EVENTS.contains(what)) {
            Some(what) => Err(format!("its timeline has {what:?}")),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "most fields only have to exist")]
pub(super) struct ItemShape {
    name: String,
    #[serde(flatten)]
    price: MoneyShape,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Shape for ItemShape {
    fn check(&self, place: &RowKey) -> Result<(), String> {
        is_sku(place.sku().unwrap_or_default())?;
        is_text("name", &self.name)?;
        self.price.is_above_nothing()
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "most fields only have to exist")]
pub(super) struct AdjustmentShape {
    id: Uuid,
    reason: String,
    made_by: Uuid,
    created_at: Timestamp,
}

impl Shape for AdjustmentShape {
    fn check(&self, place: &RowKey) -> Result<(), String> {
        is_text("reason", &self.reason)?;
        match place.sk == format!("ADJUSTMENT#{}", self.id) {
            true => Ok(()),
            false => Err(format!(
                "its id is {} and its key is {:?}",
                self.id, place.sk
            )),
        }
    }
}

/// The record of a key, which only the creation of an item reads.
#[derive(Deserialize)]
#[allow(dead_code, reason = "a fingerprint only has to exist")]
pub(super) struct KeyShape {
    sku: String,
    fingerprint: Uuid,
}

impl Shape for KeyShape {
    fn check(&self, _: &RowKey) -> Result<(), String> {
        is_sku(&self.sku)
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "most fields only have to exist")]
pub(super) struct ReservationShape {
    status: ReservationStatus,
    #[serde(default)]
    lines: Vec<HeldShape>,
    refusal: Option<RefusalShape>,
}

#[derive(Deserialize)]
struct HeldShape {
    sku: String,
    quantity: i64,
    #[serde(flatten)]
    price: MoneyShape,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "most fields only have to exist")]
struct RefusalShape {
    code: String,
    detail: String,
    sku: Option<String>,
}

impl Shape for ReservationShape {
    fn check(&self, _: &RowKey) -> Result<(), String> {
        match (self.status, &self.refusal) {
            (ReservationStatus::Reserved, _) => {
                for line in &self.lines {
                    is_line(&line.sku, line.quantity)?;
                    line.price.is_above_nothing()?;
                }
                Ok(())
            }
            (ReservationStatus::Refused, None) => Err("it is refused without a reason".to_owned()),
            (ReservationStatus::Refused, Some(refusal)) => {
                refusal.sku.as_deref().map_or(Ok(()), is_sku)?;
                match REFUSALS.contains(&&*refusal.code) {
                    true => Ok(()),
                    false => Err(format!("it is refused as {:?}", refusal.code)),
                }
            }
            // A service does not read the lines of a released reservation.
            (ReservationStatus::Released, _) => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "most fields only have to exist")]
pub(super) struct PaymentShape {
    status: PaymentStatus,
    charge: Option<AskedShape>,
    payment_id: Option<String>,
    decline: Option<ReasonShape>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct AskedShape {
    #[serde(flatten)]
    money: MoneyShape,
    method: String,
}

impl Shape for PaymentShape {
    fn check(&self, _: &RowKey) -> Result<(), String> {
        let status = self.status;
        let (charge, payment_id, decline) = match status {
            PaymentStatus::Charging => (true, false, false),
            PaymentStatus::Charged | PaymentStatus::Refunding | PaymentStatus::Refunded => {
                (true, true, false)
            }
            PaymentStatus::Declined => (true, false, true),
            PaymentStatus::Voided => (false, false, false),
        };
        for (name, is_missing) in [
            ("charge", charge && self.charge.is_none()),
            ("payment_id", payment_id && self.payment_id.is_none()),
            ("decline", decline && self.decline.is_none()),
        ] {
            if is_missing {
                return Err(format!("it is {status} without a {name}"));
            }
        }
        if let Some(charge) = &self.charge {
            is_token(&charge.method)?;
            charge.money.is_above_nothing()?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
pub(super) struct ChargeShape {
    #[serde(rename = "asked")]
    _asked: Option<AskedShape>,
    #[serde(flatten)]
    _outcome: OutcomeShape,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(dead_code, reason = "these fields only have to exist")]
enum OutcomeShape {
    Charged { payment_id: String },
    Declined { code: String, detail: String },
    Cancelled,
}

impl Shape for ChargeShape {
    fn check(&self, _: &RowKey) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Deserialize)]
pub(super) struct RefundShape {
    #[serde(flatten)]
    money: MoneyShape,
}

impl Shape for RefundShape {
    fn check(&self, _: &RowKey) -> Result<(), String> {
        self.money.is_above_nothing()
    }
}

/// Any three capitals are a currency: old rows may hold currencies that are no longer accepted.
#[derive(Deserialize)]
#[serde(try_from = "Money")]
struct MoneyShape(Money);

impl TryFrom<Money> for MoneyShape {
    type Error = String;

    fn try_from(money: Money) -> Result<Self, String> {
        let Money { amount, currency } = &money;
        let is_code = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
        match *amount >= 0 && is_code {
            true => Ok(Self(money)),
            false => Err(format!("{amount} {currency:?} is not a valid amount")),
        }
    }
}

impl MoneyShape {
    fn is_above_nothing(&self) -> Result<(), String> {
        match self.0.amount >= 1 {
            true => Ok(()),
            false => Err("its amount is below 1".to_owned()),
        }
    }
}

fn is_line(sku: &str, quantity: i64) -> Result<(), String> {
    is_sku(sku)?;
    match quantity >= 1 {
        true => Ok(()),
        false => Err(format!("{quantity} units of {sku} are not a valid line")),
    }
}

fn is_sku(sku: &str) -> Result<(), String> {
    let is_in_it = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins = sku.starts_with(|first: char| first.is_ascii_alphanumeric());
    match begins && sku.len() <= 64 && sku.bytes().all(is_in_it) {
        true => Ok(()),
        false => Err(format!("{sku:?} is not a SKU")),
    }
}

/// A payment method. Today's rule is narrower, but old rows follow this one.
fn is_token(text: &str) -> Result<(), String> {
    let is_in_it = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_card_number =
        (12..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    match (1..=128).contains(&text.len()) && text.bytes().all(is_in_it) && !is_card_number {
        true => Ok(()),
        // It may be a card number, so it is not printed.
        false => Err("its payment method is not a token".to_owned()),
    }
}

fn is_text(name: &str, text: &str) -> Result<(), String> {
    match text.is_empty() {
        true => Err(format!("its {name} is empty")),
        false => Ok(()),
    }
}
