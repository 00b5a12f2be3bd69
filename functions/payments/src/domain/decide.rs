//! The effects of commands and of the provider's settlements on a payment. A settlement is the final
//! outcome of a charge.
//!
//! [`decide`] and [`settle`] name every state, command and settlement, without a wildcard. So every pair
//! has a deliberate answer.

use jiff::Timestamp;
use uuid::Uuid;

use super::payment::{Charge, Decline, Payment, PaymentId, PaymentState, Settlement, UserId};
use super::values::{ChargeKey, Money, OrderId, PaymentMethod};

/// The decline code of a charge that was voided before it was made.
pub const VOIDED: &str = "voided";

/// The decline code for a currency that ISO 4217 does not know, or that has no minor unit.
pub const INVALID_CURRENCY: &str = "invalid_currency";

/// A command from orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Charge {
        user_id: UserId,
        amount: Money,
        method: PaymentMethod,
    },
    /// Refunds the order's charge, or prevents a charge that was not made yet.
    Refund { user_id: UserId },
}

impl Command {
    /// Nearly every charge is the first command of its order. Its conditional write detects the
    /// others, which saves a read.
    pub fn skips_read(&self) -> bool {
        match self {
            Command::Charge { .. } => true,
            Command::Refund { .. } => false,
        }
    }
}

/// A reply to orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Charged {
        payment_id: PaymentId,
        amount: Money,
    },
    Declined(Decline),
    /// None if nothing was charged.
    Refunded(Option<Money>),
}

/// The next step of a command. After every step except an answer or a refusal, the handler decides
/// again with the new record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write this first record, if there is still none.
    Begin(Payment),
    /// Replace the previous version with this one.
    Advance(Payment),
    /// Ask the provider to charge, then [`settle`] its answer.
    AskToCharge(Charge),
    /// Ask the provider to cancel the charge, then [`settle`] its answer.
    AskToCancel(Charge),
    /// Ask the provider to refund the whole charge, then write `done`.
    AskToRefund {
        charge: Charge,
        payment_id: PaymentId,
        done: Payment,
    },
    /// The command is done. A repeat gets the first answer.
    Answer(Reply),
    Refuse(Refusal),
}

/// A command that can never succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the order's payment belongs to user {recorded}, but the command names user {asked}; nothing \
         was changed; compare both with the order before a redrive"
    )]
    AnotherUser { recorded: Uuid, asked: Uuid },
    #[error(
        "the order already has a charge with another amount or payment method: {recorded} then, \
         {asked} now; nothing was changed; compare both with the order before a redrive"
    )]
    AnotherCharge { recorded: Money, asked: Money },
}

/// The effect of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Replace the previous version with this one.
    Advance(Payment),
    /// The record already has this settlement.
    Known,
    /// The provider broke its promise: it made a charge that the record has as declined or voided.
    /// Write this version, which leads to a refund.
    GiveBack(Payment),
    /// The provider denies a charge it has confirmed, or confirms another. An operator must decide.
    Contradiction,
}

/// The next step of a command, given the order's record.
pub fn decide(
    order_id: OrderId,
    payment: Option<&Payment>,
    command: &Command,
    now: Timestamp,
) -> Decision {
    match command {
        Command::Charge {
            user_id,
            amount,
            method,
        } => {
            let asked = Charge {
                key: ChargeKey::of(order_id),
                amount: *amount,
                method: method.clone(),
            };
            decide_charge(order_id, payment, *user_id, asked, now)
        }
        Command::Refund { user_id } => decide_refund(order_id, payment, *user_id, now),
    }
}

fn decide_charge(
    order_id: OrderId,
    payment: Option<&Payment>,
    user_id: UserId,
    asked: Charge,
    now: Timestamp,
) -> Decision {
    let Some(payment) = payment else {
        let state = match asked.amount.currency().minor_digits() {
            Some(_) => PaymentState::Charging(asked),
            // The item got its price before currency codes were validated. The provider is not asked.
            None => {
                let decline = Decline {
                    code: INVALID_CURRENCY.to_owned(),
                    detail: format!(
                        "{} is not a valid currency",
                        asked.amount.currency().as_str()
                    ),
                };
                PaymentState::Declined(asked, decline)
            }
        };
        return Decision::Begin(Payment::new(order_id, user_id, state, now));
    };
    if payment.user_id != user_id {
        return another_user(payment, user_id);
    }
    // Uses the stored key, which earlier code may have derived differently.
    let is_another = |known: &&Charge| known.amount != asked.amount || known.method != asked.method;
    if let Some(known) = payment.charge().filter(is_another) {
        return Decision::Refuse(Refusal::AnotherCharge {
            recorded: known.amount,
            asked: asked.amount,
        });
    }
    match &payment.state {
        // The writer of this record crashed or is still at work. By the key, the provider knows
        // whether the charge was made.
        PaymentState::Charging(charge) => Decision::AskToCharge(charge.clone()),
        PaymentState::Declined(_, decline) => Decision::Answer(Reply::Declined(decline.clone())),
        PaymentState::Refunding(charge, payment_id) => refund(payment, charge, payment_id, now),
        // A charge that was refunded later keeps its answer: it was made.
        PaymentState::Charged(charge, payment_id) | PaymentState::Refunded(charge, payment_id) => {
            Decision::Answer(Reply::Charged {
                payment_id: payment_id.clone(),
                amount: charge.amount,
            })
        }
        PaymentState::Voided(_) => Decision::Answer(Reply::Declined(Decline {
            code: VOIDED.to_owned(),
            detail: "the charge was cancelled before it was made".to_owned(),
        })),
    }
}

fn another_user(payment: &Payment, asked: UserId) -> Decision {
    Decision::Refuse(Refusal::AnotherUser {
        recorded: payment.user_id.0,
        asked: asked.0,
    })
}

fn decide_refund(
    order_id: OrderId,
    payment: Option<&Payment>,
    user_id: UserId,
    now: Timestamp,
) -> Decision {
    let Some(payment) = payment else {
        let state = PaymentState::Voided(None);
        return Decision::Begin(Payment::new(order_id, user_id, state, now));
    };
    if payment.user_id != user_id {
        return another_user(payment, user_id);
    }
    match &payment.state {
        // The outcome of the charge is unknown here. The provider's answer settles it for good.
        PaymentState::Charging(charge) => Decision::AskToCancel(charge.clone()),
        PaymentState::Charged(charge, payment_id) => {
            let state = PaymentState::Refunding(charge.clone(), payment_id.clone());
            Decision::Advance(payment.advanced_to(state, now))
        }
        PaymentState::Refunding(charge, payment_id) => refund(payment, charge, payment_id, now),
        PaymentState::Refunded(charge, _) => Decision::Answer(Reply::Refunded(Some(charge.amount))),
        PaymentState::Declined(_, _) | PaymentState::Voided(_) => {
            Decision::Answer(Reply::Refunded(None))
        }
    }
}

fn refund(payment: &Payment, charge: &Charge, payment_id: &PaymentId, now: Timestamp) -> Decision {
    let state = PaymentState::Refunded(charge.clone(), payment_id.clone());
    Decision::AskToRefund {
        charge: charge.clone(),
        payment_id: payment_id.clone(),
        done: payment.advanced_to(state, now),
    }
}

/// The effect of a charge's settlement, given the current record.
pub fn settle(
    payment: &Payment,
    charge: &Charge,
    settlement: &Settlement,
    now: Timestamp,
) -> Settling {
    match settlement {
        Settlement::Charged(payment_id) => match &payment.state {
            PaymentState::Charging(charge) => {
                let state = PaymentState::Charged(charge.clone(), payment_id.clone());
                Settling::Advance(payment.advanced_to(state, now))
            }
            PaymentState::Charged(_, known)
            | PaymentState::Refunding(_, known)
            | PaymentState::Refunded(_, known) => {
                if known == payment_id {
                    Settling::Known
                } else {
                    Settling::Contradiction
                }
            }
            PaymentState::Declined(_, _) | PaymentState::Voided(_) => {
                let state = PaymentState::Refunding(charge.clone(), payment_id.clone());
                Settling::GiveBack(payment.advanced_to(state, now))
            }
        },
        Settlement::Declined(decline) => match &payment.state {
            PaymentState::Charging(charge) => {
                let state = PaymentState::Declined(charge.clone(), decline.printable());
                Settling::Advance(payment.advanced_to(state, now))
            }
            PaymentState::Declined(_, _) | PaymentState::Voided(_) => Settling::Known,
            PaymentState::Charged(_, _)
            | PaymentState::Refunding(_, _)
            | PaymentState::Refunded(_, _) => Settling::Contradiction,
        },
        Settlement::Cancelled => match &payment.state {
            PaymentState::Charging(charge) => {
                let state = PaymentState::Voided(Some(charge.clone()));
                Settling::Advance(payment.advanced_to(state, now))
            }
            PaymentState::Declined(_, _) | PaymentState::Voided(_) => Settling::Known,
            PaymentState::Charged(_, _)
            | PaymentState::Refunding(_, _)
            | PaymentState::Refunded(_, _) => Settling::Contradiction,
        },
    }
}
