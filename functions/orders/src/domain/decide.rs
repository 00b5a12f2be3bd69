//! The saga's transition function: reserve stock, charge the payment, confirm; or undo these steps.
//!
//! ```text
//!   place ─┬─> Verifying ──> Reserving ──> Charging ──> Confirmed
//!          └────────────────────^  │           │  │         │ cancel
//!                                  │  declined │  │ gave up │
//!                                  v           v  v         v
//!            Rejected/Cancelled <─ Releasing <────── Refunding
//! ```
//!
//! An operator has two events. A retry resets the attempts of the current step. An abandonment of a
//! parked compensation leads to the same state as its answer (`Refunding -> Releasing`,
//! `Releasing -> Rejected/Cancelled`).
//!
//! [`decide`] answers every pair of state and event, without a wildcard. After a new state or event, the
//! code compiles only when each new pair has an answer. `tests/golden/transitions.txt` lists the answers.

use std::fmt::Display;

use jiff::Timestamp;

use super::order::{Order, UserId};
use super::progress::{MAX_ATTEMPTS, PARKED_RETRY, StepTimeout};
use super::state::{Ending, State};
use super::step::{Command, Compensation};
use super::timeline::TimelineEvent;
use super::values::{MAX_AMOUNT, MAX_DETAIL, MAX_NAME, Money, Quantity, Sku, bounded};

/// The code of an order whose lines cost more than any amount may be.
pub(super) const TOTAL_TOO_LARGE: &str = "total_too_large";

/// An event in the life of a placed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    UserVerified {
        /// The user that the reply names, if any.
        user: Option<UserId>,
    },
    UserRefused {
        /// The user that the reply names, if any.
        user: Option<UserId>,
        code: String,
        detail: String,
    },
    StockReserved {
        lines: Vec<ReservedLine>,
    },
    StockRefused {
        /// The refused item, if the reply names it.
        sku: Option<Sku>,
        code: String,
        detail: String,
    },
    StockReleased,
    PaymentCharged {
        amount: Money,
    },
    PaymentDeclined {
        code: String,
        detail: String,
    },
    PaymentRefunded {
        refunded: Option<Money>,
    },
    /// The customer, or an administrator for them, cancels.
    CancelRequested {
        by: CancelledBy,
    },
    /// The sweeper found that the order's `due_at` has passed.
    Due,
    /// An operator restarts the current step from its first attempt.
    RetryRequested {
        by: String,
    },
    /// An operator gives up a parked compensation, or has settled it by hand.
    Abandoned {
        /// The compensation to abandon; the order may have moved on to the other one.
        step: Compensation,
        reason: String,
        by: String,
    },
}

/// Who cancels an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelledBy {
    Customer,
    Administrator,
}

impl CancelledBy {
    /// The detail of the timeline entry; none if the customer cancelled.
    pub(super) fn detail(self) -> Option<&'static str> {
        match self {
            CancelledBy::Customer => None,
            CancelledBy::Administrator => Some("by an administrator"),
        }
    }
}

/// A line with the price that inventory reserved it at, which is the binding one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedLine {
    pub sku: Sku,
    /// The item's name, if the reply has it.
    pub name: Option<String>,
    pub quantity: Quantity,
    pub unit_price: Money,
}

/// The three answers to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The order moves on: write it, then send the command it owes.
    Advance(Box<Order>),
    /// Normal under at-least-once delivery; nothing changes.
    Ignore(Ignored),
    /// The event is an error, and its sender gets the reason.
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The event that led to this state, again. The function may have crashed before it sent the
    /// command, so the command is sent again.
    Repeat,
    /// The order has moved past the event; there is nothing to send.
    Overtaken,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The order was, or is being, rejected: there is nothing left to cancel.
    #[error("the order is rejected; there is nothing left to cancel")]
    TooLate,
    /// Operators may abandon a parked compensation only.
    #[error("only a parked compensation can be abandoned, and {0}")]
    NotParked(&'static str),
    /// A correct participant cannot send this, so it must reach an operator.
    #[error("{0}")]
    Contradiction(String),
}

/// Decides how an event changes an order. See the module documentation.
pub fn decide(order: &Order, event: &Event, timeout: StepTimeout, now: Timestamp) -> Decision {
    match event {
        Event::UserVerified { user: Some(user) }
        | Event::UserRefused {
            user: Some(user), ..
        } if *user != order.user_id => differs(
            order,
            "users answered about another user",
            user.0,
            order.user_id.0,
        ),
        Event::UserVerified { .. } => match order.state {
            State::Verifying => order.advance(now, |next| {
                next.note(now, TimelineEvent::UserVerified, None);
                next.forward(State::Reserving, timeout, now);
            }),
            State::Reserving => REPEAT,
            State::Charging
            | State::Confirmed
            | State::Refunding(_)
            | State::Releasing(_)
            | State::Rejected
            | State::Cancelled => OVERTAKEN,
        },
        Event::UserRefused { code, detail, .. } => match order.state {
            State::Verifying => order.advance(now, |next| {
                next.note(now, TimelineEvent::UserRefused, Some(detail));
                next.fail(code, detail);
                next.end(Ending::Rejected, now);
            }),
            State::Rejected => REPEAT,
            // Users may answer a repeated question differently; the first answer counts.
            State::Reserving
            | State::Charging
            | State::Confirmed
            | State::Refunding(_)
            | State::Releasing(_)
            | State::Cancelled => OVERTAKEN,
        },
        Event::StockReserved { lines } => match order.state {
            State::Reserving => stock_reserved(order, lines, timeout, now),
            State::Rejected | State::Cancelled
                if contradicts_abandonment(order, Compensation::Release) =>
            {
                contradiction(order, RESERVED_AFTER_ALL)
            }
            State::Charging
            | State::Confirmed
            | State::Refunding(_)
            | State::Releasing(_)
            | State::Rejected
            | State::Cancelled
                if is_other_stock(order, lines) =>
            {
                other_stock(order, OTHER_STOCK_RESERVED, lines)
            }
            // In Releasing this is a repeat if the price had changed; if not, one more ReleaseStock is
            // harmless.
            State::Charging | State::Releasing(_) => REPEAT,
            State::Confirmed | State::Refunding(_) | State::Rejected | State::Cancelled => {
                OVERTAKEN
            }
            State::Verifying => contradiction(order, "stock was reserved that was not asked for"),
        },
        Event::StockRefused { sku: Some(sku), .. }
            if order.lines.iter().all(|line| line.sku != *sku) =>
        {
            contradiction(
                order,
                "stock was refused of an item that is not in the order",
            )
        }
        Event::StockRefused { code, detail, .. } => match order.state {
            State::Reserving => order.advance(now, |next| {
                next.note(now, TimelineEvent::StockRefused, Some(detail));
                next.fail(code, detail);
                next.end(Ending::Rejected, now);
            }),
            State::Rejected => REPEAT,
            // The refusal crossed with the release, or comes from the release's tombstone.
            State::Releasing(_) | State::Cancelled => OVERTAKEN,
            State::Verifying => contradiction(order, "stock was refused that was not asked for"),
            State::Charging | State::Confirmed | State::Refunding(_) => {
                contradiction(order, "stock was refused after it had been reserved")
            }
        },
        Event::StockReleased => match order.state {
            State::Releasing(ending) => order.advance(now, |next| {
                next.note(now, TimelineEvent::StockReleased, None);
                next.end(ending, now);
            }),
            State::Rejected | State::Cancelled => REPEAT,
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Confirmed
            | State::Refunding(_) => {
                contradiction(order, "stock was released that the order still needs")
            }
        },
        Event::PaymentCharged { amount } => match order.state {
            State::Charging => payment_charged(order, *amount, now),
            State::Confirmed if order.total == Some(*amount) => REPEAT,
            State::Confirmed => other_amount(order, OTHER_AMOUNT_CHARGED, Some(*amount)),
            State::Releasing(_) | State::Rejected | State::Cancelled
                if contradicts_abandonment(order, Compensation::Refund) =>
            {
                contradiction(order, CHARGED_AFTER_ALL)
            }
            State::Refunding(_) | State::Releasing(_) | State::Rejected | State::Cancelled
                if order.total != Some(*amount) =>
            {
                other_amount(order, OTHER_AMOUNT_CHARGED, Some(*amount))
            }
            // The charge crossed with the refund, which reverses it.
            State::Refunding(_) | State::Releasing(_) | State::Rejected | State::Cancelled => {
                OVERTAKEN
            }
            State::Verifying | State::Reserving => {
                contradiction(order, "a payment was charged that was not asked for")
            }
        },
        Event::PaymentDeclined { code, detail } => match order.state {
            State::Charging => order.advance(now, |next| {
                next.note(
                    now,
                    TimelineEvent::PaymentDeclined,
                    Some(&format!("{code}: {detail}")),
                );
                next.fail("payment_declined", detail);
                next.compensate(State::Releasing(Ending::Rejected), timeout, now);
            }),
            State::Releasing(_) => REPEAT,
            // The decline crossed with the refund, or comes from the refund's tombstone.
            State::Refunding(_) | State::Rejected | State::Cancelled => OVERTAKEN,
            State::Verifying | State::Reserving => {
                contradiction(order, "a payment was declined that was not asked for")
            }
            State::Confirmed => {
                contradiction(order, "a payment was declined after it had been charged")
            }
        },
        Event::PaymentRefunded { refunded } => match order.state {
            State::Refunding(_) | State::Releasing(_) | State::Rejected | State::Cancelled
                if refunded.is_some_and(|amount| Some(amount) != order.total) =>
            {
                let problem = "another amount was refunded than was charged";
                other_amount(order, problem, *refunded)
            }
            State::Refunding(ending) => order.advance(now, |next| {
                let detail = match refunded {
                    Some(amount) => format!("{amount} given back"),
                    None => "nothing had been charged".to_owned(),
                };
                next.note(now, TimelineEvent::PaymentRefunded, Some(&detail));
                next.compensate(State::Releasing(ending), timeout, now);
            }),
            State::Releasing(_) => REPEAT,
            State::Rejected | State::Cancelled => OVERTAKEN,
            State::Verifying | State::Reserving | State::Charging | State::Confirmed => {
                contradiction(order, "a payment was refunded that the order still needs")
            }
        },
        Event::CancelRequested { by } => match order.state {
            // Only the check of the user was requested, so there is nothing to undo.
            State::Verifying => order.advance(now, |next| {
                next.note(now, TimelineEvent::CancelRequested, by.detail());
                next.end(Ending::Cancelled, now);
            }),
            State::Reserving => order.advance(now, |next| {
                next.note(now, TimelineEvent::CancelRequested, by.detail());
                next.compensate(State::Releasing(Ending::Cancelled), timeout, now);
            }),
            State::Charging | State::Confirmed => order.advance(now, |next| {
                next.note(now, TimelineEvent::CancelRequested, by.detail());
                next.compensate(State::Refunding(Ending::Cancelled), timeout, now);
            }),
            State::Refunding(Ending::Cancelled)
            | State::Releasing(Ending::Cancelled)
            | State::Cancelled => REPEAT,
            State::Refunding(Ending::Rejected)
            | State::Releasing(Ending::Rejected)
            | State::Rejected => Decision::Refuse(Refusal::TooLate),
        },
        Event::Due => due(order, timeout, now),
        Event::RetryRequested { by } => match order.state {
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Refunding(_)
            | State::Releasing(_) => {
                // On the first attempt sending again is enough, so repeated retries do not lengthen the
                // timeline. An order without a due time, or with one later than any step sets, is
                // invisible to the sweeper: only a write repairs it.
                let latest = now + timeout.after(MAX_ATTEMPTS).max(PARKED_RETRY);
                let sweeper_finds_it = order
                    .due_at
                    .is_some_and(|due_at| now < due_at && due_at <= latest);
                if order.attempt == 1 && !order.parked && sweeper_finds_it {
                    REPEAT
                } else {
                    order.advance(now, |next| {
                        next.note_if_room(now, TimelineEvent::RetryRequested, &format!("by {by}"));
                        next.start_over(timeout, now);
                    })
                }
            }
            State::Confirmed | State::Rejected | State::Cancelled => OVERTAKEN,
        },
        Event::Abandoned {
            step: Compensation::Refund,
            reason,
            by,
        } => match order.state {
            State::Refunding(ending) if order.parked => order.advance(now, |next| {
                let detail = abandonment(by, reason);
                next.note(now, TimelineEvent::RefundAbandoned, Some(&detail));
                next.compensate(State::Releasing(ending), timeout, now);
            }),
            State::Refunding(_) => not_parked(STILL_ASKED_FOR),
            // Either this decision was applied before, and its send may have failed, or the refund was
            // answered first.
            State::Releasing(_) => REPEAT,
            State::Rejected | State::Cancelled => OVERTAKEN,
            State::Verifying | State::Reserving | State::Charging | State::Confirmed => {
                not_parked(NOT_COMPENSATING)
            }
        },
        Event::Abandoned {
            step: Compensation::Release,
            reason,
            by,
        } => match order.state {
            State::Releasing(ending) if order.parked => order.advance(now, |next| {
                let detail = abandonment(by, reason);
                next.note(now, TimelineEvent::ReleaseAbandoned, Some(&detail));
                next.end(ending, now);
            }),
            State::Releasing(_) => not_parked(STILL_ASKED_FOR),
            State::Rejected | State::Cancelled => REPEAT,
            State::Refunding(_) => not_parked("this order has not come to that one yet"),
            State::Verifying | State::Reserving | State::Charging | State::Confirmed => {
                not_parked(NOT_COMPENSATING)
            }
        },
    }
}

const REPEAT: Decision = Decision::Ignore(Ignored::Repeat);
const OTHER_STOCK_RESERVED: &str = "other lines or prices were reserved than before";
const OTHER_AMOUNT_CHARGED: &str = "another amount was charged than was asked for";
const CHARGED_AFTER_ALL: &str = "a payment was charged whose refund had been abandoned: pay it back \
                                 by hand unless that was done";
const RESERVED_AFTER_ALL: &str = "stock was reserved whose release had been abandoned: give it back \
                                  by hand unless that was done";
const OVERTAKEN: Decision = Decision::Ignore(Ignored::Overtaken);

const STILL_ASKED_FOR: &str = "this one is still being asked for";
const NOT_COMPENSATING: &str =
    "this order is not undoing anything; cancel it if it is to be undone";

/// The timeline detail of an abandonment: who and why.
pub fn abandonment(by: &str, reason: &str) -> String {
    format!("by {by}: {reason}")
}

/// Whether an operator abandoned the compensation of a step before its success was known. Nothing
/// will undo that step now, so an operator has to act.
fn contradicts_abandonment(order: &Order, compensation: Compensation) -> bool {
    let (step, undo) = compensation.declared();
    let happened = |event| order.timeline.iter().any(|entry| entry.event == event);
    happened(undo.abandoned) && !happened(step.action.done)
}

fn not_parked(why: &'static str) -> Decision {
    Decision::Refuse(Refusal::NotParked(why))
}

fn contradiction(order: &Order, problem: &str) -> Decision {
    Decision::Refuse(Refusal::Contradiction(format!(
        "{problem} (the order is {:?})",
        order.state
    )))
}

/// A contradiction between a value in the reply and the order's own; names both.
fn differs(order: &Order, problem: &str, received: impl Display, has: impl Display) -> Decision {
    let problem = format!(
        "{problem}: {received}, and the order has {has}; nothing was changed; compare both before this \
         is sent again"
    );
    contradiction(order, &problem)
}

fn other_amount(order: &Order, problem: &str, received: Option<Money>) -> Decision {
    let shown =
        |amount: Option<Money>| amount.map_or_else(|| "none".to_owned(), |some| some.to_string());
    differs(order, problem, shown(received), shown(order.total))
}

fn other_stock(order: &Order, problem: &str, received: &[ReservedLine]) -> Decision {
    let shown = |sku: &Sku, quantity: Quantity, price: Option<Money>| match price {
        Some(price) => format!("{} {sku} at {price}", quantity.units()),
        None => format!("{} {sku}", quantity.units()),
    };
    let listed = |lines: Vec<String>| match lines.is_empty() {
        true => "no lines".to_owned(),
        false => bounded(&lines.join(", "), MAX_DETAIL),
    };
    let received = received
        .iter()
        .map(|line| shown(&line.sku, line.quantity, Some(line.unit_price)));
    let has = order
        .lines
        .iter()
        .map(|line| shown(&line.sku, line.quantity, line.unit_price));
    differs(
        order,
        problem,
        listed(received.collect()),
        listed(has.collect()),
    )
}

fn stock_reserved(
    order: &Order,
    lines: &[ReservedLine],
    timeout: StepTimeout,
    now: Timestamp,
) -> Decision {
    let Some(reserved) = matching(order, lines) else {
        let problem = "other lines were reserved than were asked for";
        return other_stock(order, problem, lines);
    };
    let Some(total) = total(lines) else {
        return contradiction(order, "the reserved lines do not add up to one amount");
    };
    if total.amount > MAX_AMOUNT {
        return order.advance(now, |next| {
            let most = Money {
                amount: MAX_AMOUNT,
                ..total
            };
            let detail = format!("the total is above {most}, the most an order may come to");
            next.note(now, TimelineEvent::StockReserved, Some(&detail));
            next.fail(TOTAL_TOO_LARGE, &detail);
            next.compensate(State::Releasing(Ending::Rejected), timeout, now);
        });
    }
    order.advance(now, |next| {
        for (line, reserved) in next.lines.iter_mut().zip(reserved) {
            line.unit_price = Some(reserved.unit_price);
            line.name = reserved.name.as_deref().map(|name| bounded(name, MAX_NAME));
        }
        next.total = Some(total);
        next.note(
            now,
            TimelineEvent::StockReserved,
            Some(&format!("for {total}")),
        );
        match order.expected_total.filter(|expected| *expected != total) {
            None => next.forward(State::Charging, timeout, now),
            Some(expected) => {
                let detail = format!("the total is {total}, not the expected {expected}");
                next.note(now, TimelineEvent::PriceChanged, Some(&detail));
                next.fail("price_changed", &detail);
                next.compensate(State::Releasing(Ending::Rejected), timeout, now);
            }
        }
    })
}

/// The reservation of each of the order's lines; none unless exactly these lines were reserved. Their
/// order does not matter.
fn matching<'r>(order: &Order, reserved: &'r [ReservedLine]) -> Option<Vec<&'r ReservedLine>> {
    // An order's skus are distinct, so an equal count with every line found means equal lines.
    (reserved.len() == order.lines.len()).then_some(())?;
    let lines = order.lines.iter().map(|line| {
        reserved
            .iter()
            .find(|given| given.sku == line.sku && given.quantity == line.quantity)
    });
    lines.collect()
}

/// Whether a reply differs from the order's lines or from the prices it already has.
fn is_other_stock(order: &Order, reserved: &[ReservedLine]) -> bool {
    matching(order, reserved).is_none_or(|reserved| {
        let mut lines = order.lines.iter().zip(reserved);
        lines.any(|(line, given)| {
            line.unit_price
                .is_some_and(|price| price != given.unit_price)
        })
    })
}

/// The sum of the lines, at most [`i64::MAX`]; none if their currencies differ.
fn total(lines: &[ReservedLine]) -> Option<Money> {
    let currency = lines.first()?.unit_price.currency;
    let amount = lines.iter().try_fold(0_i64, |sum, line| {
        let price = line.unit_price;
        let cost = price.amount.saturating_mul(line.quantity.units().into());
        (price.currency == currency).then(|| sum.saturating_add(cost))
    })?;
    Some(Money { amount, currency })
}

fn payment_charged(order: &Order, amount: Money, now: Timestamp) -> Decision {
    if order.total != Some(amount) {
        return other_amount(order, OTHER_AMOUNT_CHARGED, Some(amount));
    }
    order.advance(now, |next| {
        next.note(
            now,
            TimelineEvent::PaymentCharged,
            Some(&amount.to_string()),
        );
        next.note(now, TimelineEvent::OrderConfirmed, None);
        next.state = State::Confirmed;
        next.clear_due();
    })
}

/// Handles a step without an answer. Its effect is unknown, so a forward step that is given up is
/// undone as if it had succeeded.
fn due(order: &Order, timeout: StepTimeout, now: Timestamp) -> Decision {
    // The sweeper's index lags behind; the order's own due time decides.
    if order.due_at.is_none_or(|due_at| now < due_at) {
        return OVERTAKEN;
    }
    let tries_left = order.attempt < MAX_ATTEMPTS;
    match order.state {
        State::Verifying | State::Reserving | State::Charging if tries_left => {
            order.advance(now, |next| next.ask_again(timeout, now))
        }
        State::Verifying => order.advance(now, |next| {
            next.give_up(Command::VerifyUser, now);
            next.end(Ending::Rejected, now);
        }),
        State::Reserving => order.advance(now, |next| {
            next.give_up(Command::ReserveStock, now);
            next.compensate(State::Releasing(Ending::Rejected), timeout, now);
        }),
        State::Charging => order.advance(now, |next| {
            next.give_up(Command::ChargePayment, now);
            next.compensate(State::Refunding(Ending::Rejected), timeout, now);
        }),
        State::Refunding(_) | State::Releasing(_) => order.advance(now, |next| {
            if !tries_left && !next.parked {
                next.parked = true;
                let detail = format!("no answer after {} attempts", next.attempt);
                next.note_if_room(now, TimelineEvent::OrderParked, &detail);
            }
            next.ask_again(timeout, now);
        }),
        State::Confirmed | State::Rejected | State::Cancelled => OVERTAKEN,
    }
}

impl Order {
    fn advance(&self, now: Timestamp, change: impl FnOnce(&mut Order)) -> Decision {
        let mut next = self.clone();
        next.version += 1;
        next.updated_at = now;
        change(&mut next);
        Decision::Advance(Box::new(next))
    }
}
