//! The messages that payments receives and sends. Their contracts are `contracts/*.schema.json`.

use serde::{Deserialize, Serialize};
use shared_lambda::Context;
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::sqs::{Failure, Outgoing};
use uuid::Uuid;

use crate::domain::{Command, Decline, InvalidValue, Money, OrderId, PaymentMethod, Reply, UserId};

#[derive(Debug, Serialize, Deserialize)]
pub struct MoneyData {
    pub amount: i64,
    pub currency: String,
}

impl From<Money> for MoneyData {
    fn from(money: Money) -> Self {
        Self {
            amount: money.amount(),
            currency: money.currency().as_str().to_owned(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ChargePayment {
    pub user_id: Uuid,
    pub amount: MoneyData,
    pub payment_method: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct RefundPayment {
    pub user_id: Uuid,
}

#[derive(Debug, Serialize)]
pub struct PaymentCharged<'a> {
    pub payment_id: &'a str,
    pub amount: MoneyData,
}

#[derive(Debug, Serialize)]
pub struct PaymentDeclined<'a> {
    pub code: &'a str,
    pub detail: &'a str,
}

#[derive(Debug, Serialize)]
pub struct PaymentRefunded {
    /// `null` if nothing was charged.
    pub refunded: Option<MoneyData>,
}

impl Payload for ChargePayment {
    const TYPE: &'static str = "ChargePayment";
}

impl Payload for RefundPayment {
    const TYPE: &'static str = "RefundPayment";
}

impl Payload for PaymentCharged<'_> {
    const TYPE: &'static str = "PaymentCharged";
}

impl Payload for PaymentDeclined<'_> {
    const TYPE: &'static str = "PaymentDeclined";
}

impl Payload for PaymentRefunded {
    const TYPE: &'static str = "PaymentRefunded";
}

/// The command in a message.
pub fn command(envelope: &Envelope) -> Result<Command, Failure> {
    Ok(match envelope.kind.as_str() {
        ChargePayment::TYPE => {
            let charge: ChargePayment = envelope.open()?;
            let MoneyData { amount, currency } = charge.amount;
            Command::Charge {
                user_id: UserId(charge.user_id),
                amount: Money::new(amount, &currency).map_err(invalid("amount"))?,
                method: PaymentMethod::stored(&charge.payment_method)
                    .map_err(invalid("payment_method"))?,
            }
        }
        RefundPayment::TYPE => {
            let refund: RefundPayment = envelope.open()?;
            Command::Refund {
                user_id: UserId(refund.user_id),
            }
        }
        _ => return Err(envelope.unknown()),
    })
}

/// The message that carries a reply.
pub fn reply(queue_url: &str, order_id: OrderId, reply: &Reply, context: &Context) -> Outgoing {
    match reply {
        Reply::Charged { payment_id, amount } => {
            let charged = PaymentCharged {
                payment_id: &payment_id.0,
                amount: (*amount).into(),
            };
            Outgoing::new(queue_url, order_id.0, &charged, context)
        }
        Reply::Declined(Decline { code, detail }) => {
            let declined = PaymentDeclined { code, detail };
            Outgoing::new(queue_url, order_id.0, &declined, context)
        }
        Reply::Refunded(refunded) => {
            let refunded = PaymentRefunded {
                refunded: refunded.map(MoneyData::from),
            };
            Outgoing::new(queue_url, order_id.0, &refunded, context)
        }
    }
}

fn invalid(field: &'static str) -> impl Fn(InvalidValue) -> Failure {
    move |error| Failure::unprocessable(format!("the message's {field} {error}"))
}
