//! The whole transition table, and the invariants of random sequences of events.

pub mod faults;
mod limits;
mod step;
mod timeline;
mod values;

use expect_test::expect_file;
use jiff::{SignedDuration, Timestamp};
use orders::domain::{
    CancelledBy, Command, Compensation, Decision, Ending, Entry, Event, Ignored, MAX_ATTEMPTS,
    MAX_TIMELINE, Money, Order, PARKED_RETRY, Refusal, ReservedLine, Sku, State, Status,
    TimelineEvent, UserId, decide, owed, place,
};
use proptest::prelude::*;

use crate::samples::{
    BOB, DRAFT_TOTAL, STATES, TIMEOUT, after, draft, draft_reserved, ends, fair_answer, order_in,
    placed, reserved, start, usd,
};

/// An event, the change that prepares its order, and its time.
pub struct Case {
    pub name: &'static str,
    pub event: Event,
    pub prepare: fn(&mut Order),
    pub now: Timestamp,
}

fn cups_at(units: i64, price: i64) -> ReservedLine {
    reserved("cup", units, usd(price))
}

fn euro(amount: i64) -> Money {
    Money::new(amount, "EUR").unwrap()
}

fn case(name: &'static str, event: Event) -> Case {
    Case {
        name,
        event,
        prepare: |_| {},
        now: after(10),
    }
}

fn user_refused(code: &str, detail: &str) -> Event {
    Event::UserRefused {
        user: None,
        code: code.to_owned(),
        detail: detail.to_owned(),
    }
}

fn stock_refused(sku: Option<&str>, code: &str, detail: &str) -> Event {
    Event::StockRefused {
        sku: sku.map(|sku| Sku::parse(sku).unwrap()),
        code: code.to_owned(),
        detail: detail.to_owned(),
    }
}

fn payment_declined(code: &str, detail: &str) -> Event {
    Event::PaymentDeclined {
        code: code.to_owned(),
        detail: detail.to_owned(),
    }
}

fn stock_reserved(lines: Vec<ReservedLine>) -> Event {
    Event::StockReserved { lines }
}

fn payment_charged(amount: Money) -> Event {
    Event::PaymentCharged { amount }
}

fn payment_refunded(refunded: Option<Money>) -> Event {
    Event::PaymentRefunded { refunded }
}

/// All events, in all variants whose answer may differ.
pub fn cases() -> Vec<Case> {
    let two =
        |cups, price| stock_reserved(vec![cups_at(cups, price), reserved("pot", 1, usd(1000))]);
    let out_of_stock = |sku, detail| stock_refused(sku, "out_of_stock", detail);
    let mut fewer = draft_reserved();
    fewer.pop();
    let mut turned = draft_reserved();
    turned.reverse();
    let mut euros = draft_reserved();
    euros[1].unit_price = euro(1000);
    let mut dear = draft_reserved();
    dear[0].unit_price = Money::stored(i64::MAX, "USD").unwrap();
    let prepared = |name, event, prepare| Case {
        prepare,
        ..case(name, event)
    };
    let due = |name, prepare, seconds| Case {
        now: after(seconds),
        ..prepared(name, Event::Due, prepare)
    };
    vec![
        case("UserVerified", user_verified(None)),
        case(
            "UserVerified, of another user",
            user_verified(Some(UserId(BOB))),
        ),
        case(
            "UserRefused",
            user_refused("user_not_allowed", "the account is disabled"),
        ),
        case("StockReserved", stock_reserved(draft_reserved())),
        prepared(
            "StockReserved, for the expected total",
            stock_reserved(draft_reserved()),
            |order| order.expected_total = Some(usd(DRAFT_TOTAL)),
        ),
        prepared(
            "StockReserved, not for the expected total",
            stock_reserved(draft_reserved()),
            |order| order.expected_total = Some(usd(DRAFT_TOTAL - 1)),
        ),
        case("StockReserved, in another order", stock_reserved(turned)),
        case("StockReserved, at another price", two(2, 1251)),
        case("StockReserved, fewer lines", stock_reserved(fewer)),
        case(
            "StockReserved, one line twice",
            stock_reserved(vec![cups_at(2, 1250); 2]),
        ),
        case("StockReserved, other quantities", two(1, 1250)),
        case("StockReserved, no lines", stock_reserved(vec![])),
        case("StockReserved, in two currencies", stock_reserved(euros)),
        case("StockReserved, beyond all amounts", stock_reserved(dear)),
        case("StockRefused", out_of_stock(None, "1 of cup is left")),
        case(
            "StockRefused, of another item",
            out_of_stock(Some("lid"), "0 of lid are left"),
        ),
        case("StockReleased", Event::StockReleased),
        case("PaymentCharged", payment_charged(usd(DRAFT_TOTAL))),
        case(
            "PaymentCharged, another amount",
            payment_charged(usd(DRAFT_TOTAL + 1)),
        ),
        case(
            "PaymentCharged, another currency",
            payment_charged(euro(DRAFT_TOTAL)),
        ),
        case(
            "PaymentDeclined",
            payment_declined("card_declined", "the card was declined"),
        ),
        case("PaymentRefunded", payment_refunded(Some(usd(DRAFT_TOTAL)))),
        case(
            "PaymentRefunded, another amount",
            payment_refunded(Some(usd(1))),
        ),
        case(
            "PaymentRefunded, nothing was charged",
            payment_refunded(None),
        ),
        case("CancelRequested", cancel(CancelledBy::Customer)),
        due("Due, but not yet", |_| {}, 29),
        due("Due, to the moment", |_| {}, 30),
        due(
            "Due, on the last attempt",
            |order| order.attempt = MAX_ATTEMPTS,
            31,
        ),
        due("Due, when parked", park, 31),
        case("RetryRequested", retry()),
        prepared("RetryRequested, on the second attempt", retry(), |order| {
            order.attempt = 2
        }),
        Case {
            now: after(30),
            ..case("RetryRequested, to the moment it is due", retry())
        },
        prepared("RetryRequested, never due", retry(), |order| {
            order.due_at = None
        }),
        prepared("RetryRequested, due as late as can be", retry(), |order| {
            order.due_at = Some(after(10) + PARKED_RETRY);
        }),
        prepared("RetryRequested, due later than that", retry(), |order| {
            order.due_at = Some(after(11) + PARKED_RETRY);
        }),
        prepared("RetryRequested, when parked", retry(), park),
        case("Abandoned, the refund", abandoned(Compensation::Refund)),
        prepared(
            "Abandoned, the refund, when parked",
            abandoned(Compensation::Refund),
            park,
        ),
        case("Abandoned, the release", abandoned(Compensation::Release)),
        prepared(
            "Abandoned, the release, when parked",
            abandoned(Compensation::Release),
            park,
        ),
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

/// The event's name. A new event does not compile until it has one.
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
fn a_new_order_owes_its_first_command() {
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
fn waits_double_and_a_parked_order_waits_an_hour() {
    let mut order = order_in(State::Releasing(Ending::Cancelled));
    for (wait, parked) in [60, 120, 240, 480, 3600, 3600, 3600].into_iter().zip(1..) {
        let now = order.due_at.unwrap();
        order = advanced(&order, &Event::Due, now).unwrap();
        assert_eq!(order.due_at, Some(now + SignedDuration::from_secs(wait)));
        assert_eq!(order.parked, parked >= MAX_ATTEMPTS);
    }
    let entries = order.timeline.iter();
    let parkings = entries.filter(|entry| entry.event == TimelineEvent::OrderParked);
    assert_eq!(parkings.count(), 1);
}

#[test]
fn a_normal_order_keeps_its_first_due_time() {
    let order = place(draft(1), false, TIMEOUT, start());
    let order = advanced(&order, &user_verified(None), after(1)).unwrap();
    assert_eq!(order.due_at, Some(after(30)));
    let order = advanced(&order, &stock_reserved(draft_reserved()), after(2)).unwrap();
    assert_eq!(order.due_at, Some(after(30)));
}

#[test]
fn a_longer_wait_does_not_carry_over_to_the_next_step() {
    let mut order = place(draft(1), true, TIMEOUT, start());
    for _ in 0..3 {
        order = advanced(&order, &Event::Due, order.due_at.unwrap()).unwrap();
    }
    let now = order.updated_at + SignedDuration::from_secs(1);
    let order = advanced(&order, &stock_reserved(draft_reserved()), now).unwrap();
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

/// Events, each with the seconds that pass before it.
fn any_events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let (code, detail) = ("some_code", "some words");
    let amount = prop_oneof![9 => Just(DRAFT_TOTAL), 1 => 0..10_000_i64];
    let lines = prop_oneof![
        9 => Just(draft_reserved()),
        1 => Just(vec![cups_at(2, 1)]),
        1 => (0..3000_i64)
            .prop_map(|price| vec![cups_at(2, price), reserved("pot", 1, usd(1000))]),
    ];
    let event = prop_oneof![
        3 => Just(user_verified(None)),
        1 => Just(user_refused(code, detail)),
        4 => lines.prop_map(stock_reserved),
        1 => Just(stock_refused(None, code, detail)),
        2 => Just(Event::StockReleased),
        4 => amount.prop_map(|amount| payment_charged(usd(amount))),
        1 => Just(payment_declined(code, detail)),
        2 => proptest::option::of(Just(usd(DRAFT_TOTAL))).prop_map(payment_refunded),
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

/// The invariants of every order.
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

/// The invariants of every transition.
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
    // Only parked compensations are abandoned.
    if matches!(event, Event::Abandoned { .. }) {
        assert!(before.parked, "{:?} abandoned", before.state);
    }
    // A charge that may have been made is always undone.
    if before.state == State::Charging && !matches!(event, Event::PaymentDeclined { .. }) {
        assert!(!matches!(
            next.state,
            State::Releasing(_) | State::Rejected | State::Cancelled
        ));
    }
    // So is a reservation.
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

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1024,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Applies events to an order, and checks the invariants after each.
fn driven(mut order: Order, events: &[(i64, Event)]) -> (Order, Timestamp) {
    let mut now = start();
    assert_consistent(&order);
    for (seconds, event) in events {
        now += SignedDuration::from_secs(*seconds);
        if let Decision::Advance(next) = decide(&order, event, TIMEOUT, now) {
            assert_step(&order, event, &next, now);
            assert_consistent(&next);
            // A repeat of the event changes nothing.
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
    fn an_order_stays_consistent(
        order in any_placed(),
        events in any_events(),
    ) {
        driven(order, &events);
    }

    #[test]
    fn every_order_ends_once_its_participants_answer(
        order in any_placed(),
        events in any_events(),
        answers in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let (mut order, now) = driven(order, &events);
        for yes in answers {
            if ends(order.state) {
                return Ok(());
            }
            let event = fair_answer(&order, yes);
            order = advanced(&order, &event, now).expect("an awaited answer advances an order");
            assert_consistent(&order);
        }
        prop_assert!(ends(order.state), "still {:?}", order.state);
    }

    #[test]
    fn an_order_without_answers_ends_or_is_parked(
        order in any_placed(),
        events in any_events(),
    ) {
        let (mut order, mut now) = driven(order, &events);
        for _ in 0..200 {
            let Some(due_at) = order.due_at else { break };
            now = now.max(due_at);
            order = advanced(&order, &Event::Due, now).expect("a due order advances");
            assert_consistent(&order);
        }
        prop_assert!(ends(order.state) || order.parked, "{:?} waits for ever, not parked", order.state);
    }

    #[test]
    fn ended_and_cancelled_orders_keep_their_outcome(
        order in any_placed(),
        events in any_events(),
    ) {
        let mut order = order;
        let mut now = start();
        for (seconds, event) in &events {
            now += SignedDuration::from_secs(*seconds);
            let Some(next) = advanced(&order, event, now) else { continue };
            match order.status() {
                Status::Cancelling => prop_assert!(
                    matches!(next.status(), Status::Cancelling | Status::Cancelled)
                ),
                Status::Rejected | Status::Cancelled => prop_assert!(false, "an ended order changed"),
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
fn a_success_after_its_abandoned_undo_is_a_contradiction() {
    let charged = payment_charged(usd(DRAFT_TOTAL));
    let reserved = stock_reserved(draft_reserved());
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
                panic!("{state:?} accepts {event:?} after {abandoned:?}");
            };
            assert!(what.contains("by hand"), "{what}");
            // The operator could see that the step had succeeded.
            order.timeline.pop();
            note(&mut order, done);
            assert!(matches!(decided(&order), Decision::Ignore(_)), "{state:?}");
            note(&mut order, abandoned);
            assert!(matches!(decided(&order), Decision::Ignore(_)), "{state:?}");
        }
    }
}

#[test]
fn every_status_and_event_has_its_name() {
    let statuses = STATES.map(|state| order_in(state).status().as_str());
    let expected = [
        ["PENDING", "PENDING", "PENDING", "CONFIRMED", "PENDING"],
        [
            "CANCELLING",
            "PENDING",
            "CANCELLING",
            "REJECTED",
            "CANCELLED",
        ],
    ];
    assert_eq!(statuses, expected.concat()[..]);
    for status in Status::ALL {
        assert_eq!(Status::parse(status.as_str()), Some(status));
    }
    for event in TimelineEvent::ALL {
        assert_eq!(TimelineEvent::parse(event.as_str()), Some(*event));
    }
    assert_eq!(Status::parse("pending"), None);
    assert_eq!(TimelineEvent::parse("order_eaten"), None);
}

#[test]
fn a_timed_out_step_names_the_missing_answer() {
    for (state, answer) in [
        (State::Verifying, "whether the user may order"),
        (State::Reserving, "the stock reservation"),
        (State::Charging, "the payment"),
    ] {
        let mut order = order_in(state);
        order.attempt = MAX_ATTEMPTS;
        let failure = advanced(&order, &Event::Due, after(31)).unwrap().failure;
        let detail = failure.unwrap().detail;
        assert_eq!(detail, format!("no answer about {answer} after 5 attempts"));
    }
}

#[test]
fn a_changed_price_names_both_totals() {
    let mut order = placed(1);
    order.expected_total = Some(usd(3400));
    let order = advanced(&order, &stock_reserved(draft_reserved()), after(1)).unwrap();
    assert_eq!(
        order.failure.unwrap().detail,
        "the total is 35.00 USD, not the expected 34.00 USD"
    );
}

#[test]
fn a_timeline_stays_short_despite_many_retries() {
    let mut order = order_in(State::Refunding(Ending::Cancelled));
    let mut now = after(30);
    let go_on =
        |order: &Order, event: &Event, now| advanced(order, event, now).expect("it advances");
    // Attempts until the order is parked, then a retry, 500 times.
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
    let count = |order: &Order, event| {
        let entries = order.timeline.iter();
        entries.filter(|entry| entry.event == event).count()
    };
    assert!(count(&order, TimelineEvent::OrderParked) >= 1);
    assert!(count(&order, TimelineEvent::RetryRequested) > 10);
    order = go_on(&order, &payment_refunded(None), now);
    order = go_on(&order, &Event::StockReleased, now);
    let entries = order.timeline.iter().rev();
    let last: Vec<TimelineEvent> = entries.map(|entry| entry.event).take(3).collect();
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
fn the_first_parking_is_noted_in_a_full_timeline() {
    let mut order = order_in(State::Releasing(Ending::Rejected));
    for _ in 0..MAX_TIMELINE {
        note(&mut order, TimelineEvent::RetryRequested);
    }
    order.attempt = MAX_ATTEMPTS;
    let parked = advanced(&order, &Event::Due, after(30)).unwrap();
    let new = &parked.timeline[order.timeline.len()..];
    assert_eq!((new.len(), new[0].event), (1, TimelineEvent::OrderParked));
}
