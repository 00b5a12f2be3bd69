//! The messages between services as values, and the translation between their types.
//!
//! Production does this in each service's `messages.rs`. The contract tests check the JSON.

use inventory::domain as stock;
use orders::domain as saga;
use payments::domain as money;
use users::domain::{NotAllowed, Status, User};
use uuid::Uuid;

use crate::services::Services;

/// A message without its order id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A command that changes nothing, with each reply that it may get.
    Check(saga::Command, [saga::Event; 2]),
    ReserveStock,
    ReleaseStock,
    Payment(money::Command),
    /// A participant's reply, as an event of orders.
    Reply(saga::Event),
}

/// The constant facts of an order, in each participant's types.
#[derive(Clone, Debug)]
pub struct Facts {
    pub draft: saga::Draft,
    pub user: User,
    pub wanted: stock::WantedLines,
    pub method: money::PaymentMethod,
}

impl Facts {
    pub fn new(draft: saga::Draft, user: User) -> Self {
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
            user,
            draft,
        }
    }

    pub fn id(&self) -> Uuid {
        self.draft.id.0
    }

    pub fn command<S: Services>(
        &self,
        services: &S,
        order: &saga::Order,
        owed: saga::Command,
    ) -> Body {
        let user_id = money::UserId(self.draft.user_id.0);
        match owed {
            // The user's status may change between the request and the answer.
            saga::Command::VerifyUser => {
                let answers = [Status::Active, Status::Deactivated].map(|status| {
                    let mut user = self.user.clone();
                    user.status = status;
                    user_reply(self.draft.user_id, services.may_order(Some(&user)))
                });
                Body::Check(owed, answers)
            }
            saga::Command::ReserveStock => Body::ReserveStock,
            saga::Command::ReleaseStock => Body::ReleaseStock,
            saga::Command::ChargePayment => {
                let total = order.total.expect("a charge is owed only with a total");
                Body::Payment(money::Command::Charge {
                    user_id,
                    amount: money::Money::new(total.amount, total.currency.as_str())
                        .expect("inventory's prices are above zero"),
                    method: self.method.clone(),
                })
            }
            saga::Command::RefundPayment => Body::Payment(money::Command::Refund { user_id }),
        }
    }
}

fn user_reply(user: saga::UserId, answer: Result<(), NotAllowed>) -> saga::Event {
    let user = Some(user);
    match answer {
        Ok(()) => saga::Event::UserVerified { user },
        Err(reason) => saga::Event::UserRefused {
            user,
            code: "user_not_allowed".to_owned(),
            detail: reason.to_string(),
        },
    }
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

pub fn payment_reply(reply: money::Reply) -> saga::Event {
    match reply {
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
    }
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
