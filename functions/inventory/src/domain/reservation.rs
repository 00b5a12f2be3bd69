//! An order's reservation: the decision to hold units for it, and what becomes of it.
//!
//! A reservation begins with whichever command arrives first. Reserving decides it, for good:
//!
//! ```text
//! (none) --ReserveStock--> RESERVED --ReleaseStock--> RELEASED
//! (none) --ReserveStock--> REFUSED
//! (none) --ReleaseStock--> RELEASED          (a tombstone: the reserve that comes late is refused)
//! ```
//!
//! Every other pair changes nothing and answers what the record says.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{Item, ItemName, Price};
use super::stock::Quantity;
use super::values::Sku;

/// The most lines an order can have.
pub const MAX_LINES: usize = 50;

/// One line of an order: what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLine {
    pub sku: Sku,
    pub quantity: Quantity,
}

/// What an order wants: 1 to [`MAX_LINES`] lines, no SKU twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLines(Vec<WantedLine>);

/// Why lines are not what an order can want.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLines {
    #[error("is empty")]
    Empty,
    #[error("has {0} entries, which is more than {MAX_LINES}")]
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

    /// Whether a reservation holds just this. The order of the lines does not matter: two senders may
    /// list the same lines differently.
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

/// One order was asked for twice with different lines, which no correct sender does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("asks for {asked}, and the order's reservation holds {held}")]
pub struct OtherLines {
    asked: String,
    held: String,
}

/// One line that is held, at the price that counts: inventory's own, then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedLine {
    pub sku: Sku,
    /// What the item was called then. Older reservations do not say.
    pub name: Option<ItemName>,
    pub quantity: Quantity,
    pub unit_price: Price,
}

/// Why nothing is held for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    pub detail: String,
    /// The item it is about, where it is about one.
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
                "one order is paid in one currency, and these items are priced in {}",
                currencies.join(" and ")
            ),
            sku: None,
        }
    }

    fn out_of_stock(wanted: &WantedLine, available: i64) -> Self {
        Self {
            code: RefusalCode::OutOfStock,
            detail: format!(
                "{} of {} wanted, {available} available",
                wanted.quantity.get(),
                wanted.sku
            ),
            sku: Some(wanted.sku.clone()),
        }
    }

    fn released() -> Self {
        Self {
            code: RefusalCode::Released,
            detail: "the order had given up its reservation already".to_owned(),
            sku: None,
        }
    }
}

/// What is on record for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    Reserved(Vec<ReservedLine>),
    Refused(Refusal),
    /// Given back, or never to be taken.
    Released,
}

/// The answer to a reserve command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Reserved(Vec<ReservedLine>),
    Refused(Refusal),
}

/// What to do about a reserve command, by what is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnReserve {
    /// Nothing is: [`decide`].
    Decide,
    /// It was decided before: this is the answer, whatever the stock is now.
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

/// What to do about a release command, by what is on record. The answer is the same each time:
/// nothing is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnRelease {
    /// Give these units back.
    GiveBack(Vec<ReservedLine>),
    /// The reserve may still come: see to it that it is refused.
    Tombstone,
    /// Nothing is held, and nothing will be.
    Nothing,
}

pub fn on_release(record: Option<Reservation>) -> OnRelease {
    match record {
        None => OnRelease::Tombstone,
        Some(Reservation::Reserved(lines)) => OnRelease::GiveBack(lines),
        Some(Reservation::Refused(_)) | Some(Reservation::Released) => OnRelease::Nothing,
    }
}

/// All of what an order wants, or nothing: never a part of it.
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
