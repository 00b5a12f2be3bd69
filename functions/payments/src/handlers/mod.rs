//! One module per function, and the payment's body over HTTP.

pub mod commands;
pub mod get;
pub mod migrate;

use serde::Serialize;
use shared_lambda::problem::Problem;
use uuid::Uuid;

use crate::domain::{Decline, Money, Payment, PaymentId, PaymentState};

/// A payment for its owner.
#[derive(Debug, Serialize)]
pub struct PaymentBody {
    pub order_id: Uuid,
    pub user_id: Uuid,
    pub status: &'static str,
    /// `null` if the charge was voided before it was requested.
    pub amount: Option<MoneyBody>,
    /// `null` before a refund.
    pub refunded: Option<MoneyBody>,
    /// The provider's id of the charge, `null` if there is none.
    pub payment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureBody>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Serialize)]
pub struct MoneyBody {
    pub amount: i64,
    pub currency: String,
}

#[derive(Debug, Serialize)]
pub struct FailureBody {
    pub code: String,
    pub detail: String,
}

impl From<&Payment> for PaymentBody {
    fn from(payment: &Payment) -> Self {
        let charge = payment.charge();
        let (status, payment_id, refunded, failure) = shown(&payment.state);
        Self {
            order_id: payment.order_id.0,
            user_id: payment.user_id.0,
            status,
            amount: charge.map(|charge| charge.amount.into()),
            refunded: refunded.map(MoneyBody::from),
            payment_id: payment_id.map(|id| id.0.clone()),
            failure: failure.map(FailureBody::from),
            created_at: format!("{:.3}", payment.created_at),
            updated_at: format!("{:.3}", payment.updated_at),
        }
    }
}

fn shown(
    state: &PaymentState,
) -> (
    &'static str,
    Option<&PaymentId>,
    Option<Money>,
    Option<&Decline>,
) {
    match state {
        PaymentState::Charging(_) => ("CHARGING", None, None, None),
        // The money stays here until the provider confirms the refund.
        PaymentState::Charged(_, id) | PaymentState::Refunding(_, id) => {
            ("CHARGED", Some(id), None, None)
        }
        PaymentState::Declined(_, decline) => ("DECLINED", None, None, Some(decline)),
        PaymentState::Refunded(charge, id) => ("REFUNDED", Some(id), Some(charge.amount), None),
        PaymentState::Voided(_) => ("VOIDED", None, None, None),
    }
}

impl From<Money> for MoneyBody {
    fn from(money: Money) -> Self {
        Self {
            amount: money.amount(),
            currency: money.currency().as_str().to_owned(),
        }
    }
}

impl From<&Decline> for FailureBody {
    fn from(decline: &Decline) -> Self {
        Self {
            code: decline.code.clone(),
            detail: decline.detail.clone(),
        }
    }
}

/// The problem for no payment or another user's, so that a caller cannot distinguish them.
pub(crate) fn no_such_payment() -> Problem {
    Problem::not_found("there is no payment for this order")
}
