//! Those who use the system, each with what they have in mind.

use uuid::Uuid;

use crate::books::Step;
use crate::clock::Millis;
use crate::endings::Wish;

/// A customer with one order in mind.
pub(super) struct Client {
    pub(super) user: Uuid,
    pub(super) key: String,
    pub(super) body: String,
    /// The id the order will have.
    pub(super) order: Uuid,
    pub(super) wish: Wish,
    pub(super) next_place: Option<Millis>,
    pub(super) next_cancel: Option<Millis>,
    /// When an operator asks for the order's step again.
    pub(super) next_retry: Option<Millis>,
    /// When an operator who saw it parked gives up what it waits for.
    pub(super) next_abandon: Option<Millis>,
    /// The steps its operator asked to give up.
    pub(super) gave_up: Vec<Step>,
    pub(super) cancels: bool,
    pub(super) acknowledged: bool,
    pub(super) refused: bool,
    /// The last word about a cancellation.
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

/// Something an administrator does until it is answered.
pub(super) struct Chore {
    pub(super) at: Option<Millis>,
    pub(super) what: TimelineEvent,
    /// Whether it was answered that it is done.
    pub(super) is_done: bool,
}

impl Chore {
    pub(super) fn at(at: Millis, what: TimelineEvent) -> Self {
        Self {
            at: Some(at),
            what,
            is_done: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum TimelineEvent {
    Price { sku: usize, amount: i64 },
    Adjust { sku: usize, delta: i64, key: String },
    Status { user: usize, status: &'static str },
}
