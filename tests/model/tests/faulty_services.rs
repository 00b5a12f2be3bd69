//! Services with one fault each, of kinds that well-known systems have had.

use inventory::domain as stock;
use jiff::Timestamp;
use orders::domain as saga;
use payments::domain as money;
use saga_model::services::{Production, Services};

/// Production's decision with the next state changed, where there is a next state.
fn changed(decision: saga::Decision, change: impl FnOnce(&mut saga::Order)) -> saga::Decision {
    match decision {
        saga::Decision::Advance(mut next) => {
            change(&mut next);
            saga::Decision::Advance(next)
        }
        other => other,
    }
}

fn end(order: &mut saga::Order, state: saga::State) {
    order.state = state;
    order.attempt = 0;
    order.due_at = None;
    order.parked = false;
}

/// A release that comes before its reserve leaves nothing behind.
pub struct NoTombstone;

impl Services for NoTombstone {
    fn on_release(&self, record: Option<stock::Reservation>) -> stock::OnRelease {
        match record {
            None => stock::OnRelease::Nothing,
            some => Production.on_release(some),
        }
    }
}

/// An order is confirmed as soon as its units are reserved.
pub struct ConfirmsUnpaid;

impl Services for ConfirmsUnpaid {
    fn decide(&self, order: &saga::Order, event: &saga::Event, now: Timestamp) -> saga::Decision {
        let decision = Production.decide(order, event, now);
        changed(decision, |next| {
            if next.state == saga::State::Charging {
                end(next, saga::State::Confirmed);
            }
        })
    }
}

/// A cancel while the stock is being reserved ends the order and leaves the units held.
pub struct CancelForgetsUnits;

impl Services for CancelForgetsUnits {
    fn decide(&self, order: &saga::Order, event: &saga::Event, now: Timestamp) -> saga::Decision {
        let decision = Production.decide(order, event, now);
        changed(decision, |next| {
            if order.state == saga::State::Reserving
                && matches!(event, saga::Event::CancelRequested { .. })
            {
                end(next, saga::State::Cancelled);
            }
        })
    }
}

/// A timeout takes silence for a no: what arrives later is nobody's.
pub struct TimeoutLeaks;

impl Services for TimeoutLeaks {
    fn decide(&self, order: &saga::Order, event: &saga::Event, now: Timestamp) -> saga::Decision {
        let decision = Production.decide(order, event, now);
        changed(decision, |next| {
            let gave_up = order.state == saga::State::Reserving && *event == saga::Event::Due;
            if gave_up && matches!(next.state, saga::State::Releasing(_)) {
                end(next, saga::State::Rejected);
            }
        })
    }
}

/// A payment that was charged confirms the order, whatever has become of it.
pub struct LateChargeConfirms;

impl Services for LateChargeConfirms {
    fn decide(&self, order: &saga::Order, event: &saga::Event, now: Timestamp) -> saga::Decision {
        let decision = Production.decide(order, event, now);
        let is_charge = matches!(event, saga::Event::PaymentCharged { .. });
        if is_charge && decision == saga::Decision::Ignore(saga::Ignored::Overtaken) {
            let mut next = order.clone();
            next.version += 1;
            end(&mut next, saga::State::Confirmed);
            return saga::Decision::Advance(Box::new(next));
        }
        decision
    }
}

/// The sweeper counts attempts and sends nothing.
pub struct SweeperIsSilent;

impl Services for SweeperIsSilent {
    fn owed(&self, order: &saga::Order) -> Option<saga::Command> {
        Production.owed(order).filter(|_| order.attempt <= 1)
    }
}

/// The total that was expected is not looked at.
pub struct AnyTotalWillDo;

impl Services for AnyTotalWillDo {
    fn decide(&self, order: &saga::Order, event: &saga::Event, now: Timestamp) -> saga::Decision {
        let unaware = saga::Order {
            expected_total: None,
            ..order.clone()
        };
        changed(Production.decide(&unaware, event, now), |next| {
            next.expected_total = order.expected_total;
        })
    }
}

/// A charge that is asked for again is made again.
pub struct ChargesAgain;

impl Services for ChargesAgain {
    fn decide_payment(
        &self,
        order_id: money::OrderId,
        payment: Option<&money::Payment>,
        command: &money::Command,
        now: Timestamp,
    ) -> money::Decision {
        let decision = Production.decide_payment(order_id, payment, command, now);
        match (payment.map(|payment| &payment.state), command) {
            (Some(money::PaymentState::Charged(charge, _)), money::Command::Charge { .. }) => {
                let key = format!("{}-again", charge.key.as_str());
                money::Decision::AskToCharge(money::Charge {
                    key: money::ChargeKey::from_stored(key),
                    ..charge.clone()
                })
            }
            _ => decision,
        }
    }
}

/// A refund takes a charge whose outcome is not known for one that was not made.
pub struct RefundGuesses;

impl Services for RefundGuesses {
    fn decide_payment(
        &self,
        order_id: money::OrderId,
        payment: Option<&money::Payment>,
        command: &money::Command,
        now: Timestamp,
    ) -> money::Decision {
        match Production.decide_payment(order_id, payment, command, now) {
            money::Decision::AskToCancel(_) => {
                money::Decision::Answer(money::Reply::Refunded(None))
            }
            other => other,
        }
    }
}

/// One unit more is sold than there is.
pub struct OffByOne;

impl Services for OffByOne {
    fn decide_stock(&self, wanted: &stock::WantedLines, items: &[stock::Item]) -> stock::Outcome {
        let mut items = items.to_vec();
        for item in &mut items {
            item.levels.available += 1;
        }
        Production.decide_stock(wanted, &items)
    }

    fn item_can_be_held(&self, item: &stock::Item, line: &stock::ReservedLine) -> bool {
        item.levels.available + 1 >= line.quantity.get()
    }
}

/// A reserve that comes again is decided again and finds its own units gone.
pub struct AnswersAnew;

impl Services for AnswersAnew {
    fn on_reserve(&self, record: Option<stock::Reservation>) -> stock::OnReserve {
        match record {
            Some(stock::Reservation::Reserved(_)) => {
                stock::OnReserve::Replay(stock::Outcome::Refused(stock::Refusal {
                    code: stock::RefusalCode::OutOfStock,
                    detail: "there are no units left".to_owned(),
                    sku: None,
                }))
            }
            other => Production.on_reserve(other),
        }
    }
}

/// What was charged is reported wrongly.
pub struct ReportsAnotherAmount;

impl Services for ReportsAnotherAmount {
    fn decide_payment(
        &self,
        order_id: money::OrderId,
        payment: Option<&money::Payment>,
        command: &money::Command,
        now: Timestamp,
    ) -> money::Decision {
        match Production.decide_payment(order_id, payment, command, now) {
            money::Decision::Answer(money::Reply::Charged { payment_id, amount }) => {
                let more = money::Money::new(amount.amount() + 1, amount.currency().as_str());
                money::Decision::Answer(money::Reply::Charged {
                    payment_id,
                    amount: more.unwrap(),
                })
            }
            other => other,
        }
    }
}
