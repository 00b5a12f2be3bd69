//! Orders in every state, and the values they are made of.

use jiff::{SignedDuration, Timestamp};
use orders::domain::{
    Decision, Draft, Ending, Entry, Event, Failure, Line, Money, Order, OrderId, PaymentMethod,
    Quantity, ReservedLine, Sku, State, StepTimeout, TimelineEvent, UserId, decide, place,
};
use uuid::Uuid;

pub const TIMEOUT: StepTimeout = StepTimeout(SignedDuration::from_secs(30));

pub const ANN: Uuid = Uuid::from_u128(0xa11ce);
pub const BOB: Uuid = Uuid::from_u128(0xb0b);
pub const ADMIN: Uuid = Uuid::from_u128(0xad);

/// Every state there is; [`state_number`] does not compile when one is missing.
pub const STATES: [State; 10] = State::ALL;

pub fn state_number(state: State) -> usize {
    match state {
        State::Verifying => 0,
        State::Reserving => 1,
        State::Charging => 2,
        State::Confirmed => 3,
        State::Refunding(Ending::Rejected) => 4,
        State::Refunding(Ending::Cancelled) => 5,
        State::Releasing(Ending::Rejected) => 6,
        State::Releasing(Ending::Cancelled) => 7,
        State::Rejected => 8,
        State::Cancelled => 9,
    }
}

pub fn ends(state: State) -> bool {
    matches!(state, State::Confirmed | State::Rejected | State::Cancelled)
}

/// The moment the samples begin at.
pub fn start() -> Timestamp {
    "2026-01-02T03:04:05.678Z".parse().unwrap()
}

pub fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

pub fn usd(amount: i64) -> Money {
    Money::new(amount, "USD").unwrap()
}

pub fn line(sku: &str, units: i64) -> Line {
    Line {
        sku: Sku::parse(sku).unwrap(),
        name: None,
        quantity: Quantity::new(units).unwrap(),
        unit_price: None,
    }
}

pub fn reserved(sku: &str, units: i64, unit_price: Money) -> ReservedLine {
    ReservedLine {
        sku: Sku::parse(sku).unwrap(),
        name: None,
        quantity: Quantity::new(units).unwrap(),
        unit_price,
    }
}

/// Two cups and a pot.
pub fn draft(id: u128) -> Draft {
    Draft {
        id: OrderId(Uuid::from_u128(id)),
        user_id: UserId(ANN),
        lines: vec![line("cup", 2), line("pot", 1)],
        payment_method: PaymentMethod::parse("pm_card_visa").unwrap(),
        expected_total: None,
        fingerprint: Uuid::from_u128(0xf),
        faults: None,
    }
}

/// What inventory answers to [`draft`]: 2 x 1250 + 1000.
pub fn draft_reserved() -> Vec<ReservedLine> {
    vec![reserved("cup", 2, usd(1250)), reserved("pot", 1, usd(1000))]
}

pub const DRAFT_TOTAL: i64 = 3500;

pub fn placed(id: u128) -> Order {
    place(draft(id), true, TIMEOUT, start())
}

/// An order after what happens to it, a second apart.
pub fn through(order: Order, events: &[Event]) -> Order {
    let mut now = order.updated_at;
    events.iter().fold(order, |order, event| {
        now += SignedDuration::from_secs(1);
        match decide(&order, event, TIMEOUT, now) {
            Decision::Advance(next) => *next,
            other => panic!("{event:?} in {:?}: {other:?}", order.state),
        }
    })
}

/// An order that had its stock and was not paid for, two seconds after it was placed.
pub fn declined(id: u128) -> Order {
    let events = [
        Event::StockReserved {
            lines: draft_reserved(),
        },
        Event::PaymentDeclined {
            code: "card_declined".to_owned(),
            detail: "the card was declined".to_owned(),
        },
        Event::StockReleased,
    ];
    through(placed(id), &events)
}

/// An order as it stands in a state, with all it has by then.
pub fn order_in(state: State) -> Order {
    let mut order = placed(0x0de0 + state_number(state) as u128);
    order.state = state;
    order.version = 7;
    order.updated_at = after(3);
    let priced = !matches!(state, State::Verifying | State::Reserving);
    if priced {
        for (line, reserved) in order.lines.iter_mut().zip(draft_reserved()) {
            line.unit_price = Some(reserved.unit_price);
        }
        order.total = Some(usd(DRAFT_TOTAL));
    }
    let rejecting = matches!(
        state,
        State::Refunding(Ending::Rejected) | State::Releasing(Ending::Rejected) | State::Rejected
    );
    if rejecting {
        order.failure = Some(Failure {
            code: "timed_out".to_owned(),
            detail: "no answer about the payment after 5 attempts".to_owned(),
        });
    }
    if ends(state) {
        order.attempt = 0;
        order.due_at = None;
    }
    order.timeline.push(Entry {
        at: after(3),
        event: TimelineEvent::PriceChanged,
        attempt: None,
        detail: Some("a line with words".to_owned()),
    });
    order
}
