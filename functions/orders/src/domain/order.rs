//! The order and its parts.

use jiff::Timestamp;
use uuid::Uuid;

use super::faults::InjectedFaults;
use super::state::{State, Status};
use super::timeline::Entry;
use super::values::{Money, PaymentMethod, Quantity, Sku};

/// The namespace under which ids are derived from a user and their Idempotency-Key (RFC 9562
/// §5.5).
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_7b52_9d0e_4a63_8b1f_3e5a_77c2_40d9);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderId(pub Uuid);

impl OrderId {
    /// Derives the id of the only order a user can place with a key. Inserting this id deduplicates
    /// requests.
    pub fn of_key(user: UserId, idempotency_key: &str) -> Self {
        let mut name = user.0.as_bytes().to_vec();
        name.extend_from_slice(idempotency_key.as_bytes());
        Self(Uuid::new_v5(&KEY_NAMESPACE, &name))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserId(pub Uuid);

/// A valid request for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: OrderId,
    pub user_id: UserId,
    pub lines: Vec<Line>,
    pub payment_method: PaymentMethod,
    /// The total that the customer saw. A different total rejects the order.
    pub expected_total: Option<Money>,
    /// Distinguishes a repeated request from another one that reuses its key.
    pub fingerprint: Uuid,
    pub faults: Option<InjectedFaults>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub sku: Sku,
    pub quantity: Quantity,
    /// The item's name at the time of its reservation.
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
    /// How often the current step's command has been sent.
    pub attempt: u32,
    /// When the sweeper acts next; none once the order has ended.
    pub due_at: Option<Timestamp>,
    /// A compensation has used all its attempts, so an operator must act. Its command is still sent
    /// every hour.
    pub parked: bool,
    pub timeline: Vec<Entry>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Grows by one with every write; each write requires the version before it.
    pub version: u64,
}

impl Order {
    pub fn status(&self) -> Status {
        self.state.status()
    }
}
