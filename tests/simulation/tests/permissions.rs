//! The checks on verified users.

use serde_json::{Value, json};
use simulation::clock::timestamp;
use simulation::history::History;
use simulation::invariants::Ledger;
use simulation::permissions::check;
use simulation::tables::Tables;

const ORDER: &str = "0190f8a0-0000-7000-8000-000000000001";
const USER: &str = "0190f8a0-0000-7000-8000-0000000000c1";

fn ordered(placed: i64, verified: i64) -> Ledger {
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
    let mut ledger = Ledger::sampling();
    let mut wrong = Vec::new();
    ledger.note(&tables, &key, Some(&row), &mut wrong);
    assert_eq!(wrong, Vec::<String>::new());
    ledger
}

fn deactivated(from: i64, until: i64) -> History<String> {
    let mut statuses = History::default();
    for (at, status) in [(0, "active"), (from, "deactivated"), (until, "active")] {
        statuses.note(USER, at, status.to_owned());
    }
    statuses
}

#[test]
fn a_rest_answer_is_valid_for_half_a_minute() {
    let statuses = deactivated(100_000, 900_000);
    for placed in [0, 100_000, 130_000, 875_000, 900_000] {
        assert_eq!(
            check(&ordered(placed, placed), &statuses),
            [""; 0],
            "{placed}"
        );
    }
    for placed in [130_001, 500_000, 874_999] {
        let wrong = check(&ordered(placed, placed), &statuses);
        assert_eq!(wrong.len(), 1, "{placed}");
        assert!(
            wrong[0].contains(ORDER) && wrong[0].contains(USER),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_queue_answer_is_younger_than_the_order() {
    let statuses = deactivated(100_000, 900_000);
    // The answer may be late by any time.
    for (placed, verified) in [(99_999, 800_000), (100_000, 100_001), (200_000, 900_000)] {
        let ledger = ordered(placed, verified);
        assert_eq!(check(&ledger, &statuses), [""; 0], "{placed} {verified}");
    }
    let wrong = check(&ordered(100_001, 899_999), &statuses);
    assert_eq!(wrong.len(), 1);
}

#[test]
fn an_unknown_user_was_never_active() {
    assert_eq!(check(&ordered(5, 5), &History::default()).len(), 1);
}
