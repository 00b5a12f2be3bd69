//! Who was let order, against when they were active.

use serde_json::{Value, json};
use simulation::books::Books;
use simulation::clock::timestamp;
use simulation::permissions::{Standings, check};
use simulation::tables::Tables;

const ORDER: &str = "0190f8a0-0000-7000-8000-000000000001";
const USER: &str = "0190f8a0-0000-7000-8000-0000000000c1";

/// An order that was placed and whose user was verified then.
fn ordered(placed: i64, verified: i64) -> Books {
    let entry = |what: &str, at| json!({"what": what, "at": timestamp(at).to_string()});
    let row: Value = json!({
        "version": 1, "state": "confirmed", "user_id": USER, "lines": [],
        "timeline": [entry("order_placed", placed), entry("user_verified", verified)],
    });
    let tables = Tables {
        users: "users".to_owned(),
        orders: "orders".to_owned(),
        inventory: "inventory".to_owned(),
        payments: "payments".to_owned(),
    };
    let key = (
        "orders".to_owned(),
        format!("ORDER#{ORDER}"),
        "ORDER".to_owned(),
    );
    let mut books = Books::of_now_and_then();
    let mut wrong = Vec::new();
    books.note(&tables, &key, Some(&row), &mut wrong);
    assert_eq!(wrong, Vec::<String>::new());
    books
}

/// Active at first, deactivated for a while.
fn deactivated(from: i64, until: i64) -> Standings {
    let mut standings = Standings::default();
    standings.note(USER, 0, "active");
    standings.note(USER, from, "deactivated");
    standings.note(USER, until, "active");
    standings
}

#[test]
fn a_yes_over_rest_is_believed_for_half_a_minute_and_no_longer() {
    let standings = deactivated(100_000, 900_000);
    for placed in [0, 100_000, 130_000, 875_000, 900_000] {
        assert_eq!(
            check(&ordered(placed, placed), &standings),
            [""; 0],
            "{placed}"
        );
    }
    for placed in [130_001, 500_000, 874_999] {
        let wrong = check(&ordered(placed, placed), &standings);
        assert_eq!(wrong.len(), 1, "{placed}");
        assert!(
            wrong[0].contains(ORDER) && wrong[0].contains(USER),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_yes_by_queue_was_given_after_the_order_was_placed() {
    let standings = deactivated(100_000, 900_000);
    // The answer may have been on its way for as long as it likes.
    for (placed, verified) in [(99_999, 800_000), (100_000, 100_001), (200_000, 900_000)] {
        let books = ordered(placed, verified);
        assert_eq!(check(&books, &standings), [""; 0], "{placed} {verified}");
    }
    let wrong = check(&ordered(100_001, 899_999), &standings);
    assert_eq!(wrong.len(), 1);
}

#[test]
fn whoever_was_never_there_was_never_active() {
    assert_eq!(check(&ordered(5, 5), &Standings::default()).len(), 1);
}
