//! What may happen to an order: the whole transition table, and what holds whatever happens.

pub mod faults;
mod limits;
mod step;
mod timeline;
mod values;

use expect_test::expect_file;
use jiff::{SignedDuration, Timestamp};
use orders::domain::{
    CancelledBy, Command, Compensation, Decision, Ending, Entry, Event, Ignored, MAX_ATTEMPTS,
    MAX_TIMELINE, Money, Order, PARKED_RETRY, Refusal, Sku, State, Status, TimelineEvent, UserId,
    decide, owed, place,
};
use proptest::prelude::*;

use crate::samples::{
    BOB, DRAFT_TOTAL, STATES, TIMEOUT, after, draft, draft_reserved, ends, order_in, placed,
    reserved, start, state_number, usd,
};

/// An event, the order it befalls where that matters, and when.
pub struct Case {
    pub name: &'static str,
    pub event: Event,
    pub prepare: fn(&mut Order),
    pub now: Timestamp,
}

fn case(name: &'static str, event: Event) -> Case {
    Case {
        name,
        event,
        prepare: |_| {},
        now: after(10),
    }
}

fn reason(code: &str, detail: &str) -> (String, String) {
    (code.to_owned(), detail.to_owned())
}

/// Every event, in every variant whose answer may differ.
pub fn cases() -> Vec<Case> {
    let reserved_lines = |lines| Event::StockReserved { lines };
    let (code, detail) = reason("user_not_allowed", "the account is disabled");
    let user_refused = Event::UserRefused {
        user: None,
        code,
        detail,
    };
    let (code, detail) = reason("out_of_stock", "1 of cup is left");
    let stock_refused = Event::StockRefused {
        sku: None,
        code,
        detail,
    };
    let (code, detail) = reason("out_of_stock", "0 of lid are left");
    let other_refused = Event::StockRefused {
        sku: Some(Sku::parse("lid").unwrap()),
        code,
        detail,
    };
    let (code, detail) = reason("card_declined", "the card was declined");
    let payment_declined = Event::PaymentDeclined { code, detail };
    let mut fewer = draft_reserved();
    fewer.pop();
    let mut turned = draft_reserved();
    turned.reverse();
    let mut euros = draft_reserved();
    euros[1].unit_price = Money::new(1000, "EUR").unwrap();
    let mut dear = draft_reserved();
    dear[0].unit_price = Money::stored(i64::MAX, "USD").unwrap();
    let due = |name, prepare, seconds| Case {
        name,
        event: Event::Due,
        prepare,
        now: after(seconds),
    };
    vec![
        case("UserVerified", user_verified(None)),
        case(
            "UserVerified, of another user",
            user_verified(Some(UserId(BOB))),
        ),
        case("UserRefused", user_refused),
        case("StockReserved", reserved_lines(draft_reserved())),
        Case {
            prepare: |order| order.expected_total = Some(usd(DRAFT_TOTAL)),
            ..case(
                "StockReserved, for the expected total",
                reserved_lines(draft_reserved()),
            )
        },
        Case {
            prepare: |order| order.expected_total = Some(usd(DRAFT_TOTAL - 1)),
            ..case(
                "StockReserved, not for the expected total",
                reserved_lines(draft_reserved()),
            )
        },
        case("StockReserved, in another order", reserved_lines(turned)),
        case(
            "StockReserved, at another price",
            reserved_lines(vec![
                reserved("cup", 2, usd(1251)),
                reserved("pot", 1, usd(1000)),
            ]),
        ),
        case("StockReserved, fewer lines", reserved_lines(fewer)),
        case(
            "StockReserved, one line twice",
            reserved_lines(vec![reserved("cup", 2, usd(1250)); 2]),
        ),
        case(
            "StockReserved, other quantities",
            reserved_lines(vec![
                reserved("cup", 1, usd(1250)),
                reserved("pot", 1, usd(1000)),
            ]),
        ),
        case("StockReserved, no lines", reserved_lines(vec![])),
        case("StockReserved, in two currencies", reserved_lines(euros)),
        case("StockReserved, beyond all amounts", reserved_lines(dear)),
        case("StockRefused", stock_refused),
        case("StockRefused, of another item", other_refused),
        case("StockReleased", Event::StockReleased),
        case(
            "PaymentCharged",
            Event::PaymentCharged {
                amount: usd(DRAFT_TOTAL),
            },
        ),
        case(
            "PaymentCharged, another amount",
            Event::PaymentCharged {
                amount: usd(DRAFT_TOTAL + 1),
            },
        ),
        case(
            "PaymentCharged, another currency",
            Event::PaymentCharged {
                amount: Money::new(DRAFT_TOTAL, "EUR").unwrap(),
            },
        ),
        case("PaymentDeclined", payment_declined),
        case(
            "PaymentRefunded",
            Event::PaymentRefunded {
                refunded: Some(usd(DRAFT_TOTAL)),
            },
        ),
        case(
            "PaymentRefunded, another amount",
            Event::PaymentRefunded {
                refunded: Some(usd(1)),
            },
        ),
        case(
            "PaymentRefunded, nothing was charged",
            Event::PaymentRefunded { refunded: None },
        ),
        case("CancelRequested", cancel(CancelledBy::Customer)),
        due("Due, but not yet", |_| {}, 29),
        due("Due, to the moment", |_| {}, 30),
        due(
            "Due, on the last attempt",
            |order| order.attempt = MAX_ATTEMPTS,
            31,
        ),
        due(
            "Due, when parked",
            |order| (order.attempt, order.parked) = (MAX_ATTEMPTS + 1, true),
            31,
        ),
        case("RetryRequested", retry()),
        Case {
            prepare: |order| order.attempt = 2,
            ..case("RetryRequested, on the second attempt", retry())
        },
        Case {
            now: after(30),
            ..case("RetryRequested, to the moment it is due", retry())
        },
        Case {
            prepare: |order| order.due_at = None,
            ..case("RetryRequested, never due", retry())
        },
        Case {
            prepare: |order| order.due_at = Some(after(10) + PARKED_RETRY),
            ..case("RetryRequested, due as late as can be", retry())
        },
        Case {
            prepare: |order| order.due_at = Some(after(11) + PARKED_RETRY),
            ..case("RetryRequested, due later than that", retry())
        },
        Case {
            prepare: park,
            ..case("RetryRequested, when parked", retry())
        },
        case("Abandoned, the refund", abandoned(Compensation::Refund)),
        Case {
            prepare: park,
            ..case(
                "Abandoned, the refund, when parked",
                abandoned(Compensation::Refund),
            )
        },
        case("Abandoned, the release", abandoned(Compensation::Release)),
        Case {
            prepare: park,
            ..case(
                "Abandoned, the release, when parked",
                abandoned(Compensation::Release),
            )
        },
    ]
}

fn note(order: &mut Order, event: TimelineEvent) {
    order.timeline.push(Entry {
        at: after(0),
        event,
        attempt: None,
        detail: None,
    });
}

fn park(order: &mut Order) {
    (order.attempt, order.parked) = (MAX_ATTEMPTS + 1, true);
}

fn retry() -> Event {
    Event::RetryRequested {
        by: "olga".to_owned(),
    }
}

fn abandoned(step: Compensation) -> Event {
    Event::Abandoned {
        step,
        reason: "settled by hand".to_owned(),
        by: "olga".to_owned(),
    }
}

fn user_verified(user: Option<UserId>) -> Event {
    Event::UserVerified { user }
}

fn cancel(by: CancelledBy) -> Event {
    Event::CancelRequested { by }
}

#[test]
fn the_diary_says_when_it_was_not_the_customer_who_cancelled() {
    for state in [
        State::Verifying,
        State::Reserving,
        State::Charging,
        State::Confirmed,
    ] {
        for (by, detail) in [
            (CancelledBy::Customer, None),
            (CancelledBy::Administrator, Some("by an administrator")),
        ] {
            let order = order_in(state);
            let Decision::Advance(next) = decide(&order, &cancel(by), TIMEOUT, after(5)) else {
                panic!("an order that is {state:?} can be cancelled");
            };
            let mut entries = next.timeline.iter();
            let entry = entries.find(|entry| entry.event == TimelineEvent::CancelRequested);
            assert_eq!(entry.unwrap().detail.as_deref(), detail, "{state:?}");
        }
    }
}

/// Names the event of a case; a new event does not compile until it has cases.
fn event_name(event: &Event) -> &'static str {
    match event {
        Event::UserVerified { .. } => "UserVerified",
        Event::UserRefused { .. } => "UserRefused",
        Event::StockReserved { .. } => "StockReserved",
        Event::StockRefused { .. } => "StockRefused",
        Event::StockReleased => "StockReleased",
        Event::PaymentCharged { .. } => "PaymentCharged",
        Event::PaymentDeclined { .. } => "PaymentDeclined",
        Event::PaymentRefunded { .. } => "PaymentRefunded",
        Event::CancelRequested { .. } => "CancelRequested",
        Event::Due => "Due",
        Event::RetryRequested { .. } => "RetryRequested",
        Event::Abandoned { .. } => "Abandoned",
    }
}

const EVENTS: usize = 12;

fn command_name(order: &Order) -> String {
    match owed(order) {
        None => "nothing".to_owned(),
        Some(Command::ChargePayment) => format!("ChargePayment {}", order.total.unwrap()),
        Some(command) => format!("{command:?}"),
    }
}

fn answer(before: &Order, case: &Case) -> String {
    match decide(before, &case.event, TIMEOUT, case.now) {
        Decision::Advance(next) => {
            let notes: Vec<String> = next.timeline[before.timeline.len()..]
                .iter()
                .map(|entry| match entry.attempt {
                    None => entry.event.as_str().to_owned(),
                    Some(attempt) => format!("{} ({attempt})", entry.event.as_str()),
                })
                .collect();
            let mut text = format!("advance to {:?} [owes {}]", next.state, command_name(&next));
            if let Some(due_at) = next.due_at {
                let wait = due_at.duration_since(case.now).as_secs();
                text.push_str(&format!(" due in {wait} s"));
            }
            if next.parked {
                text.push_str(" parked");
            }
            if next.failure != before.failure {
                text.push_str(&format!(" failed {}", next.failure.unwrap().code));
            }
            format!("{text}: {}", notes.join(", "))
        }
        Decision::Ignore(Ignored::Repeat) => {
            format!("ignore repeat [owes {}]", command_name(before))
        }
        Decision::Ignore(Ignored::Overtaken) => "ignore overtaken".to_owned(),
        Decision::Refuse(Refusal::TooLate) => "refuse, too late".to_owned(),
        Decision::Refuse(refusal @ Refusal::NotParked(_)) => format!("refuse: {refusal}"),
        Decision::Refuse(Refusal::Contradiction(what)) => format!("refuse, contradiction: {what}"),
    }
}

#[test]
fn every_state_has_the_reviewed_answer_to_every_event() {
    for (number, state) in STATES.into_iter().enumerate() {
        assert_eq!(state_number(state), number, "{state:?} is out of its place");
    }
    let cases = cases();
    let mut events: Vec<&str> = cases.iter().map(|case| event_name(&case.event)).collect();
    events.dedup();
    assert_eq!(events.len(), EVENTS, "an event has no case: {events:?}");

    let mut table = String::new();
    for state in STATES {
        for case in &cases {
            let mut order = order_in(state);
            if !ends(state) {
                (case.prepare)(&mut order);
            }
            let answer = answer(&order, case);
            table.push_str(&format!("{state:?} + {} -> {answer}\n", case.name));
        }
        table.push('\n');
    }
    expect_file!["golden/transitions.txt"].assert_eq(&table);
}

#[test]
fn a_new_order_owes_its_first_step_and_says_so() {
    let verified = place(draft(1), true, TIMEOUT, start());
    assert_eq!(verified.state, State::Reserving);
    assert_eq!(owed(&verified), Some(Command::ReserveStock));
    let unverified = place(draft(1), false, TIMEOUT, start());
    assert_eq!(unverified.state, State::Verifying);
    assert_eq!(owed(&unverified), Some(Command::VerifyUser));
    for order in [verified, unverified] {
        assert_eq!((order.version, order.attempt), (1, 1));
        assert_eq!(order.due_at, Some(after(30)));
        assert_eq!(order.status(), Status::Pending);
        assert_eq!(order.timeline[0].event, TimelineEvent::OrderPlaced);
    }
}

#[test]
fn each_attempt_waits_twice_as_long_and_a_parked_one_an_hour() {
    let mut order = order_in(State::Releasing(Ending::Cancelled));
    let mut waits = Vec::new();
    for _ in 0..7 {
        let now = order.due_at.unwrap();
        order = advanced(&order, &Event::Due, now).unwrap();
        waits.push((
            order.due_at.unwrap().duration_since(now).as_secs(),
            order.parked,
        ));
    }
    let hour = PARKED_RETRY.as_secs();
    assert_eq!(
        waits,
        [
            (60, false),
            (120, false),
            (240, false),
            (480, false),
            (hour, true),
            (hour, true),
            (hour, true)
        ]
    );
    let parkings = order
        .timeline
        .iter()
        .filter(|e| e.event == TimelineEvent::OrderParked);
    assert_eq!(parkings.count(), 1);
}

#[test]
fn an_order_that_goes_well_keeps_the_deadline_it_was_placed_with() {
    let order = place(draft(1), false, TIMEOUT, start());
    let order = advanced(&order, &user_verified(None), after(1)).unwrap();
    assert_eq!(order.due_at, Some(after(30)));
    let lines = draft_reserved();
    let order = advanced(&order, &Event::StockReserved { lines }, after(2)).unwrap();
    assert_eq!(order.due_at, Some(after(30)));
}

#[test]
fn an_order_asked_for_again_does_not_hand_its_longer_wait_to_the_next_step() {
    let mut order = place(draft(1), true, TIMEOUT, start());
    for _ in 0..3 {
        order = advanced(&order, &Event::Due, order.due_at.unwrap()).unwrap();
    }
    let now = order.updated_at + SignedDuration::from_secs(1);
    let lines = draft_reserved();
    let order = advanced(&order, &Event::StockReserved { lines }, now).unwrap();
    assert_eq!(order.due_at, Some(now + TIMEOUT.0));
    assert_eq!(order.attempt, 1);
}

#[test]
fn the_longest_waits_do_not_overflow() {
    let mut order = order_in(State::Charging);
    order.attempt = u32::MAX;
    for state in STATES.into_iter().filter(|state| !ends(*state)) {
        order.state = state;
        for parked in [false, true] {
            order.parked = parked;
            let next = advanced(&order, &Event::Due, after(100)).unwrap();
            assert!(next.due_at.is_none_or(|due_at| due_at > after(100)));
        }
    }
}

pub fn advanced(order: &Order, event: &Event, now: Timestamp) -> Option<Order> {
    match decide(order, event, TIMEOUT, now) {
        Decision::Advance(next) => Some(*next),
        Decision::Ignore(_) | Decision::Refuse(_) => None,
    }
}

/// What can befall an order, with the seconds that pass before it does.
fn happenings() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let (code, detail) = reason("some_code", "some words");
    let stock_refused = Event::StockRefused {
        sku: None,
        code: code.clone(),
        detail: detail.clone(),
    };
    let payment_declined = Event::PaymentDeclined {
        code: code.clone(),
        detail: detail.clone(),
    };
    let user_refused = Event::UserRefused {
        user: None,
        code,
        detail,
    };
    let amount = prop_oneof![9 => Just(DRAFT_TOTAL), 1 => 0..10_000_i64];
    let lines = prop_oneof![
        9 => Just(draft_reserved()),
        1 => Just(vec![reserved("cup", 2, usd(1))]),
        1 => (0..3000_i64).prop_map(|price| vec![
            reserved("cup", 2, usd(price)),
            reserved("pot", 1, usd(1000)),
        ]),
    ];
    let event = prop_oneof![
        3 => Just(user_verified(None)),
        1 => Just(user_refused),
        4 => lines.prop_map(|lines| Event::StockReserved { lines }),
        1 => Just(stock_refused),
        2 => Just(Event::StockReleased),
        4 => amount.prop_map(|amount| Event::PaymentCharged { amount: usd(amount) }),
        1 => Just(payment_declined),
        2 => proptest::option::of(Just(usd(DRAFT_TOTAL)))
            .prop_map(|refunded| Event::PaymentRefunded { refunded }),
        1 => Just(cancel(CancelledBy::Customer)),
        1 => Just(cancel(CancelledBy::Administrator)),
        8 => Just(Event::Due),
        1 => Just(retry()),
        1 => Just(abandoned(Compensation::Refund)),
        1 => Just(abandoned(Compensation::Release)),
    ];
    proptest::collection::vec((0..120_i64, event), 0..60)
}

fn any_placed() -> impl Strategy<Value = Order> {
    let expected = prop_oneof![
        3 => Just(None),
        2 => Just(Some(usd(DRAFT_TOTAL))),
        1 => Just(Some(usd(1))),
    ];
    (any::<bool>(), expected).prop_map(|(verified, expected_total)| {
        let mut draft = draft(1);
        draft.expected_total = expected_total;
        place(draft, verified, TIMEOUT, start())
    })
}

/// What holds of every order at rest.
fn assert_consistent(order: &Order) {
    if ends(order.state) {
        assert_eq!(owed(order), None);
        assert_eq!(
            (order.due_at, order.attempt, order.parked),
            (None, 0, false)
        );
    } else {
        assert!(owed(order).is_some(), "{:?} owes nothing", order.state);
        assert!(order.due_at.is_some(), "{:?} is never due", order.state);
        assert!(order.attempt >= 1);
    }
    let prices: Option<Vec<i64>> = order
        .lines
        .iter()
        .map(|line| Some(line.unit_price?.amount * i64::from(line.quantity.units())))
        .collect();
    assert_eq!(
        prices.map(|prices| prices.iter().sum::<i64>()),
        order.total.map(|total| total.amount),
        "prices and total do not agree"
    );
    let charged_for = matches!(order.state, State::Charging | State::Confirmed);
    if let (true, Some(expected)) = (charged_for, order.expected_total) {
        assert_eq!(
            order.total,
            Some(expected),
            "another total than was expected"
        );
    }
    let rejected = matches!(
        order.state,
        State::Rejected | State::Refunding(Ending::Rejected) | State::Releasing(Ending::Rejected)
    );
    assert_eq!(order.failure.is_some(), rejected, "{:?}", order.state);
    assert!(order.parked <= order.attempt.gt(&MAX_ATTEMPTS));
    assert!(
        order.timeline.len() < 250,
        "{} entries",
        order.timeline.len()
    );
    assert!(order.timeline.is_sorted_by_key(|entry| entry.at));
}

/// What holds of one step, whatever the step.
fn assert_step(before: &Order, event: &Event, next: &Order, now: Timestamp) {
    assert_eq!(next.version, before.version + 1);
    assert_eq!(next.updated_at, now);
    assert!(
        next.timeline.starts_with(&before.timeline),
        "history changed"
    );
    assert_eq!(
        (
            next.id,
            next.user_id,
            next.created_at,
            next.fingerprint,
            &next.payment_method
        ),
        (
            before.id,
            before.user_id,
            before.created_at,
            before.fingerprint,
            &before.payment_method
        )
    );
    assert!(
        !matches!(before.state, State::Rejected | State::Cancelled),
        "{:?} led on to {:?}",
        before.state,
        next.state
    );
    if before.state == State::Confirmed {
        assert!(matches!(event, Event::CancelRequested { .. }), "{event:?}");
        assert_eq!(next.state, State::Refunding(Ending::Cancelled));
    }
    if next.state == State::Confirmed {
        let amount = before.total.expect("confirmed without a total");
        assert_eq!(event, &Event::PaymentCharged { amount });
        assert_eq!(before.state, State::Charging);
    }
    if before.total.is_some() {
        assert_eq!((before.total, &before.lines), (next.total, &next.lines));
    }
    // Only what was asked for in vain, as often as it may be, is ever abandoned.
    if matches!(event, Event::Abandoned { .. }) {
        assert!(before.parked, "{:?} abandoned", before.state);
    }
    // A charge that was, or may have been, made is never left behind.
    if before.state == State::Charging && !matches!(event, Event::PaymentDeclined { .. }) {
        assert!(!matches!(
            next.state,
            State::Releasing(_) | State::Rejected | State::Cancelled
        ));
    }
    // Nor is stock.
    if let (State::Refunding(_), Event::Abandoned { .. }) = (before.state, event) {
        assert!(
            matches!(next.state, State::Releasing(_)),
            "stock left behind"
        );
    }
    if !matches!(before.state, State::Verifying | State::Releasing(_)) && ends(next.state) {
        assert!(
            matches!(
                event,
                Event::StockRefused { .. } | Event::PaymentCharged { .. }
            ),
            "{:?} ended by {event:?}",
            before.state
        );
    }
}

/// What a correct participant answers to what an order owes; `yes` says which way.
fn fair_answer(order: &Order, yes: bool) -> Event {
    let (code, detail) = reason("no", "no");
    match owed(order).expect("an order that has not ended owes something") {
        Command::VerifyUser if yes => user_verified(None),
        Command::VerifyUser => Event::UserRefused {
            user: None,
            code,
            detail,
        },
        Command::ReserveStock if yes => Event::StockReserved {
            lines: draft_reserved(),
        },
        Command::ReserveStock => Event::StockRefused {
            sku: None,
            code,
            detail,
        },
        Command::ChargePayment if yes => Event::PaymentCharged {
            amount: order.total.unwrap(),
        },
        Command::ChargePayment => Event::PaymentDeclined { code, detail },
        Command::RefundPayment => Event::PaymentRefunded {
            refunded: order.total.filter(|_| yes),
        },
        Command::ReleaseStock => Event::StockReleased,
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1024,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Drives an order through happenings, holding every step to what must hold.
fn driven(mut order: Order, happenings: &[(i64, Event)]) -> (Order, Timestamp) {
    let mut now = start();
    assert_consistent(&order);
    for (seconds, event) in happenings {
        now += SignedDuration::from_secs(*seconds);
        if let Decision::Advance(next) = decide(&order, event, TIMEOUT, now) {
            assert_step(&order, event, &next, now);
            assert_consistent(&next);
            // Whatever brought the order here, coming again it changes nothing.
            if *event != Event::Due {
                let again = decide(&next, event, TIMEOUT, now);
                assert_eq!(again, Decision::Ignore(Ignored::Repeat), "{event:?}");
            }
            order = *next;
        }
    }
    (order, now)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_an_order_stays_consistent(
        order in any_placed(),
        happenings in happenings(),
    ) {
        driven(order, &happenings);
    }

    #[test]
    fn every_order_ends_once_its_participants_answer(
        order in any_placed(),
        happenings in happenings(),
        answers in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let (mut order, now) = driven(order, &happenings);
        for yes in answers {
            if ends(order.state) {
                return Ok(());
            }
            let event = fair_answer(&order, yes);
            order = advanced(&order, &event, now).expect("an answer that is owed moves an order");
            assert_consistent(&order);
        }
        prop_assert!(ends(order.state), "still {:?}", order.state);
    }

    #[test]
    fn an_order_nobody_answers_gives_up_or_is_parked_and_does_not_grow_for_ever(
        order in any_placed(),
        happenings in happenings(),
    ) {
        let (mut order, mut now) = driven(order, &happenings);
        for _ in 0..200 {
            let Some(due_at) = order.due_at else { break };
            now = now.max(due_at);
            order = advanced(&order, &Event::Due, now).expect("what is due moves on");
            assert_consistent(&order);
        }
        prop_assert!(ends(order.state) || order.parked, "{:?} waits unseen", order.state);
    }

    #[test]
    fn a_cancelled_order_is_never_confirmed_and_a_rejected_one_never_cancelled(
        order in any_placed(),
        happenings in happenings(),
    ) {
        let mut order = order;
        let mut now = start();
        for (seconds, event) in &happenings {
            now += SignedDuration::from_secs(*seconds);
            let Some(next) = advanced(&order, event, now) else { continue };
            match order.status() {
                Status::Cancelling => prop_assert!(
                    matches!(next.status(), Status::Cancelling | Status::Cancelled)
                ),
                Status::Rejected | Status::Cancelled => prop_assert!(false, "an end is the end"),
                Status::Confirmed => prop_assert_eq!(next.status(), Status::Cancelling),
                Status::Pending => {}
            }
            if order.failure.is_some() {
                prop_assert_eq!(&next.failure, &order.failure);
            }
            order = next;
        }
    }
}

#[test]
fn a_retry_gives_the_step_its_attempts_again_and_says_who_asked() {
    for state in STATES.into_iter().filter(|state| !ends(*state)) {
        let mut order = order_in(state);
        park(&mut order);
        let next = advanced(&order, &retry(), after(100)).expect("a retry moves a parked order");
        assert_eq!(next.state, state);
        assert_eq!((next.attempt, next.parked), (1, false));
        assert_eq!(next.due_at, Some(after(130)));
        let entry = &next.timeline[order.timeline.len()];
        assert_eq!(
            (entry.event, entry.detail.as_deref()),
            (TimelineEvent::RetryRequested, Some("by olga"))
        );
    }
}

#[test]
fn abandoning_goes_on_to_where_the_answer_would_have_led_and_says_who_and_why() {
    for (from, step, to, what) in [
        (
            State::Refunding(Ending::Rejected),
            Compensation::Refund,
            State::Releasing(Ending::Rejected),
            TimelineEvent::RefundAbandoned,
        ),
        (
            State::Refunding(Ending::Cancelled),
            Compensation::Refund,
            State::Releasing(Ending::Cancelled),
            TimelineEvent::RefundAbandoned,
        ),
        (
            State::Releasing(Ending::Rejected),
            Compensation::Release,
            State::Rejected,
            TimelineEvent::ReleaseAbandoned,
        ),
        (
            State::Releasing(Ending::Cancelled),
            Compensation::Release,
            State::Cancelled,
            TimelineEvent::ReleaseAbandoned,
        ),
    ] {
        let mut order = order_in(from);
        park(&mut order);
        let next = advanced(&order, &abandoned(step), after(100)).expect("it is parked");
        assert_eq!((next.state, next.parked), (to, false));
        let entry = &next.timeline[order.timeline.len()];
        assert_eq!(
            (entry.event, entry.detail.as_deref()),
            (what, Some("by olga: settled by hand"))
        );
        assert_eq!(next.failure, order.failure);
    }
}

#[test]
fn what_is_done_after_its_undoing_was_abandoned_is_refused_aloud_once_it_is_news() {
    let charged = Event::PaymentCharged {
        amount: usd(DRAFT_TOTAL),
    };
    let reserved = Event::StockReserved {
        lines: draft_reserved(),
    };
    let ended = [State::Rejected, State::Cancelled];
    let releasing = [Ending::Rejected, Ending::Cancelled].map(State::Releasing);
    let cases = [
        (
            &charged,
            TimelineEvent::RefundAbandoned,
            TimelineEvent::PaymentCharged,
            [ended, releasing].concat(),
        ),
        (
            &reserved,
            TimelineEvent::ReleaseAbandoned,
            TimelineEvent::StockReserved,
            ended.to_vec(),
        ),
    ];
    for (event, abandoned, done, states) in cases {
        for state in states {
            let decided = |order: &Order| decide(order, event, TIMEOUT, after(100));
            let mut order = order_in(state);
            assert!(matches!(decided(&order), Decision::Ignore(_)), "{state:?}");
            note(&mut order, abandoned);
            let Decision::Refuse(Refusal::Contradiction(what)) = decided(&order) else {
                panic!("{state:?} is silent about {event:?} after {abandoned:?}");
            };
            assert!(what.contains("by hand"), "{what}");
            // Whoever abandoned it could see that it had been done.
            order.timeline.pop();
            note(&mut order, done);
            assert!(matches!(decided(&order), Decision::Ignore(_)), "{state:?}");
            note(&mut order, abandoned);
            assert!(matches!(decided(&order), Decision::Ignore(_)), "{state:?}");
        }
    }
}

#[test]
fn every_status_and_every_diary_name_is_read_back_as_itself() {
    for status in Status::ALL {
        assert_eq!(Status::parse(status.as_str()), Some(status));
    }
    for what in TimelineEvent::ALL {
        assert_eq!(TimelineEvent::parse(what.as_str()), Some(*what));
    }
    assert_eq!(Status::parse("pending"), None);
    assert_eq!(TimelineEvent::parse("order_eaten"), None);
}

#[test]
fn a_timed_out_step_says_what_was_waited_for() {
    for (state, detail) in [
        (
            State::Verifying,
            "no answer about whether the user may order after 5 attempts",
        ),
        (
            State::Reserving,
            "no answer about the stock reservation after 5 attempts",
        ),
        (
            State::Charging,
            "no answer about the payment after 5 attempts",
        ),
    ] {
        let mut order = order_in(state);
        order.attempt = MAX_ATTEMPTS;
        let failure = advanced(&order, &Event::Due, after(31))
            .unwrap()
            .failure
            .unwrap();
        assert_eq!(
            (failure.code.as_str(), failure.detail.as_str()),
            ("timed_out", detail)
        );
    }
}

#[test]
fn a_changed_price_names_both_totals() {
    let mut order = placed(1);
    order.expected_total = Some(usd(3400));
    let lines = draft_reserved();
    let order = advanced(&order, &Event::StockReserved { lines }, after(1)).unwrap();
    assert_eq!(
        order.failure.unwrap().detail,
        "the total is 35.00 USD, not the expected 34.00 USD"
    );
}

#[test]
fn a_timeline_stays_short_however_often_an_operator_asks_and_tells_how_it_ended() {
    let mut order = order_in(State::Refunding(Ending::Cancelled));
    let mut now = after(30);
    let go_on = |order: &Order, event: &Event, now| match decide(order, event, TIMEOUT, now) {
        Decision::Advance(next) => *next,
        other => panic!("{event:?}: {other:?}"),
    };
    // A day and a half of asking, attempt after attempt until it is parked, and asking again.
    for _ in 0..500 {
        for _ in 0..MAX_ATTEMPTS {
            now = order.due_at.unwrap().max(now);
            order = go_on(&order, &Event::Due, now);
        }
        assert!(order.parked);
        order = go_on(&order, &retry(), now);
    }
    assert!(
        order.timeline.len() <= MAX_TIMELINE,
        "{}",
        order.timeline.len()
    );
    let told = |order: &Order, what| order.timeline.iter().any(|entry| entry.event == what);
    assert!(told(&order, TimelineEvent::OrderParked));
    // As long as there is room, each time they asked.
    let asked = order.timeline.iter();
    let asked = asked.filter(|entry| entry.event == TimelineEvent::RetryRequested);
    assert!(asked.count() > 10);
    order = go_on(&order, &Event::PaymentRefunded { refunded: None }, now);
    order = go_on(&order, &Event::StockReleased, now);
    let last: Vec<TimelineEvent> = order
        .timeline
        .iter()
        .rev()
        .map(|entry| entry.event)
        .take(3)
        .collect();
    assert_eq!(
        last,
        [
            TimelineEvent::OrderCancelled,
            TimelineEvent::StockReleased,
            TimelineEvent::PaymentRefunded
        ]
    );
}

#[test]
fn being_parked_for_the_first_time_is_told_however_long_the_timeline_is() {
    let mut order = order_in(State::Releasing(Ending::Rejected));
    for _ in 0..MAX_TIMELINE {
        note(&mut order, TimelineEvent::RetryRequested);
    }
    order.attempt = MAX_ATTEMPTS;
    let Decision::Advance(parked) = decide(&order, &Event::Due, TIMEOUT, after(30)) else {
        panic!("it is due");
    };
    let told: Vec<TimelineEvent> = parked.timeline[order.timeline.len()..]
        .iter()
        .map(|entry| entry.event)
        .collect();
    assert_eq!(told, [TimelineEvent::OrderParked]);
}
