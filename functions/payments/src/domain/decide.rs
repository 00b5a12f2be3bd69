//! What a command does to a payment, and what the provider's word does to it.
//!
//! [`decide`] and [`settle`] are total: every pair has an answer somebody thought about, and no
//! match here has a wildcard over the states, the commands or the settlements.

use jiff::Timestamp;
use uuid::Uuid;

use super::payment::{Charge, Decline, Payment, PaymentId, PaymentState, Settlement, UserId};
use super::values::{ChargeKey, Money, OrderId, PaymentMethod};

/// The decline code of a charge that was taken back before it was made.
pub const VOIDED: &str = "voided";

/// The decline code of a charge in a currency that ISO 4217 does not know or gives no minor unit.
pub const INVALID_CURRENCY: &str = "invalid_currency";

/// What orders asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Charge {
        user_id: UserId,
        amount: Money,
        method: PaymentMethod,
    },
    /// Gives the charge back, whatever became of it: also one that was never made, or never will.
    Refund { user_id: UserId },
}

/// What orders is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Charged {
        payment_id: PaymentId,
        amount: Money,
    },
    Declined(Decline),
    /// Nothing where nothing had been charged.
    Refunded(Option<Money>),
}

/// What to do next about a command. After anything but an answer or a refusal the question is put
/// again, with the payment as it then is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write this first record, if there still is none.
    Begin(Payment),
    /// Write this over the version it follows.
    Advance(Payment),
    /// Ask the provider to charge, and [`settle`] what it says.
    AskToCharge(Charge),
    /// Ask the provider to make the charge impossible, and [`settle`] what it says.
    AskToCancel(Charge),
    /// Ask the provider to give the whole charge back; then write `done`.
    AskToRefund {
        charge: Charge,
        payment_id: PaymentId,
        done: Payment,
    },
    /// Done, now or before: a repeat hears what the first one heard.
    Answer(Reply),
    Refuse(Refusal),
}

/// A command that can never be carried out as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the order's payment is of user {recorded}, and this is about user {asked}; nothing was \
         changed; compare both with the order before this is sent again"
    )]
    AnotherUser { recorded: Uuid, asked: Uuid },
    #[error(
        "the order's charge was asked for before with another amount or payment method: {recorded} then, \
         {asked} now; nothing was changed; compare both with the order before this is sent again"
    )]
    AnotherCharge { recorded: Money, asked: Money },
}

/// What to do about the provider's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Write this over the version it follows.
    Advance(Payment),
    /// Somebody else has written it already.
    Known,
    /// Money was taken under a charge that was written off. That breaks the provider's promise;
    /// write this, and the money goes back.
    GiveBack(Payment),
    /// The provider denies a charge it has confirmed, or confirms another. Nobody but an operator can
    /// tell what is true.
    Contradiction,
}

/// What a command asks for next, given what is on record.
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
            // Its item was priced before codes were checked. The provider is not asked.
            None => {
                let decline = Decline {
                    code: INVALID_CURRENCY.to_owned(),
                    detail: format!("{} is not a currency", asked.amount.currency().as_str()),
                };
                PaymentState::Declined(asked, decline)
            }
        };
        return Decision::Begin(Payment::new(order_id, user_id, state, now));
    };
    if payment.user_id != user_id {
        return another_user(payment, user_id);
    }
    // The key is the stored one: it may have been derived by earlier code.
    let is_another = |known: &&Charge| known.amount != asked.amount || known.method != asked.method;
    if let Some(known) = payment.charge().filter(is_another) {
        return Decision::Refuse(Refusal::AnotherCharge {
            recorded: known.amount,
            asked: asked.amount,
        });
    }
    match &payment.state {
        // Whoever wrote this died, or is at it just now. The provider tells the two apart from a
        // charge that was never made, by the key.
        PaymentState::Charging(charge) => Decision::AskToCharge(charge.clone()),
        PaymentState::Declined(_, decline) => Decision::Answer(Reply::Declined(decline.clone())),
        PaymentState::Refunding(charge, payment_id) => refund(payment, charge, payment_id, now),
        // Given back since, and still the answer to the charge is that it was made.
        PaymentState::Charged(charge, payment_id) | PaymentState::Refunded(charge, payment_id) => {
            Decision::Answer(Reply::Charged {
                payment_id: payment_id.clone(),
                amount: charge.amount,
            })
        }
        PaymentState::Voided(_) => Decision::Answer(Reply::Declined(Decline {
            code: VOIDED.to_owned(),
            detail: "the charge was taken back before it was made".to_owned(),
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
        // Whether it was charged is not known here; the provider decides it for good.
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

/// What the provider's word about a charge means, given what is on record by now.
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
