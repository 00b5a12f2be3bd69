//! An order's payment and the states it goes through.

use jiff::Timestamp;
use uuid::Uuid;

use super::values::{ChargeKey, Money, OrderId, PaymentMethod, printable};

/// Whose order it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId(pub Uuid);

/// The provider's own name for a charge it has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentId(pub String);

/// What is asked of the provider, and under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub key: ChargeKey,
    pub amount: Money,
    pub method: PaymentMethod,
}

/// Why no money was taken, in the provider's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decline {
    pub code: String,
    pub detail: String,
}

impl Decline {
    /// As it is kept and passed on.
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

/// How a charge ended at the provider. It is for good: asked again under the same key, whether to
/// charge or to cancel, the provider says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    Charged(PaymentId),
    Declined(Decline),
    /// It was cancelled before it was made, and can no longer be made.
    Cancelled,
}

/// Where a payment is on its way.
///
/// ```text
///   none ──charge──> Charging ──┬──> Charged ──refund──> Refunding ──> Refunded
///     │                         ├──> Declined
///     └────────refund──────> Voided <┘ cancelled
/// ```
///
/// Charging and Refunding are written before the provider is asked, so that whoever comes next
/// knows that it may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The provider may have been asked to charge; the outcome is not known here.
    Charging(Charge),
    Charged(Charge, PaymentId),
    Declined(Charge, Decline),
    /// The provider may have been asked to give the money back; it has to be.
    Refunding(Charge, PaymentId),
    /// All of it was given back.
    Refunded(Charge, PaymentId),
    /// Taken back before it was made. Without a charge it is the tombstone of one that has not
    /// arrived yet.
    Voided(Option<Charge>),
}

/// One order's payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub state: PaymentState,
    /// Counts the writes, from 1. A write names the version it follows.
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

    /// What was, or may have been, asked of the provider.
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
