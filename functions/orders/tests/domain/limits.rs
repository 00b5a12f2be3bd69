//! The limits on a customer's open and unpaid orders.

use jiff::{SignedDuration, Timestamp};
use orders::domain::{
    CancelledBy, Event, FREE_UNPAID, Limit, Line, MAX_ATTEMPTS, MAX_DELAY, MAX_OPEN_ORDERS, Order,
    RECENT_WINDOW, State, Wait, may_place, place,
};
use proptest::prelude::*;

use super::{cancel, config};
use crate::samples::{
    DRAFT_TOTAL, TIMEOUT, after, apply, declined, draft, draft_reserved, line, placed, through,
    until, usd,
};

fn stock_reserved() -> Event {
    Event::StockReserved {
        lines: draft_reserved(),
    }
}

fn charged() -> Event {
    Event::PaymentCharged {
        amount: usd(DRAFT_TOTAL),
    }
}

fn cancelled() -> Event {
    cancel(CancelledBy::Customer)
}

/// An order whose total is too large.
fn too_large() -> Order {
    let mut lines = draft_reserved();
    for line in &mut lines {
        line.unit_price = usd(9_007_199_254_740_991);
    }
    through(placed(1), &[Event::StockReserved { lines }])
}

fn paid(id: u128) -> Order {
    through(placed(id), &[stock_reserved(), charged()])
}

/// An order with another expected total.
fn dearer(id: u128) -> Order {
    let mut draft = draft(id);
    draft.expected_total = Some(usd(1));
    through(place(draft, true, TIMEOUT, after(0)), &[stock_reserved()])
}

/// An open order for units of one sku.
fn open(sku: &str, units: i64, at: Timestamp) -> Order {
    let mut draft = draft(1);
    draft.lines = vec![line(sku, units)];
    place(draft, true, TIMEOUT, at)
}

fn one() -> [Line; 1] {
    [line("mug", 1)]
}

fn many(count: usize, order: fn(u128) -> Order) -> Vec<Order> {
    (0..count as u128).map(order).collect()
}

fn seconds(lines: &[Line], recent: &[Order], now: Timestamp) -> u32 {
    match may_place(lines, recent, now) {
        Ok(()) => 0,
        Err(wait) => wait.seconds,
    }
}

#[test]
fn a_customer_has_at_most_five_open_orders() {
    let four = many(4, placed);
    assert_eq!(may_place(&one(), &four, after(0)), Ok(()));
    let five = many(5, placed);
    let limit = Limit::OpenOrders {
        open: 5,
        allowed: 5,
    };
    let wait = may_place(&one(), &five, after(0)).unwrap_err();
    assert_eq!(wait, Wait { limit, seconds: 1 });
    assert_eq!(
        wait.to_string(),
        "you have 5 of at most 5 open orders; try again in 1 seconds"
    );
    // The wait grows with the age of the oldest order, up to a minute.
    assert_eq!(seconds(&one(), &five, after(7)), 7);
    assert_eq!(seconds(&one(), &five, after(1_000)), 60);
}

#[test]
fn several_open_orders_hold_at_most_ten_units_of_a_sku() {
    assert_eq!(
        may_place(&[line("mug", 10_000)], &many(4, placed), after(0)),
        Ok(())
    );
    let held = [open("mug", 4, after(0)), open("mug", 3, after(0))];
    assert_eq!(may_place(&[line("mug", 3)], &held, after(0)), Ok(()));
    assert_eq!(
        may_place(&[line("pot", 9_000)], &held, after(0)),
        Ok(()),
        "another sku"
    );
    let wait = may_place(&[line("pot", 1), line("mug", 4)], &held, after(0)).unwrap_err();
    assert_eq!(
        wait.to_string(),
        "your open orders that are not paid for ask for 7 units of mug, and together they may ask for 10; \
         try again in 1 seconds"
    );
}

#[test]
fn after_three_unpaid_orders_the_delay_doubles() {
    // The payment is declined two seconds after the placement.
    let delays = [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600];
    for (count, delay) in delays.into_iter().enumerate() {
        let recent = many(count, declined);
        assert_eq!(seconds(&one(), &recent, after(2)), delay, "{count} unpaid");
        let over = after(2 + i64::from(delay));
        assert_eq!(may_place(&one(), &recent, over), Ok(()), "{count} unpaid");
    }
    let wait = may_place(&one(), &many(4, declined), after(12)).unwrap_err();
    assert_eq!(
        wait.to_string(),
        "4 of your latest orders ended unpaid or cancelled, so the next has to wait; one for more than 10 units of a sku waits longer; \
         try again in 20 seconds"
    );
}

#[test]
fn an_order_of_many_units_waits_after_one_unpaid_order() {
    let ten = [line("mug", 10)];
    let eleven = [line("pot", 1), line("mug", 11)];
    assert_eq!(may_place(&eleven, &[], after(2)), Ok(()));
    for (count, delay) in [(1, 30), (2, 60), (3, 120), (4, 240)] {
        let recent = many(count, declined);
        assert_eq!(seconds(&eleven, &recent, after(2)), delay, "{count} unpaid");
        assert_eq!(seconds(&ten, &recent, after(2)), [0, 30][count / 4]);
    }
}

#[test]
fn after_an_unpaid_order_only_one_may_be_open() {
    let recent = [declined(1), placed(2)];
    let limit = Limit::OpenOrders {
        open: 1,
        allowed: 1,
    };
    assert_eq!(
        may_place(&one(), &recent, after(0)).unwrap_err().limit,
        limit
    );
}

#[test]
fn every_unpaid_order_that_took_stock_counts() {
    let cancelled_while = |events: &[Event]| {
        let mut events = events.to_vec();
        events.push(cancelled());
        through(placed(1), &events)
    };
    let unpaid = [
        declined(1),
        dearer(1),
        cancelled_while(&[]),
        cancelled_while(&[stock_reserved()]),
        too_large(),
        // A cancelled order held its stock for nothing even if it was paid.
        through(paid(1), &[cancelled()]),
    ];
    for order in unpaid {
        let recent: Vec<Order> = std::iter::repeat_n(order.clone(), 4).collect();
        let wait = may_place(&one(), &recent, after(3)).unwrap_err();
        let limit = Limit::Unpaid { unpaid: 4 };
        assert_eq!(wait.limit, limit, "{:?}", order.state);
    }
}

#[test]
fn events_that_the_customer_did_not_cause_do_not_count() {
    let refused = |code: &str| Event::StockRefused {
        sku: None,
        code: code.to_owned(),
        detail: "none is left".to_owned(),
    };
    let mut given_up = until(placed(1), State::Charging);
    while given_up.state == State::Charging {
        given_up.due_at = Some(after(0));
        given_up = through(given_up, &[Event::Due]);
    }
    assert!(given_up.attempt <= MAX_ATTEMPTS);
    let refunded = Event::PaymentRefunded { refunded: None };
    let given_back = Event::PaymentRefunded {
        refunded: Some(usd(DRAFT_TOTAL)),
    };
    let harmless = [
        through(placed(1), &[refused("out_of_stock")]),
        through(place(draft(1), false, TIMEOUT, after(0)), &[cancelled()]),
        through(given_up, &[refunded, Event::StockReleased]),
        through(
            paid(1),
            &[
                cancel(CancelledBy::Administrator),
                given_back,
                Event::StockReleased,
            ],
        ),
        paid(1),
    ];
    for order in harmless {
        let recent: Vec<Order> = std::iter::repeat_n(order.clone(), 50).collect();
        assert_eq!(
            may_place(&one(), &recent, after(3)),
            Ok(()),
            "{:?}",
            order.timeline
        );
    }
}

#[test]
fn parked_orders_do_not_count() {
    let parked = |id| Order {
        parked: true,
        ..placed(id)
    };
    assert_eq!(may_place(&one(), &many(50, parked), after(0)), Ok(()));
}

#[test]
fn each_paid_order_raises_every_limit() {
    let with_paid = |count, mut recent: Vec<Order>| {
        recent.extend(many(count, paid));
        recent
    };
    assert_eq!(
        seconds(&one(), &with_paid(3, many(7, placed)), after(0)),
        0,
        "7 open of 8"
    );
    assert_eq!(seconds(&one(), &with_paid(3, many(8, placed)), after(0)), 1);
    let held = || vec![open("mug", 20, after(0))];
    assert_eq!(
        seconds(&[line("mug", 20)], &with_paid(3, held()), after(0)),
        0
    );
    assert_eq!(
        seconds(&[line("mug", 21)], &with_paid(3, held()), after(0)),
        1
    );
    assert_eq!(
        seconds(&one(), &with_paid(1, many(4, declined)), after(2)),
        0
    );
    assert_eq!(
        seconds(&one(), &with_paid(1, many(5, declined)), after(2)),
        30
    );
}

#[test]
fn without_paying_ten_orders_an_hour_and_33_a_day_pass() {
    let at = |secs: i64| SignedDuration::from_secs(secs);
    let mut orders: Vec<Order> = Vec::new();
    let (mut now, end) = (after(0), after(0) + RECENT_WINDOW);
    let mut in_an_hour = 0;
    while now < end {
        match may_place(&one(), &orders, now) {
            Ok(()) => {
                // Each order holds its stock for a second.
                let order = place(draft(1), true, TIMEOUT, now);
                now += at(1);
                orders.push(at_once(order, now));
                in_an_hour += usize::from(now <= after(3600));
            }
            Err(wait) => now += at(wait.seconds.into()),
        }
    }
    assert_eq!((in_an_hour, orders.len()), (10, 33));
}

/// The order, declined and released at one time.
fn at_once(mut order: Order, now: Timestamp) -> Order {
    let declined = Event::PaymentDeclined {
        code: "card_declined".to_owned(),
        detail: "the card was declined".to_owned(),
    };
    for event in [declined, Event::StockReleased] {
        order = apply(order, &event, now);
    }
    order
}

fn any_recent() -> impl Strategy<Value = Vec<Order>> {
    let order = (0..7_u8, 1..30_i64, 0..7200_i64).prop_map(|(kind, units, at)| {
        let order = open("mug", units, after(at));
        match kind {
            0 | 1 => order,
            2 | 3 => at_once(place(draft(1), true, TIMEOUT, after(at)), after(at + 1)),
            4 => through(order, &[cancelled()]),
            5 => paid(1),
            _ => dearer(1),
        }
    });
    proptest::collection::vec(order, 0..40)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_wait_is_at_most_an_hour(
        recent in any_recent(), units in 1..30_i64, now in 7202..16_000_i64,
    ) {
        let wait = seconds(&[line("mug", units)], &recent, after(now));
        prop_assert!(i64::from(wait) <= MAX_DELAY.as_secs());
    }

    #[test]
    fn the_sequence_of_orders_does_not_matter(
        recent in any_recent(), units in 1..30_i64, now in 7202..16_000_i64, turned in 0..40_usize,
    ) {
        let lines = [line("mug", units)];
        let mut otherwise = recent.clone();
        let middle = turned.min(otherwise.len());
        otherwise.rotate_left(middle);
        prop_assert_eq!(
            may_place(&lines, &recent, after(now)),
            may_place(&lines, &otherwise, after(now))
        );
    }

    #[test]
    fn paying_never_lengthens_a_wait(
        recent in any_recent(), units in 1..30_i64, now in 7202..16_000_i64,
    ) {
        let lines = [line("mug", units)];
        let before = seconds(&lines, &recent, after(now));
        let mut richer = recent;
        richer.push(paid(1));
        prop_assert!(seconds(&lines, &richer, after(now)) <= before);
    }

    /// A customer who waits and has no open order may order.
    #[test]
    fn after_the_stated_wait_an_order_passes(
        recent in any_recent(), units in 1..30_i64, now in 7202..16_000_i64,
    ) {
        let lines = [line("mug", units)];
        let ended: Vec<Order> = recent
            .into_iter()
            .filter(|order| !matches!(order.state, State::Reserving))
            .map(|order| match order.state {
                State::Confirmed => order,
                _ => Order { state: State::Rejected, ..order },
            })
            .collect();
        let then = after(now + i64::from(seconds(&lines, &ended, after(now))));
        prop_assert_eq!(may_place(&lines, &ended, then), Ok(()));
    }

    #[test]
    fn paid_orders_and_three_mistakes_never_wait(
        count in 0..40_usize, failed in 0..=FREE_UNPAID, now in 7202..16_000_i64,
    ) {
        let mut recent = many(count, paid);
        recent.extend(many(failed, declined));
        prop_assert_eq!(may_place(&one(), &recent, after(now)), Ok(()));
        prop_assert!(FREE_UNPAID < MAX_OPEN_ORDERS);
    }
}
