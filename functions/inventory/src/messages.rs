//! The messages of the inventory queue and the replies to orders.
//!
//! Their contracts are in `contracts/`. Unknown fields are ignored, because a sender may be newer.

use serde::{Deserialize, Serialize};
use shared_lambda::envelope::Payload;
use shared_lambda::sqs::Failure;

use crate::domain::{Price, Quantity, Refusal, ReservedLine, Sku, WantedLine, WantedLines};

/// Command: hold these units for the order, at today's prices.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReserveStock {
    pub lines: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
}

impl Payload for ReserveStock {
    const TYPE: &'static str = "ReserveStock";
}

impl ReserveStock {
    /// Validates the lines. Orders has validated them when the order was placed. An invalid command is
    /// therefore a bug for an operator, not a refusal for the customer.
    pub fn wanted(&self) -> Result<WantedLines, Failure> {
        let mut lines = Vec::with_capacity(self.lines.len());
        for (index, line) in self.lines.iter().enumerate() {
            let sku = Sku::stored(&line.sku)
                .map_err(|error| defect(format!("/data/lines/{index}/sku {error}")))?;
            let quantity = Quantity::parse(line.quantity)
                .map_err(|error| defect(format!("/data/lines/{index}/quantity {error}")))?;
            lines.push(WantedLine { sku, quantity });
        }
        WantedLines::new(lines).map_err(|error| defect(format!("/data/lines {error}")))
    }
}

fn defect(detail: String) -> Failure {
    Failure::unprocessable(format!("in {}, {detail}", ReserveStock::TYPE))
}

/// Command: hold nothing for the order from now on.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReleaseStock {}

impl Payload for ReleaseStock {
    const TYPE: &'static str = "ReleaseStock";
}

/// Reply: the units are held, at these prices.
#[derive(Debug, Serialize)]
pub struct StockReserved {
    lines: Vec<PricedLine>,
}

#[derive(Debug, Serialize)]
struct PricedLine {
    sku: String,
    /// Absent in reservations from before names were stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    quantity: i64,
    unit_price: Money,
}

#[derive(Debug, Serialize)]
struct Money {
    amount: i64,
    currency: String,
}

impl Payload for StockReserved {
    const TYPE: &'static str = "StockReserved";
}

impl From<Vec<ReservedLine>> for StockReserved {
    fn from(lines: Vec<ReservedLine>) -> Self {
        let lines = lines.into_iter().map(|line| PricedLine {
            sku: line.sku.as_str().to_owned(),
            name: line.name.map(|name| name.as_str().to_owned()),
            quantity: line.quantity.get(),
            unit_price: line.unit_price.into(),
        });
        Self {
            lines: lines.collect(),
        }
    }
}

impl From<Price> for Money {
    fn from(price: Price) -> Self {
        Self {
            amount: price.amount.get(),
            currency: price.currency.as_str().to_owned(),
        }
    }
}

/// Reply: nothing is held, and why.
#[derive(Debug, Serialize)]
pub struct StockRefused {
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<String>,
}

impl Payload for StockRefused {
    const TYPE: &'static str = "StockRefused";
}

impl From<Refusal> for StockRefused {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.as_str(),
            detail: bounded(&refusal.detail),
            sku: refusal.sku.map(|sku| sku.as_str().to_owned()),
        }
    }
}

/// The longest detail of a refusal: the order's row and timeline store it.
const MAX_DETAIL_CHARS: usize = 500;

fn bounded(detail: &str) -> String {
    let printable = detail.chars().filter(|c| !c.is_control());
    printable.take(MAX_DETAIL_CHARS).collect()
}

/// Reply: nothing is held any more.
#[derive(Debug, Serialize)]
pub struct StockReleased {}

impl Payload for StockReleased {
    const TYPE: &'static str = "StockReleased";
}
