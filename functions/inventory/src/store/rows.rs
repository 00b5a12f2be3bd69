//! The stored rows and their conversion to domain values.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_lambda::Error;
use shared_lambda::table::millis;
use uuid::Uuid;

use super::{CATALOGUE, ITEM, KEY, RESERVATION};
use crate::domain::{
    Adjustment, CreationKey, Currency, Delta, Item, ItemName, Levels, Price, PriceAmount, Quantity,
    Reason, Refusal, RefusalCode, Reservation, ReservedLine, Sku,
};
use crate::migrations::SCHEMAS;

pub(super) fn item_pk(sku: &Sku) -> String {
    format!("ITEM#{sku}")
}

pub(super) fn key_pk(id: Uuid) -> String {
    format!("KEY#{id}")
}

pub(super) fn order_pk(order_id: Uuid) -> String {
    format!("ORDER#{order_id}")
}

pub(super) fn adjustment_sk(id: Uuid) -> String {
    format!("ADJUSTMENT#{id}")
}

/// An item in the index: only keys, which are always present.
#[derive(Deserialize)]
pub(super) struct IndexRow {
    pub pk: String,
    pub sku: String,
}

/// Attributes that no reader needs are not read. So a row without them, or with other values, stays
/// readable.
#[derive(Serialize, Deserialize)]
pub(super) struct ItemRow {
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    #[serde(skip_deserializing)]
    catalogue: String,
    #[serde(skip_deserializing)]
    sku: String,
    name: String,
    amount: i64,
    currency: String,
    stocked: i64,
    available: i64,
    held: i64,
    created_at: String,
    updated_at: String,
    #[serde(skip_deserializing)]
    pub created_by_request: String,
}

impl ItemRow {
    pub fn new(item: &Item, request: Uuid) -> Self {
        Self {
            pk: item_pk(&item.sku),
            sk: ITEM.to_owned(),
            schema: SCHEMAS.writes,
            catalogue: CATALOGUE.to_owned(),
            sku: item.sku.as_str().to_owned(),
            name: item.name.as_str().to_owned(),
            amount: item.price.amount.get(),
            currency: item.price.currency.as_str().to_owned(),
            stocked: item.levels.stocked,
            available: item.levels.available,
            held: item.levels.held,
            created_at: millis(item.created_at),
            updated_at: millis(item.updated_at),
            created_by_request: request.to_string(),
        }
    }
}

impl ItemRow {
    pub fn parse(self) -> Result<Item, Error> {
        Ok(Item {
            sku: sku_in(&self.pk)?,
            name: ItemName::stored(self.name),
            price: price(self.amount, &self.currency)?,
            levels: Levels {
                stocked: self.stocked,
                available: self.available,
                held: self.held,
            },
            created_at: self.created_at.parse::<Timestamp>()?,
            updated_at: self.updated_at.parse::<Timestamp>()?,
        })
    }
}

/// The SKU in a row's key.
fn sku_in(pk: &str) -> Result<Sku, Error> {
    let sku = pk
        .strip_prefix("ITEM#")
        .ok_or("its pk does not begin with ITEM#")?;
    Ok(Sku::stored(sku)?)
}

fn price(amount: i64, currency: &str) -> Result<Price, Error> {
    Ok(Price {
        amount: PriceAmount::stored(amount)?,
        currency: Currency::stored(currency)?,
    })
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeyRow {
    #[serde(skip_deserializing)]
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    sku: String,
    fingerprint: Uuid,
    #[serde(skip_deserializing)]
    created_at: String,
}

impl KeyRow {
    pub fn new(key: &CreationKey, item: &Item) -> Self {
        Self {
            pk: key_pk(key.id),
            sk: KEY.to_owned(),
            schema: SCHEMAS.writes,
            sku: item.sku.as_str().to_owned(),
            fingerprint: key.fingerprint,
            created_at: millis(item.created_at),
        }
    }

    /// The item that was created, and the fingerprint of the request.
    pub fn parse(self) -> Result<(Sku, Uuid), Error> {
        Ok((Sku::stored(&self.sku)?, self.fingerprint))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AdjustmentRow {
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    id: String,
    #[serde(skip_deserializing)]
    sku: String,
    delta: i64,
    reason: String,
    made_by: String,
    created_at: String,
}

impl AdjustmentRow {
    pub fn new(adjustment: &Adjustment) -> Self {
        Self {
            pk: item_pk(&adjustment.sku),
            sk: adjustment_sk(adjustment.id),
            schema: SCHEMAS.writes,
            id: adjustment.id.to_string(),
            sku: adjustment.sku.as_str().to_owned(),
            delta: adjustment.delta.get(),
            reason: adjustment.reason.as_str().to_owned(),
            made_by: adjustment.made_by.to_string(),
            created_at: millis(adjustment.created_at),
        }
    }
}

impl AdjustmentRow {
    pub fn parse(self) -> Result<Adjustment, Error> {
        Ok(Adjustment {
            id: self.id.parse::<Uuid>()?,
            sku: sku_in(&self.pk)?,
            delta: Delta::stored(self.delta),
            reason: Reason::stored(self.reason),
            made_by: self.made_by.parse::<Uuid>()?,
            created_at: self.created_at.parse::<Timestamp>()?,
        })
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    Reserved,
    Refused,
    Released,
}

impl Status {
    /// The same text as serde's.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Reserved => "RESERVED",
            Status::Refused => "REFUSED",
            Status::Released => "RELEASED",
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ReservationRow {
    #[serde(skip_deserializing)]
    pk: String,
    #[serde(skip_deserializing)]
    sk: String,
    #[serde(skip_deserializing)]
    schema: u32,
    #[serde(skip_deserializing)]
    order_id: String,
    status: Status,
    /// The units that are or were held; empty for a tombstone and a refusal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalRow>,
    #[serde(skip_deserializing)]
    created_at: String,
    #[serde(skip_deserializing)]
    updated_at: String,
}

#[derive(Serialize, Deserialize)]
struct LineRow {
    sku: String,
    /// Absent in rows from before names were stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    quantity: i64,
    amount: i64,
    currency: String,
}

#[derive(Serialize, Deserialize)]
struct RefusalRow {
    code: String,
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sku: Option<String>,
}

impl ReservationRow {
    fn new(order_id: Uuid, status: Status, now: Timestamp) -> Self {
        Self {
            pk: order_pk(order_id),
            sk: RESERVATION.to_owned(),
            schema: SCHEMAS.writes,
            order_id: order_id.to_string(),
            status,
            lines: Vec::new(),
            refusal: None,
            created_at: millis(now),
            updated_at: millis(now),
        }
    }

    pub fn reserved(order_id: Uuid, lines: &[ReservedLine], now: Timestamp) -> Self {
        let lines = lines.iter().map(|line| LineRow {
            sku: line.sku.as_str().to_owned(),
            name: line.name.as_ref().map(|name| name.as_str().to_owned()),
            quantity: line.quantity.get(),
            amount: line.unit_price.amount.get(),
            currency: line.unit_price.currency.as_str().to_owned(),
        });
        Self {
            lines: lines.collect(),
            ..Self::new(order_id, Status::Reserved, now)
        }
    }

    pub fn refused(order_id: Uuid, refusal: &Refusal, now: Timestamp) -> Self {
        Self {
            refusal: Some(RefusalRow {
                code: refusal.code.as_str().to_owned(),
                detail: refusal.detail.clone(),
                sku: refusal.sku.as_ref().map(|sku| sku.as_str().to_owned()),
            }),
            ..Self::new(order_id, Status::Refused, now)
        }
    }

    pub fn tombstone(order_id: Uuid, now: Timestamp) -> Self {
        Self::new(order_id, Status::Released, now)
    }
}

impl ReservationRow {
    pub fn parse(self) -> Result<Reservation, Error> {
        match self.status {
            Status::Released => Ok(Reservation::Released),
            Status::Refused => {
                let refusal = self.refusal.ok_or("a refusal without a reason")?;
                refusal.parse().map(Reservation::Refused)
            }
            Status::Reserved => self
                .lines
                .into_iter()
                .map(LineRow::parse)
                .collect::<Result<_, _>>()
                .map(Reservation::Reserved),
        }
    }
}

impl LineRow {
    fn parse(self) -> Result<ReservedLine, Error> {
        Ok(ReservedLine {
            sku: Sku::stored(&self.sku)?,
            name: self.name.map(ItemName::stored),
            quantity: Quantity::stored(self.quantity)?,
            unit_price: price(self.amount, &self.currency)?,
        })
    }
}

impl RefusalRow {
    fn parse(self) -> Result<Refusal, Error> {
        let code = RefusalCode::parse(&self.code).ok_or("a refusal with an unknown code");
        let sku = self.sku.as_deref().map(Sku::stored).transpose();
        Ok(Refusal {
            code: code?,
            detail: self.detail,
            sku: sku?,
        })
    }
}
