//! An item that sells while it is read: by how much what its row holds can differ from what its
//! reservations hold.
//!
//! Row and reservations are never read at one moment. But a reservation that two looks saw alike was
//! so at every moment between them, and only those that they saw differently are in doubt. With the
//! item's row read between the two, the difference is known but for these; and as it does not come
//! and go, every pair of looks narrows it.

use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use super::books::{Reservation, ReservationStatus};
use super::look::{Held, Look};

/// What `held` exceeds the reservations by: at least this and at most that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    pub least: i128,
    pub most: i128,
}

impl Excess {
    pub fn can_be_none(self) -> bool {
        self.least <= 0 && self.most >= 0
    }

    pub fn is_none(self) -> bool {
        (self.least, self.most) == (0, 0)
    }

    /// What is left of both; where they contradict each other somebody has mended the row.
    fn and(self, later: Self) -> Self {
        let both = Self {
            least: self.least.max(later.least),
            most: self.most.min(later.most),
        };
        if both.least <= both.most { both } else { later }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most } = *self;
        match (least == most, least < 0) {
            (true, true) => write!(f, "{} fewer than its reservations", least.unsigned_abs()),
            (true, false) => write!(f, "{least} more than its reservations"),
            (false, _) => write!(f, "{least} to {most} more than its reservations"),
        }
    }
}

/// Narrows what is known by what two looks, one after the other, say together.
pub fn narrow(known: &mut BTreeMap<String, Excess>, first: &Look, second: &Look) {
    let levels = |held: &Held| held.clone().into_iter().collect::<Vec<_>>();
    let mut read = levels(&first.after);
    read.extend(levels(&second.before));
    if read.is_empty() {
        return;
    }
    let reserved = between(first, second);
    for (sku, held) in read {
        let Reserved { surely, perhaps } = reserved.get(&*sku).copied().unwrap_or_default();
        let seen = Excess {
            least: held - surely - perhaps,
            most: held - surely,
        };
        known
            .entry(sku)
            .and_modify(|excess| *excess = excess.and(seen))
            .or_insert(seen);
    }
}

/// What is reserved of an item at any moment between two looks.
#[derive(Clone, Copy, Default)]
struct Reserved {
    surely: i128,
    perhaps: i128,
}

fn between<'l>(first: &'l Look, second: &'l Look) -> BTreeMap<&'l str, Reserved> {
    let by_order = |look: &'l Look| -> BTreeMap<Uuid, &'l Reservation> {
        let reservations = look.books.reservations.iter();
        reservations.map(|r| (r.order_id, r)).collect()
    };
    let (first, second) = (by_order(first), by_order(second));
    let mut reserved: BTreeMap<&str, Reserved> = BTreeMap::new();
    let mut count = |reservation: &'l Reservation, is_sure: bool| {
        for line in &reservation.lines {
            let reserved = reserved.entry(&line.sku).or_default();
            let units = match is_sure {
                true => &mut reserved.surely,
                false => &mut reserved.perhaps,
            };
            *units += i128::from(line.quantity);
        }
    };
    for (id, reservation) in &second {
        match first.get(id) {
            Some(before) if before.status == reservation.status => {
                if reservation.status == ReservationStatus::Reserved {
                    count(reservation, true);
                }
            }
            Some(_) => count(reservation, false),
            None if reservation.status == ReservationStatus::Refused => {}
            None => count(reservation, false),
        }
    }
    for (id, reservation) in &first {
        if !second.contains_key(id) {
            count(reservation, false);
        }
    }
    reserved
}
