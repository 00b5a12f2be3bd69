//! The limits on a customer's open, unpaid orders, and the delays after orders that ended unpaid.
//!
//! An order holds its stock until it is paid or undone. Without a limit, a customer whose card is
//! always declined could hold all stock of an item. Every paid order raises the limits.

use jiff::{SignedDuration, Timestamp};

use super::decide::{CancelledBy, TOTAL_TOO_LARGE};
use super::order::{Line, Order};
use super::progress::owed;
use super::state::State;
use super::timeline::{Entry, TimelineEvent};
use super::values::Sku;

/// The limits consider a customer's newest orders: at most this old, and at most this many.
pub const RECENT_WINDOW: SignedDuration = SignedDuration::from_hours(24);
pub const RECENT_ORDERS: usize = 50;

/// The most orders that may be open and unpaid at once; each paid order allows one more.
pub const MAX_OPEN_ORDERS: usize = 5;

/// The most units of one sku that several open, unpaid orders may hold together; each paid order
/// allows as many again. A single order may ask for any quantity.
pub const MAX_OPEN_UNITS: u64 = 10;

/// The number of unpaid orders without a delay, because people mistype cards. An order for more than
/// [`MAX_OPEN_UNITS`] units of a sku is delayed after the first one.
pub const FREE_UNPAID: usize = 3;

/// The first delay; it doubles with each further unpaid order.
pub const FIRST_DELAY: SignedDuration = SignedDuration::from_secs(30);
pub const MAX_DELAY: SignedDuration = SignedDuration::from_hours(1);

/// The longest `Retry-After` while open orders are the cause.
const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// The limit that refuses an order now, and for how many seconds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit}; try again in {seconds} seconds")]
pub struct Wait {
    pub limit: Limit,
    pub seconds: u32,
}

/// The reached limit, worded for the customer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("you have {open} of at most {allowed} open orders")]
    OpenOrders { open: usize, allowed: usize },
    #[error(
        "your open orders that are not paid for ask for {held} units of {sku}, and together they may ask for {allowed}"
    )]
    OpenUnits { sku: Sku, held: u64, allowed: u64 },
    #[error(
        "{unpaid} of your latest orders ended unpaid or cancelled, so the next has to wait; one for more than \
         {MAX_OPEN_UNITS} units of a sku waits longer"
    )]
    Unpaid { unpaid: usize },
}

/// Checks whether a customer may place an order for these lines. `recent` has their newest orders in
/// any sequence, at most [`RECENT_ORDERS`], none older than [`RECENT_WINDOW`]. The longest wait counts.
pub fn may_place(lines: &[Line], recent: &[Order], now: Timestamp) -> Result<(), Wait> {
    let paid = recent
        .iter()
        .filter(|order| order.state == State::Confirmed);
    let paid = paid.count();
    let unpaid: Vec<Timestamp> = recent.iter().filter_map(unpaid_since).collect();
    // Each paid order offsets one unpaid order.
    let debt = unpaid.len().saturating_sub(paid);
    let open: Vec<&Order> = recent.iter().filter(|order| is_open(order)).collect();
    let delayed = after_unpaid(lines, debt, unpaid.into_iter().max(), now);
    let orders = too_many_open(debt, paid, &open, now);
    let units = too_many_units(lines, paid, &open, now);
    let longest = [delayed, orders, units]
        .into_iter()
        .flatten()
        .max_by_key(|wait| wait.seconds);
    longest.map_or(Ok(()), Err)
}

fn after_unpaid(
    lines: &[Line],
    debt: usize,
    newest: Option<Timestamp>,
    now: Timestamp,
) -> Option<Wait> {
    let is_bulk = lines.iter().any(|line| units(line) > MAX_OPEN_UNITS);
    let free = if is_bulk { 0 } else { FREE_UNPAID };
    let over = newest.filter(|_| debt > free)? + delay(debt - free);
    (over > now).then(|| wait(Limit::Unpaid { unpaid: debt }, over.duration_since(now)))
}

fn too_many_open(debt: usize, paid: usize, open: &[&Order], now: Timestamp) -> Option<Wait> {
    let allowed = if debt > 0 { 1 } else { MAX_OPEN_ORDERS + paid };
    let limit = Limit::OpenOrders {
        open: open.len(),
        allowed,
    };
    (open.len() >= allowed).then(|| wait(limit, retry_after(open, now)))
}

fn too_many_units(lines: &[Line], paid: usize, open: &[&Order], now: Timestamp) -> Option<Wait> {
    let allowed = MAX_OPEN_UNITS * (1 + paid as u64);
    let held = |sku: &Sku| {
        let lines = open.iter().flat_map(|order| &order.lines);
        lines.filter(|line| line.sku == *sku).map(units).sum()
    };
    lines.iter().find_map(|line| {
        let (sku, held): (_, u64) = (line.sku.clone(), held(&line.sku));
        let limit = Limit::OpenUnits { sku, held, allowed };
        let is_over = held > 0 && held + units(line) > allowed;
        is_over.then(|| wait(limit, retry_after(open, now)))
    })
}

/// The age of the oldest open order, so that clients back off while a service is out.
fn retry_after(open: &[&Order], now: Timestamp) -> SignedDuration {
    let oldest = open.iter().map(|order| order.created_at).min();
    let open_for = oldest.map_or(SignedDuration::ZERO, |oldest| now.duration_since(oldest));
    open_for.min(MAX_RETRY_AFTER)
}

fn wait(limit: Limit, left: SignedDuration) -> Wait {
    // Rounded up, so that a client who waits this long is not refused again.
    let seconds = (left.as_millis().max(1) + 999) / 1000;
    Wait {
        limit,
        seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
    }
}

fn units(line: &Line) -> u64 {
    line.quantity.units().into()
}

/// The delay after the `nth` unpaid order beyond the free ones, counted from 1.
fn delay(nth: usize) -> SignedDuration {
    FIRST_DELAY
        .saturating_mul(1 << nth.saturating_sub(1).min(16))
        .min(MAX_DELAY)
}

/// Whether the order is unpaid and holds stock, or may soon. A parked order waits for an operator, not
/// for its customer, so it does not count.
fn is_open(order: &Order) -> bool {
    owed(order).is_some() && !order.parked
}

/// The time at which the customer left the order unpaid, if the order took stock or may have. The causes
/// are a declined payment, an unexpected price, too large a total, and a cancellation, even of a paid
/// order. The customer does not cause a step without an answer.
fn unpaid_since(order: &Order) -> Option<Timestamp> {
    let mut entries = order.timeline.iter();
    if !entries.any(|entry| entry.event == TimelineEvent::ReserveStockRequested) {
        return None;
    }
    let code = order.failure.as_ref().map(|failure| failure.code.as_str());
    let is_too_large = code == Some(TOTAL_TOO_LARGE);
    let is_by_customer = |entry: &&Entry| {
        let was_cancelled = entry.event == TimelineEvent::CancelRequested
            && entry.detail.as_deref() == CancelledBy::Customer.detail();
        matches!(
            entry.event,
            TimelineEvent::PaymentDeclined | TimelineEvent::PriceChanged
        ) || was_cancelled
            || (is_too_large && entry.event == TimelineEvent::StockReserved)
    };
    let by_customer = order.timeline.iter().filter(is_by_customer);
    by_customer.map(|entry| entry.at).max()
}
