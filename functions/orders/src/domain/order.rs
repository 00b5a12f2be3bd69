//! The order itself.

use jiff::Timestamp;
use uuid::Uuid;

use super::faults::InjectedFaults;
use super::state::{Ending, State};
use super::timeline::Entry;
use super::values::{Money, PaymentMethod, Quantity, Sku};

/// The namespace under which ids are derived from a user and their Idempotency-Key (RFC 9562
/// §5.5).
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_7b52_9d0e_4a63_8b1f_3e5a_77c2_40d9);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderId(pub Uuid);

impl OrderId {
    /// The id of the one order a user can place with a key: inserting it is the deduplication.
    pub fn of_key(user: UserId, idempotency_key: &str) -> Self {
        let mut name = user.0.as_bytes().to_vec();
        name.extend_from_slice(idempotency_key.as_bytes());
        Self(Uuid::new_v5(&KEY_NAMESPACE, &name))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserId(pub Uuid);

/// What a customer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: OrderId,
    pub user_id: UserId,
    pub lines: Vec<Line>,
    pub payment_method: PaymentMethod,
    /// What the customer was shown. A different total rejects the order.
    pub expected_total: Option<Money>,
    /// Tells the same request from another one that reuses its key.
    pub fingerprint: Uuid,
    /// What is to go wrong on purpose.
    pub faults: Option<InjectedFaults>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub sku: Sku,
    pub quantity: Quantity,
    /// What the item was called when its stock was reserved.
    pub name: Option<String>,
    /// Inventory's price, known once the stock is reserved.
    pub unit_price: Option<Money>,
}

/// Why an order was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Stable, for programs: `out_of_stock`, `payment_declined`, ...
    pub code: String,
    /// For people.
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub user_id: UserId,
    pub lines: Vec<Line>,
    pub payment_method: PaymentMethod,
    pub expected_total: Option<Money>,
    pub fingerprint: Uuid,
    pub faults: Option<InjectedFaults>,
    /// Known once the stock is reserved.
    pub total: Option<Money>,
    pub state: State,
    pub failure: Option<Failure>,
    /// How often the current step has been asked for.
    pub attempt: u32,
    /// When the sweeper is to look again; nothing once the order has ended.
    pub due_at: Option<Timestamp>,
    /// A compensation was asked for as often as it may be and still has no answer: an operator is
    /// to look. It is asked for again every hour all the same.
    pub parked: bool,
    pub timeline: Vec<Entry>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Grows with every write; each write is conditional on the one before.
    pub version: u64,
}

/// What a client sees of the state. The finer steps belong to the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Confirmed,
    Rejected,
    Cancelling,
    Cancelled,
}

impl Status {
    pub const ALL: [Status; 5] = [
        Status::Pending,
        Status::Confirmed,
        Status::Rejected,
        Status::Cancelling,
        Status::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Confirmed => "CONFIRMED",
            Status::Rejected => "REJECTED",
            Status::Cancelling => "CANCELLING",
            Status::Cancelled => "CANCELLED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl Order {
    pub fn status(&self) -> Status {
        match self.state {
            State::Verifying | State::Reserving | State::Charging => Status::Pending,
            State::Refunding(Ending::Rejected) | State::Releasing(Ending::Rejected) => {
                Status::Pending
            }
            State::Refunding(Ending::Cancelled) | State::Releasing(Ending::Cancelled) => {
                Status::Cancelling
            }
            State::Confirmed => Status::Confirmed,
            State::Rejected => Status::Rejected,
            State::Cancelled => Status::Cancelled,
        }
    }
}
