//! The messages between services as values, and the translation between their types.
//!
//! Production does this in each service's `messages.rs`. The contract tests check the JSON.

use inventory::domain as stock;
use orders::domain as saga;
use payments::domain as money;
use users::domain::NotAllowed;
use uuid::Uuid;

/// A message without its order id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    VerifyUser,
    ReserveStock,
    ReleaseStock,
    ChargePayment {
        amount: saga::Money,
    },
    RefundPayment,
    /// A participant's reply, as an event of orders.
    Reply(saga::Event),
}

/// The constant facts of an order, in each participant's types.
#[derive(Clone, Debug)]
pub struct Facts {
    pub draft: saga::Draft,
    pub wanted: stock::WantedLines,
    pub method: money::PaymentMethod,
}

impl Facts {
    pub fn new(draft: saga::Draft) -> Self {
        let wanted = draft.lines.iter().map(|line| stock::WantedLine {
            sku: stock::Sku::parse(line.sku.as_str()).expect("both services accept the same skus"),
            quantity: stock::Quantity::parse(line.quantity.units().into())
                .expect("both services accept the same quantities"),
        });
        Self {
            wanted: stock::WantedLines::new(wanted.collect())
                .expect("a draft has lines with distinct skus"),
            method: money::PaymentMethod::stored(draft.payment_method.as_str())
                .expect("both services accept the same payment methods"),
            draft,
        }
    }

    pub fn id(&self) -> Uuid {
        self.draft.id.0
    }

    /// The command for payments. `None` for other messages.
    pub fn payment_command(&self, body: &Body) -> Option<money::Command> {
        let user_id = money::UserId(self.draft.user_id.0);
        match body {
            Body::ChargePayment { amount } => Some(money::Command::Charge {
                user_id,
                amount: money::Money::new(amount.amount, amount.currency.as_str())
                    .expect("inventory's prices are above zero"),
                method: self.method.clone(),
            }),
            Body::RefundPayment => Some(money::Command::Refund { user_id }),
            Body::VerifyUser | Body::ReserveStock | Body::ReleaseStock | Body::Reply(_) => None,
        }
    }
}

pub fn command(order: &saga::Order, owed: saga::Command) -> Body {
    match owed {
        saga::Command::VerifyUser => Body::VerifyUser,
        saga::Command::ReserveStock => Body::ReserveStock,
        saga::Command::ReleaseStock => Body::ReleaseStock,
        saga::Command::ChargePayment => Body::ChargePayment {
            amount: order.total.expect("a charge is owed only with a total"),
        },
        saga::Command::RefundPayment => Body::RefundPayment,
    }
}

pub fn user_reply(user: saga::UserId, answer: Result<(), NotAllowed>) -> Body {
    let user = Some(user);
    Body::Reply(match answer {
        Ok(()) => saga::Event::UserVerified { user },
        Err(reason) => saga::Event::UserRefused {
            user,
            code: "user_not_allowed".to_owned(),
            detail: reason.to_string(),
        },
    })
}

pub fn stock_reply(outcome: &stock::Outcome) -> Body {
    Body::Reply(match outcome {
        stock::Outcome::Reserved(lines) => saga::Event::StockReserved {
            lines: lines.iter().map(reserved_line).collect(),
        },
        stock::Outcome::Refused(refusal) => saga::Event::StockRefused {
            sku: refusal.sku.as_ref().map(saga_sku),
            code: refusal.code.as_str().to_owned(),
            detail: refusal.detail.clone(),
        },
    })
}

pub fn payment_reply(reply: money::Reply) -> Body {
    Body::Reply(match reply {
        money::Reply::Charged { amount, .. } => saga::Event::PaymentCharged {
            amount: saga_money(amount),
        },
        money::Reply::Declined(decline) => saga::Event::PaymentDeclined {
            code: decline.code,
            detail: decline.detail,
        },
        money::Reply::Refunded(amount) => saga::Event::PaymentRefunded {
            refunded: amount.map(saga_money),
        },
    })
}

pub fn saga_money(amount: money::Money) -> saga::Money {
    saga::Money::stored(amount.amount(), amount.currency().as_str())
        .expect("both services accept the same amounts")
}

fn saga_sku(sku: &stock::Sku) -> saga::Sku {
    saga::Sku::stored(sku.as_str()).expect("both services accept the same skus")
}

fn reserved_line(line: &stock::ReservedLine) -> saga::ReservedLine {
    let price = &line.unit_price;
    saga::ReservedLine {
        sku: saga_sku(&line.sku),
        name: None,
        quantity: saga::Quantity::stored(line.quantity.get())
            .expect("both services accept the same quantities"),
        unit_price: saga::Money::stored(price.amount.get(), price.currency.as_str())
            .expect("inventory's prices are above zero"),
    }
}
