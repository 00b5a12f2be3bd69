//! All decisions of the four services, as a trait. The default methods are the production code.
//!
//! The first half calls the `domain` modules. The second half repeats the stores' DynamoDB
//! conditions by hand and names the store function of each. The simulation checks the real
//! expressions. A test that seeds a bug overrides a method.

use inventory::domain as stock;
use jiff::{SignedDuration, Timestamp};
use orders::domain as saga;
use payments::domain as money;
use users::domain::{NotAllowed, User};

/// The template's default of the step timeout.
pub const STEP_TIMEOUT: saga::StepTimeout = saga::StepTimeout(SignedDuration::from_secs(30));

/// Production's services.
#[derive(Clone, Copy, Debug)]
pub struct Production;

impl Services for Production {}

pub trait Services {
    fn place(&self, draft: saga::Draft, verified: bool, now: Timestamp) -> saga::Order {
        saga::place(draft, verified, STEP_TIMEOUT, now)
    }

    fn decide(&self, order: &saga::Order, event: &saga::Event, now: Timestamp) -> saga::Decision {
        saga::decide(order, event, STEP_TIMEOUT, now)
    }

    fn owed(&self, order: &saga::Order) -> Option<saga::Command> {
        saga::owed(order)
    }

    fn may_order(&self, found: Option<&User>) -> Result<(), NotAllowed> {
        User::may_order(found)
    }

    fn on_reserve(&self, record: Option<stock::Reservation>) -> stock::OnReserve {
        stock::on_reserve(record)
    }

    fn decide_stock(&self, wanted: &stock::WantedLines, items: &[stock::Item]) -> stock::Outcome {
        stock::decide(wanted, items)
    }

    fn on_release(&self, record: Option<stock::Reservation>) -> stock::OnRelease {
        stock::on_release(record)
    }

    fn decide_payment(
        &self,
        order_id: money::OrderId,
        payment: Option<&money::Payment>,
        command: &money::Command,
        now: Timestamp,
    ) -> money::Decision {
        money::decide(order_id, payment, command, now)
    }

    fn settle(
        &self,
        payment: &money::Payment,
        charge: &money::Charge,
        settlement: &money::Settlement,
        now: Timestamp,
    ) -> money::Settling {
        money::settle(payment, charge, settlement, now)
    }

    /// `attribute_not_exists(pk)` of `PaymentStore::insert`, and of `InventoryStore::hold` and
    /// `InventoryStore::record` on the reservation.
    fn row_is_absent(&self, something: bool) -> bool {
        !something
    }

    /// `InventoryStore::hold`, on each item: `available >= :more AND amount = :amount AND
    /// currency = :currency`.
    fn can_hold(&self, item: &stock::Item, line: &stock::ReservedLine) -> bool {
        item.levels.available >= line.quantity.get() && item.price == line.unit_price
    }

    /// `InventoryStore::release`, on the reservation: `status = :reserved`.
    fn is_reserved(&self, record: Option<&stock::Reservation>) -> bool {
        matches!(record, Some(stock::Reservation::Reserved(_)))
    }

    /// `InventoryStore::release`, on each item: `held >= :more`.
    fn can_release(&self, item: &stock::Item, line: &stock::ReservedLine) -> bool {
        item.levels.held >= line.quantity.get()
    }

    /// `PaymentStore::replace`: `version = :followed`.
    fn version_is_unchanged(&self, stored: &money::Payment, next: &money::Payment) -> bool {
        stored.version + 1 == next.version
    }
}
