//! An order's reservation: the decision to hold units, and their release.
//!
//! The first command to arrive creates the reservation. A reserve command decides for good:
//!
//! ```text
//! (none) --ReserveStock--> RESERVED --ReleaseStock--> RELEASED
//! (none) --ReserveStock--> REFUSED
//! (none) --ReleaseStock--> RELEASED          (a tombstone: a late reserve is refused)
//! ```
//!
//! In every other case, a command changes nothing and is answered from the record.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{Item, ItemName, Price};
use super::stock::Quantity;
use super::values::Sku;

/// The most lines of an order.
pub const MAX_LINES: usize = 50;

/// One line that an order wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLine {
    pub sku: Sku,
    pub quantity: Quantity,
}

/// The lines that an order wants: 1 to [`MAX_LINES`], no SKU twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLines(Vec<WantedLine>);

/// The reason why lines are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLines {
    #[error("is empty")]
    Empty,
    #[error("has {0} entries; at most {MAX_LINES} are allowed")]
    TooMany(usize),
    #[error("has {0} more than once")]
    Duplicate(Sku),
}

impl WantedLines {
    pub fn new(lines: Vec<WantedLine>) -> Result<Self, InvalidLines> {
        if lines.is_empty() {
            return Err(InvalidLines::Empty);
        }
        if lines.len() > MAX_LINES {
            return Err(InvalidLines::TooMany(lines.len()));
        }
        let mut seen = BTreeSet::new();
        for line in &lines {
            if !seen.insert(&line.sku) {
                return Err(InvalidLines::Duplicate(line.sku.clone()));
            }
        }
        Ok(Self(lines))
    }

    /// Checks that a reservation holds exactly these lines, in any order.
    pub fn check_held(&self, held: &[ReservedLine]) -> Result<(), OtherLines> {
        let asked: BTreeMap<_, _> = self.0.iter().map(|l| (&l.sku, l.quantity.get())).collect();
        let held: BTreeMap<_, _> = held.iter().map(|l| (&l.sku, l.quantity.get())).collect();
        if asked == held {
            return Ok(());
        }
        let listed = |lines: BTreeMap<&Sku, i64>| {
            let lines = lines.into_iter();
            let lines: Vec<_> = lines.map(|(sku, units)| format!("{units} {sku}")).collect();
            lines.join(", ")
        };
        Err(OtherLines {
            asked: listed(asked),
            held: listed(held),
        })
    }

    pub fn skus(&self) -> Vec<Sku> {
        self.0.iter().map(|line| line.sku.clone()).collect()
    }
}

/// Two reserve commands of one order had different lines: the sender has a bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asks for {asked}, but the order's reservation holds {held}")]
pub struct OtherLines {
    asked: String,
    held: String,
}

/// A held line with inventory's price at that time, which the order pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedLine {
    pub sku: Sku,
    /// The item's name at that time. Absent in older reservations.
    pub name: Option<ItemName>,
    pub quantity: Quantity,
    pub unit_price: Price,
}

/// The reason why an order holds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    pub detail: String,
    /// The item concerned, if there is one.
    pub sku: Option<Sku>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    UnknownItem,
    MixedCurrency,
    OutOfStock,
    Released,
}

impl RefusalCode {
    pub const ALL: [Self; 4] = [
        Self::UnknownItem,
        Self::MixedCurrency,
        Self::OutOfStock,
        Self::Released,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownItem => "unknown_item",
            Self::MixedCurrency => "mixed_currency",
            Self::OutOfStock => "out_of_stock",
            Self::Released => "released",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl Refusal {
    fn unknown_item(sku: &Sku) -> Self {
        Self {
            code: RefusalCode::UnknownItem,
            detail: format!("there is no item {sku}"),
            sku: Some(sku.clone()),
        }
    }

    fn mixed_currency(currencies: &BTreeSet<&str>) -> Self {
        let currencies: Vec<&str> = currencies.iter().copied().collect();
        Self {
            code: RefusalCode::MixedCurrency,
            detail: format!(
                "an order has one currency, but these items are priced in {}",
                currencies.join(" and ")
            ),
            sku: None,
        }
    }

    fn out_of_stock(wanted: &WantedLine, available: i64) -> Self {
        Self {
            code: RefusalCode::OutOfStock,
            detail: format!(
                "the order wants {} of {}; {available} are available",
                wanted.quantity.get(),
                wanted.sku
            ),
            sku: Some(wanted.sku.clone()),
        }
    }

    fn released() -> Self {
        Self {
            code: RefusalCode::Released,
            detail: "the order has already released its reservation".to_owned(),
            sku: None,
        }
    }
}

/// An order's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    Reserved(Vec<ReservedLine>),
    Refused(Refusal),
    /// Returned, or a tombstone.
    Released,
}

/// The answer to a reserve command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Reserved(Vec<ReservedLine>),
    Refused(Refusal),
}

/// The action for a reserve command, by the order's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnReserve {
    /// There is no record: call [`decide`].
    Decide,
    /// The recorded decision is the answer; the present stock does not matter.
    Replay(Outcome),
}

pub fn on_reserve(record: Option<Reservation>) -> OnReserve {
    match record {
        None => OnReserve::Decide,
        Some(Reservation::Reserved(lines)) => OnReserve::Replay(Outcome::Reserved(lines)),
        Some(Reservation::Refused(refusal)) => OnReserve::Replay(Outcome::Refused(refusal)),
        Some(Reservation::Released) => OnReserve::Replay(Outcome::Refused(Refusal::released())),
    }
}

/// The action for a release command, by the order's record. The answer is always that the order
/// holds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnRelease {
    /// Return these units.
    GiveBack(Vec<ReservedLine>),
    /// Refuse a reserve that may still arrive.
    Tombstone,
    /// The order holds nothing and never will.
    Nothing,
}

pub fn on_release(record: Option<Reservation>) -> OnRelease {
    match record {
        None => OnRelease::Tombstone,
        Some(Reservation::Reserved(lines)) => OnRelease::GiveBack(lines),
        Some(Reservation::Refused(_)) | Some(Reservation::Released) => OnRelease::Nothing,
    }
}

/// Reserves all lines of an order, or none.
pub fn decide(wanted: &WantedLines, items: &[Item]) -> Outcome {
    let mut lines = Vec::with_capacity(wanted.0.len());
    for line in &wanted.0 {
        match items.iter().find(|item| item.sku == line.sku) {
            Some(item) => lines.push((line, item)),
            None => return Outcome::Refused(Refusal::unknown_item(&line.sku)),
        }
    }
    let currencies: BTreeSet<&str> = lines
        .iter()
        .map(|(_, item)| item.price.currency.as_str())
        .collect();
    if currencies.len() > 1 {
        return Outcome::Refused(Refusal::mixed_currency(&currencies));
    }
    let short = lines
        .iter()
        .find(|(line, item)| item.levels.available < line.quantity.get());
    if let Some((line, item)) = short {
        return Outcome::Refused(Refusal::out_of_stock(line, item.levels.available));
    }
    let reserve = |(line, item): (&WantedLine, &Item)| ReservedLine {
        sku: line.sku.clone(),
        name: Some(item.name.clone()),
        quantity: line.quantity,
        unit_price: item.price.clone(),
    };
    Outcome::Reserved(lines.into_iter().map(reserve).collect())
}
