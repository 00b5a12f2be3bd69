//! Services with one bug each, of kinds that well-known systems have had.

use inventory::domain as stock;
use jiff::Timestamp;
use orders::domain as saga;
use orders::domain::{Decision, Event, Order, State};
use payments::domain as money;
use saga_model::services::{Production, Services};

/// Another `decide` of orders.
pub struct Decides(pub fn(&Order, &Event, Timestamp) -> Decision);

impl Services for Decides {
    fn decide(&self, order: &Order, event: &Event, now: Timestamp) -> Decision {
        self.0(order, event, now)
    }
}

type DecidePayment =
    fn(Option<&money::Payment>, &money::Command, money::Decision) -> money::Decision;

/// A changed decision of payments.
pub struct DecidesPayment(pub DecidePayment);

impl Services for DecidesPayment {
    fn decide_payment(
        &self,
        order_id: money::OrderId,
        payment: Option<&money::Payment>,
        command: &money::Command,
        now: Timestamp,
    ) -> money::Decision {
        let decision = Production.decide_payment(order_id, payment, command, now);
        self.0(payment, command, decision)
    }
}

/// Changes the next state of production's decision, if there is one.
fn changed(
    order: &Order,
    event: &Event,
    now: Timestamp,
    change: impl FnOnce(&mut Order),
) -> Decision {
    match Production.decide(order, event, now) {
        Decision::Advance(mut next) => {
            change(&mut next);
            Decision::Advance(next)
        }
        other => other,
    }
}

fn end(order: &mut Order, state: State) {
    order.state = state;
    order.attempt = 0;
    order.due_at = None;
    order.parked = false;
}

/// A release before its reserve leaves no tombstone.
pub struct NoTombstone;

impl Services for NoTombstone {
    fn on_release(&self, record: Option<stock::Reservation>) -> stock::OnRelease {
        match record {
            None => stock::OnRelease::Nothing,
            some => Production.on_release(some),
        }
    }
}

/// An order is confirmed without a charge.
pub fn confirms_unpaid(order: &Order, event: &Event, now: Timestamp) -> Decision {
    changed(order, event, now, |next| {
        if next.state == State::Charging {
            end(next, State::Confirmed);
        }
    })
}

/// A cancellation during the reservation leaves the units held.
pub fn cancel_forgets_units(order: &Order, event: &Event, now: Timestamp) -> Decision {
    changed(order, event, now, |next| {
        let is_cancel = matches!(event, Event::CancelRequested { .. });
        if order.state == State::Reserving && is_cancel {
            end(next, State::Cancelled);
        }
    })
}

/// A timeout ends the order without a release, so a late reservation stays.
pub fn timeout_leaks(order: &Order, event: &Event, now: Timestamp) -> Decision {
    changed(order, event, now, |next| {
        let timed_out = order.state == State::Reserving && *event == Event::Due;
        if timed_out && matches!(next.state, State::Releasing(_)) {
            end(next, State::Rejected);
        }
    })
}

/// A late charge confirms an order in any state.
pub fn late_charge_confirms(order: &Order, event: &Event, now: Timestamp) -> Decision {
    let decision = Production.decide(order, event, now);
    let is_charge = matches!(event, Event::PaymentCharged { .. });
    if is_charge && decision == Decision::Ignore(saga::Ignored::Overtaken) {
        let mut next = order.clone();
        next.version += 1;
        end(&mut next, State::Confirmed);
        return Decision::Advance(Box::new(next));
    }
    decision
}

/// The expected total is ignored.
pub fn ignores_expected_total(order: &Order, event: &Event, now: Timestamp) -> Decision {
    let unaware = Order {
        expected_total: None,
        ..order.clone()
    };
    changed(&unaware, event, now, |next| {
        next.expected_total = order.expected_total;
    })
}

/// The sweeper counts attempts but sends nothing.
pub struct SweeperIsSilent;

impl Services for SweeperIsSilent {
    fn owed(&self, order: &Order) -> Option<saga::Command> {
        Production.owed(order).filter(|_| order.attempt <= 1)
    }
}

/// A repeated charge is made again.
pub fn charges_again(
    payment: Option<&money::Payment>,
    command: &money::Command,
    decision: money::Decision,
) -> money::Decision {
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

/// A refund treats a charge of unknown outcome as not made.
pub fn refund_guesses(
    _: Option<&money::Payment>,
    _: &money::Command,
    decision: money::Decision,
) -> money::Decision {
    match decision {
        money::Decision::AskToCancel(_) => money::Decision::Answer(money::Reply::Refunded(None)),
        other => other,
    }
}

/// The reply reports another amount than the charge.
pub fn reports_another_amount(
    _: Option<&money::Payment>,
    _: &money::Command,
    decision: money::Decision,
) -> money::Decision {
    match decision {
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

/// One unit too many is sold.
pub struct OversellsByOne;

impl Services for OversellsByOne {
    fn decide_stock(&self, wanted: &stock::WantedLines, items: &[stock::Item]) -> stock::Outcome {
        let mut items = items.to_vec();
        for item in &mut items {
            item.levels.available += 1;
        }
        Production.decide_stock(wanted, &items)
    }

    fn can_hold(&self, item: &stock::Item, line: &stock::ReservedLine) -> bool {
        item.levels.available + 1 >= line.quantity.get()
    }
}

/// A repeated reserve is refused.
pub struct ChangesReserveAnswer;

impl Services for ChangesReserveAnswer {
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
