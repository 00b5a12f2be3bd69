//! Checks the reservation of each order and the levels of each item.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::next::RELEASED_TWICE;
use super::{Audit, Kind, Subject, WrittenOff, add, sum};
use crate::audit::rows::{Entry, Held, Item, Order, Reservation, ReservationStatus, State};

impl<'b> Audit<'b> {
    pub(super) fn reservation(&mut self, order: &'b Order) {
        let reservation = self.reservations.get(&order.id).copied();
        let reserved =
            reservation.filter(|reservation| reservation.status == ReservationStatus::Reserved);
        match (order.state.held().0, reserved) {
            (Held::All, None) => {
                let what = format!("it is {} and holds no stock", order.state);
                self.find_in(order, Kind::NotReserved, what);
            }
            (Held::All, Some(reservation)) if !same_lines(order, reservation) => {
                let what = "inventory holds other lines for it than it ordered".to_owned();
                self.find_in(order, Kind::ReservedOtherwise, what);
            }
            (Held::Nothing, Some(reservation)) => self.still_reserved(order, reservation),
            (Held::All, Some(_)) | (Held::Unknown, _) | (Held::Nothing, None) => {}
        }
        if let Some(reservation) = reserved {
            self.hold(order, reservation);
        }
        let released =
            reservation.filter(|reservation| reservation.status == ReservationStatus::Released);
        if let (Some(entry), Some(reservation)) = (order.has("release_abandoned"), released)
            && reservation.updated_at > entry.at
        {
            self.after_all(order, entry, "released", RELEASED_TWICE);
        }
    }

    fn still_reserved(&mut self, order: &Order, reservation: &Reservation) {
        let lines: Vec<String> = reservation
            .lines
            .iter()
            .map(|line| format!("{} of {}", line.quantity, line.sku))
            .collect();
        let lines = lines.join(", ");
        match release_abandoned(order, reservation) {
            Some(entry) => self.done.written_off.push(WrittenOff {
                order: order.id,
                what: lines,
                decision: entry.detail.clone().unwrap_or_default(),
                next: None,
            }),
            None if order.has("release_abandoned").is_some() => {
                let what = format!("{lines} were reserved for it after its release was abandoned");
                self.find_in(order, Kind::ReservedAfterAll, what);
            }
            None => {
                let what = format!("it is {} and still holds {lines}", order.state);
                self.find_in(order, Kind::StillReserved, what);
            }
        }
    }

    /// Books the units that a reservation holds.
    pub(super) fn hold(&mut self, order: &Order, reservation: &Reservation) {
        for line in &reservation.lines {
            let stock = self.done.stock.entry(line.sku.clone()).or_default();
            let account = if order.state.is_in_flight() {
                &mut stock.in_flight
            } else if order.state == State::Confirmed {
                &mut stock.confirmed
            } else if release_abandoned(order, reservation).is_some() {
                &mut stock.written_off
            } else {
                continue;
            };
            *account = add(*account, i128::from(line.quantity));
        }
    }

    pub(super) fn reservations_without_order(&mut self) {
        for reservation in &self.rows.reservations {
            let id = reservation.order_id;
            let is_held = reservation.status == ReservationStatus::Reserved;
            if !is_held || self.orders.contains_key(&id) || self.unreadable.contains(&id) {
                continue;
            }
            if self.rows.meanwhile.contains(&id) {
                for line in &reservation.lines {
                    let stock = self.done.stock.entry(line.sku.clone()).or_default();
                    stock.in_flight = add(stock.in_flight, i128::from(line.quantity));
                }
                continue;
            }
            let what = "inventory holds stock for it, but there is no such order".to_owned();
            let evidence = reservation.updated_at.to_string();
            self.find(
                Subject::Order(id),
                Kind::ReservationOfNobody,
                what,
                evidence,
            );
        }
    }

    /// Compares each item with its reservations.
    pub(super) fn stock(&mut self) {
        let rows = self.rows;
        let mut held: BTreeMap<&str, (i128, BTreeSet<Uuid>)> = BTreeMap::new();
        let reservations = rows.reservations.iter();
        for reservation in reservations.filter(|r| r.status == ReservationStatus::Reserved) {
            for line in &reservation.lines {
                let (units, orders) = held.entry(&line.sku).or_default();
                *units = add(*units, i128::from(line.quantity));
                orders.insert(reservation.order_id);
            }
        }
        // The missing units may be in unreadable rows.
        let unreadable = rows.unreadable.iter();
        let unreadable = unreadable.map(|unreadable| &unreadable.row);
        let unreadable = unreadable.filter(|row| row.table == "inventory");
        let orders: BTreeSet<Uuid> = unreadable.clone().filter_map(|r| r.order()).collect();
        let items: BTreeSet<&str> = unreadable.filter_map(|row| row.sku()).collect();
        for item in &rows.items {
            let (reserved, holders) = held.remove(item.sku.as_str()).unwrap_or_default();
            self.levels(item, reserved, &holders, &orders);
            if !items.contains(item.sku.as_str()) {
                self.adjustments(item, &holders);
            }
        }
        held.retain(|sku, _| !items.contains(sku));
        for (sku, (units, holders)) in held {
            let what = format!("{units} units of it are reserved, but there is no such item");
            self.find_held(
                sku,
                Kind::NoSuchItem,
                what,
                &holders,
                format!("{holders:?}"),
            );
        }
    }

    /// Compares an item's levels with its reservations. The reservations of the `unreadable` orders
    /// are not counted.
    fn levels(
        &mut self,
        item: &Item,
        reserved: i128,
        holders: &BTreeSet<Uuid>,
        unreadable: &BTreeSet<Uuid>,
    ) {
        let levels = [item.stocked, item.available, item.held].map(i128::from);
        let [stocked, available, held] = levels;
        let stock = self.done.stock.entry(item.sku.clone()).or_default();
        (stock.stocked, stock.available, stock.held) = (stocked, available, held);
        let explained = sum([stock.confirmed, stock.in_flight, stock.written_off].into_iter());
        stock.unexplained = add(held, -explained);
        // One row holds all three levels, so one snapshot is enough evidence.
        for (kind, is_so) in [
            (Kind::LevelsDiffer, stocked != add(available, held)),
            (Kind::BelowZero, levels.iter().any(|level| *level < 0)),
        ] {
            if is_so {
                let what = format!("{stocked} stocked, {available} available and {held} held");
                self.find_held(&item.sku, kind, what, holders, "its row".to_owned());
            }
        }
        if held == reserved {
            return;
        }
        let what = format!("{held} held, and its reservations hold {reserved}");
        let evidence = format!("{stocked} {available} {held} {holders:?}");
        if held > reserved && !unreadable.is_empty() {
            let next = format!(
                "the reservations of {} cannot be read and are not counted: repair those rows, \
                 then audit again",
                named(unreadable)
            );
            let subject = Subject::Item(item.sku.clone());
            self.find_next(subject, Kind::HeldDiffers, what, next, evidence);
        } else {
            self.find_held(&item.sku, Kind::HeldDiffers, what, holders, evidence);
        }
    }

    fn adjustments(&mut self, item: &Item, holders: &BTreeSet<Uuid>) {
        let adjustments = self.adjusted.get(&*item.sku).copied().unwrap_or(0);
        let stocked = item.stocked;
        if add(stocked.into(), -adjustments) < 0 {
            let what = format!("{stocked} stocked, and its adjustments alone are {adjustments}");
            let evidence = format!("{stocked} {adjustments}");
            self.find_held(&item.sku, Kind::AdjustmentsDiffer, what, holders, evidence);
        }
    }

    fn find_held(
        &mut self,
        sku: &str,
        kind: Kind,
        what: String,
        holders: &BTreeSet<Uuid>,
        evidence: String,
    ) {
        let holders = match holders.is_empty() {
            true => "no order holds any of it".to_owned(),
            false => format!("the orders that hold it are {}", named(holders)),
        };
        let next = kind.next().replace("{holders}", &holders);
        self.find_next(Subject::Item(sku.to_owned()), kind, what, next, evidence);
    }
}

/// At most this many orders of an item are named.
const NAMED: usize = 20;

/// An item may have thousands of orders, so only the first are named.
fn named(orders: &BTreeSet<Uuid>) -> String {
    let first: Vec<String> = orders.iter().take(NAMED).map(Uuid::to_string).collect();
    let mut names = first.join(", ");
    match orders.len().saturating_sub(NAMED) {
        0 => {}
        more => names.push_str(&format!(" and {more} more")),
    }
    names
}

/// The decision to leave a reservation as it is. It does not cover a later reservation.
fn release_abandoned<'o>(order: &'o Order, reservation: &Reservation) -> Option<&'o Entry> {
    order
        .has("release_abandoned")
        .filter(|entry| reservation.updated_at <= entry.at)
}

/// Checks that a reservation holds an order's lines at its prices.
fn same_lines(order: &Order, reservation: &Reservation) -> bool {
    order.lines.len() == reservation.lines.len()
        && order.lines.iter().all(|line| {
            let held = reservation.lines.iter().find(|held| held.sku == line.sku);
            held.is_some_and(|held| {
                let price = line.unit_price.as_ref();
                held.quantity == line.quantity && price.is_some_and(|price| *price == held.price)
            })
        })
}
