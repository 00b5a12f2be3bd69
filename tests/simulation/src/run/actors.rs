//! The actors: customers and administrators, with their planned actions.

use uuid::Uuid;

use crate::clock::Millis;
use crate::invariants::Step;
use crate::outcomes::OrderRequest;

/// A customer with one order.
pub(super) struct Client {
    pub(super) user: Uuid,
    pub(super) key: String,
    pub(super) body: String,
    pub(super) order: Uuid,
    pub(super) request: OrderRequest,
    pub(super) next_place: Option<Millis>,
    pub(super) next_cancel: Option<Millis>,
    /// The time of an operator's retry.
    pub(super) next_retry: Option<Millis>,
    /// The time at which an operator abandons the parked step.
    pub(super) next_abandon: Option<Millis>,
    /// The steps that an operator asked to abandon.
    pub(super) abandoned: Vec<Step>,
    pub(super) cancels: bool,
    pub(super) acknowledged: bool,
    pub(super) refused: bool,
    /// The status of the last answer to a cancellation.
    pub(super) cancelled: Option<u16>,
}

impl Client {
    pub(super) fn is_done(&self) -> bool {
        let next = [
            self.next_place,
            self.next_cancel,
            self.next_retry,
            self.next_abandon,
        ];
        next.iter().all(Option::is_none)
    }
}

/// An administrator's action, repeated until it is answered.
pub(super) struct AdminTask {
    pub(super) at: Option<Millis>,
    pub(super) what: AdminAction,
    pub(super) is_done: bool,
}

impl AdminTask {
    pub(super) fn at(at: Millis, what: AdminAction) -> Self {
        Self {
            at: Some(at),
            what,
            is_done: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum AdminAction {
    Price { sku: usize, amount: i64 },
    Adjust { sku: usize, delta: i64, key: String },
    Status { user: usize, status: &'static str },
}
