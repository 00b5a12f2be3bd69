//! Orders in every state, their parts, and rows.

use jiff::{SignedDuration, Timestamp};
use orders::domain::{
    Action, Command, Decision, Draft, Ending, Entry, Event, Failure, Line, Money, Order, OrderId,
    PaymentMethod, Quantity, Refusal, ReservedLine, Sku, State, StepTimeout, TimelineEvent, UserId,
    decide, owed, place,
};
use orders::messages;
use serde_json::{Value, json};
use shared_lambda::envelope::Envelope;
use test_support::Aws;
use test_support::contracts::schema;
use uuid::Uuid;

use crate::world::reply;

pub const TIMEOUT: StepTimeout = StepTimeout(SignedDuration::from_secs(30));

pub const ANN: Uuid = Uuid::from_u128(0xa11ce);
pub const BOB: Uuid = Uuid::from_u128(0xb0b);
pub const ADMIN: Uuid = Uuid::from_u128(0xad);

pub const STATES: [State; State::ALL.len()] = State::ALL;

pub fn ends(state: State) -> bool {
    state.has_ended()
}

/// The time of placement of all samples.
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

/// The reservation of [`draft`]: 2 x 1250 + 1000.
pub fn draft_reserved() -> Vec<ReservedLine> {
    vec![reserved("cup", 2, usd(1250)), reserved("pot", 1, usd(1000))]
}

pub const DRAFT_TOTAL: i64 = 3500;

pub fn placed(id: u128) -> Order {
    place(draft(id), true, TIMEOUT, start())
}

/// The data of a reply about [`draft`]: the example of its contract, unless it must fit the order.
pub fn sample(kind: &str) -> Value {
    let usd = |amount: i64| json!({"amount": amount, "currency": "USD"});
    match kind {
        "UserVerified" => json!({}),
        "UserRefused" | "StockRefused" => json!({"code": "some_code", "detail": "some words"}),
        "StockReserved" => json!({"lines": [
            {"sku": "cup", "quantity": 2, "unit_price": usd(1250)},
            {"sku": "pot", "quantity": 1, "unit_price": usd(1000)},
        ]}),
        "PaymentCharged" => json!({"payment_id": "p", "amount": usd(DRAFT_TOTAL)}),
        "PaymentRefunded" => json!({"refunded": usd(DRAFT_TOTAL)}),
        _ => {
            let mut actions = Command::all().map(Command::action);
            let answers = |it: &&Action| it.answers().any(|event| format!("{event:?}") == kind);
            let action = actions
                .find(answers)
                .unwrap_or_else(|| panic!("no sample of {kind}"));
            let service = action.command.step().participant.as_str();
            schema(service, kind)["examples"][0].clone()
        }
    }
}

pub fn sample_reply(order: OrderId, kind: &str) -> String {
    reply(order, kind, &sample(kind))
}

/// A correct participant's answer to the order's command: a positive one, or a refusal.
pub fn fair_answer(order: &Order, yes: bool) -> Event {
    let command = owed(order).expect("an order in flight owes a command");
    match command {
        Command::ChargePayment if yes => Event::PaymentCharged {
            amount: order.total.unwrap(),
        },
        Command::RefundPayment => Event::PaymentRefunded {
            refunded: order.total.filter(|_| yes),
        },
        _ => {
            let action = command.action();
            let answer = action.refused.filter(|_| !yes).unwrap_or(action.done);
            let reply = sample_reply(order.id, &format!("{answer:?}"));
            messages::event(&Envelope::parse(&reply).unwrap()).unwrap()
        }
    }
}

/// Applies an event. Before a reply, the steps that come before it succeed.
pub fn apply(order: Order, event: &Event, now: Timestamp) -> Order {
    match decide(&order, event, TIMEOUT, now) {
        Decision::Advance(next) => *next,
        Decision::Refuse(Refusal::Contradiction(_)) => {
            let answer = fair_answer(&order, true);
            apply(apply(order, &answer, now), event, now)
        }
        other => panic!("{event:?} in {:?}: {other:?}", order.state),
    }
}

/// Applies events to an order, one a second.
pub fn through(order: Order, events: &[Event]) -> Order {
    let mut now = order.updated_at;
    events.iter().fold(order, |order, event| {
        now += SignedDuration::from_secs(1);
        apply(order, event, now)
    })
}

/// The order, once its steps before a state have succeeded.
pub fn until(mut order: Order, state: State) -> Order {
    while order.state != state {
        let answer = fair_answer(&order, true);
        order = through(order, &[answer]);
    }
    order
}

/// An order whose payment was declined, two seconds after its placement.
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

/// An order in a state, with the values it has by then.
pub fn order_in(state: State) -> Order {
    let number = STATES.iter().position(|known| *known == state);
    let mut order = placed(0x0de0 + number.unwrap() as u128);
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

/// Overwrites an attribute of a table's only row; null removes it.
pub fn set_attribute(aws: &Aws, table: &str, name: &str, value: Value) {
    let mut row = aws.dump(table).remove(0);
    let attributes = row.as_object_mut().unwrap();
    match value {
        Value::Null => attributes.remove(name),
        value => attributes.insert(name.to_owned(), value),
    };
    aws.put_raw(table, row);
}

/// The answer of a sweep that could read everything and gave up no step.
pub fn swept(due: usize, sent: usize, parked: usize) -> Value {
    json!({
        "due": due,
        "sent": sent,
        "parked": parked,
        "given_up": 0,
        "unreadable": 0,
        "cut_short": false,
        "parked_now": parked,
        "held_back": 0,
    })
}

/// Makes the rows of these orders unreadable.
pub fn spoil(aws: &Aws, table: &str, ids: &[OrderId]) {
    for mut row in aws.dump(table) {
        if ids.iter().any(|id| row["id"] == json!(id.0)) {
            row["state"] = json!("dreaming");
            aws.put_raw(table, row);
        }
    }
}
