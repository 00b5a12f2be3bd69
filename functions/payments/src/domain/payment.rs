//! An order's payment and its states.

use jiff::Timestamp;
use uuid::Uuid;

use super::values::{ChargeKey, Money, OrderId, PaymentMethod, printable};

/// The customer of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId(pub Uuid);

/// The provider's id of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentId(pub String);

/// A request to the provider, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub key: ChargeKey,
    pub amount: Money,
    pub method: PaymentMethod,
}

/// The provider's reason for a declined charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    pub code: String,
    pub detail: String,
}

impl Decline {
    /// The form that is stored and sent to orders.
    pub fn printable(&self) -> Self {
        let is_code = (1..=64).contains(&self.code.len())
            && self.code.starts_with(|c: char| c.is_ascii_lowercase())
            && (self.code.bytes()).all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let code = if is_code { &self.code } else { "declined" };
        let detail = printable(&self.detail);
        Self {
            code: code.to_owned(),
            detail: match detail.trim() {
                "" => "the payment provider gave no reason".to_owned(),
                _ => detail,
            },
        }
    }
}

/// The final outcome of a charge. For the same key, the provider repeats it to every later charge or
/// cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    Charged(PaymentId),
    Declined(Decline),
    /// The charge was cancelled and can no longer be made.
    Cancelled,
}

/// The state of a payment.
///
/// ```text
///   none ──charge──> Charging ──┬──> Charged ──refund──> Refunding ──> Refunded
///     │                         ├──> Declined
///     └────────refund──────> Voided <┘ cancelled
/// ```
///
/// Charging and Refunding are written before the call to the provider. The next handler then knows
/// that the call may have been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The provider may have been asked to charge; the outcome is unknown.
    Charging(Charge),
    Charged(Charge, PaymentId),
    Declined(Charge, Decline),
    /// The provider may have been asked to refund; a refund must follow.
    Refunding(Charge, PaymentId),
    /// The whole charge was refunded.
    Refunded(Charge, PaymentId),
    /// Cancelled before the charge was made. Without a charge, it is the tombstone of a charge that
    /// may still arrive.
    Voided(Option<Charge>),
}

/// One order's payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub state: PaymentState,
    /// Counts the writes from 1. Each write requires the previous version.
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Payment {
    pub fn new(order_id: OrderId, user_id: UserId, state: PaymentState, now: Timestamp) -> Self {
        Self {
            order_id,
            user_id,
            state,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The charge that was or may have been requested.
    pub fn charge(&self) -> Option<&Charge> {
        match &self.state {
            PaymentState::Charging(charge)
            | PaymentState::Charged(charge, _)
            | PaymentState::Declined(charge, _)
            | PaymentState::Refunding(charge, _)
            | PaymentState::Refunded(charge, _) => Some(charge),
            PaymentState::Voided(charge) => charge.as_ref(),
        }
    }

    pub(super) fn advanced_to(&self, state: PaymentState, now: Timestamp) -> Self {
        Self {
            state,
            version: self.version + 1,
            updated_at: now,
            ..self.clone()
        }
    }
}
