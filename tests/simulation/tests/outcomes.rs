//! Each end of an order against what was shown while it was decided.

use serde_json::{Value, json};
use simulation::books::Books;
use simulation::endings::{Day, Wish, check};
use simulation::tables::Tables;

const ORDER: &str = "0190f8a0-0000-7000-8000-000000000001";
const USER: &str = "0190f8a0-0000-7000-8000-0000000000c1";

struct Told(Books);

impl Told {
    /// One item of which there are five, at 1000 USD, and an active user.
    fn new() -> Self {
        let mut told = Self(Books::of_now_and_then());
        told.item("A", 5, 1000, "USD");
        told.user("active");
        told
    }

    fn note(&mut self, table: &str, pk: &str, sk: &str, row: &Value) {
        let tables = Tables {
            users: "users".to_owned(),
            orders: "orders".to_owned(),
            inventory: "inventory".to_owned(),
            payments: "payments".to_owned(),
        };
        let key = (table.to_owned(), pk.to_owned(), sk.to_owned());
        let mut wrong = Vec::new();
        self.0.note(&tables, &key, Some(row), &mut wrong);
        assert_eq!(wrong, Vec::<String>::new());
    }

    fn item(&mut self, sku: &str, available: i64, amount: i64, currency: &str) {
        let row = json!({
            "sku": sku, "stocked": available, "available": available, "held": 0,
            "amount": amount, "currency": currency,
        });
        self.note("inventory", &format!("ITEM#{sku}"), "ITEM", &row);
    }

    fn user(&mut self, status: &str) {
        let row = json!({ "status": status });
        self.note("users", &format!("USER#{USER}"), "USER", &row);
    }

    fn order(&mut self, version: i64, state: &str, more: Value) {
        let mut row = json!({
            "version": version, "state": state, "user_id": USER, "timeline": [],
            "lines": [{"sku": "A", "quantity": 2}],
        });
        if !matches!(state, "confirmed" | "rejected" | "cancelled") {
            row["due_at"] = json!("2026-01-02T03:04:05Z");
        }
        let Value::Object(more) = more else {
            unreachable!("more attributes")
        };
        row.as_object_mut().unwrap().extend(more);
        self.note("orders", &format!("ORDER#{ORDER}"), "ORDER", &row);
    }

    fn placed() -> Self {
        let mut told = Self::new();
        told.order(1, "reserving", json!({}));
        told
    }

    fn refused(&mut self) {
        let row = json!({"status": "REFUSED"});
        self.note("inventory", &format!("ORDER#{ORDER}"), "RESERVATION", &row);
    }

    fn rejected(&mut self, code: &str) {
        self.order(2, "rejected", json!({"failure": {"code": code}}));
    }

    fn confirmed(&mut self, amount: i64) {
        let price = json!({"amount": amount, "currency": "USD"});
        let more = json!({
            "total": {"amount": 2 * amount, "currency": "USD"},
            "lines": [{"sku": "A", "quantity": 2, "unit_price": price}],
        });
        self.order(2, "confirmed", more);
    }

    fn is_right(&self, wish: &Wish, day: Day) -> bool {
        check(&self.0, ORDER, wish, day).is_empty()
    }
}

fn wish(method: &'static str) -> Wish {
    Wish {
        lines: vec![("A".to_owned(), 2)],
        method,
        expected: None,
    }
}

fn pays() -> Wish {
    wish("pm_card_visa")
}

#[test]
fn out_of_stock_is_right_if_there_was_too_little_before_it_was_decided() {
    let mut told = Told::placed();
    told.refused();
    told.item("A", 1, 1000, "USD");
    told.rejected("out_of_stock");
    assert!(!told.is_right(&pays(), Day::Troubled));

    let mut told = Told::placed();
    told.item("A", 1, 1000, "USD");
    told.item("A", 5, 1000, "USD");
    told.refused();
    told.rejected("out_of_stock");
    assert!(told.is_right(&pays(), Day::Troubled));
}

#[test]
fn what_was_short_before_the_order_was_placed_is_no_reason() {
    let mut told = Told::new();
    told.item("A", 1, 1000, "USD");
    told.item("A", 2, 1000, "USD");
    told.order(1, "reserving", json!({}));
    told.refused();
    told.rejected("out_of_stock");
    assert!(!told.is_right(&pays(), Day::Troubled));
}

#[test]
fn an_unknown_item_and_several_currencies_must_have_been_asked_for() {
    for code in ["unknown_item", "mixed_currency"] {
        let mut told = Told::placed();
        told.refused();
        told.rejected(code);
        assert!(!told.is_right(&pays(), Day::Troubled), "{code}");
    }
    let both = Wish {
        lines: vec![("A".to_owned(), 2), ("B".to_owned(), 1)],
        ..pays()
    };
    let lines = json!([{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]);
    for (code, is_there) in [("unknown_item", false), ("mixed_currency", true)] {
        let mut told = Told::new();
        if is_there {
            told.item("B", 5, 1000, "EUR");
        }
        told.order(1, "reserving", json!({ "lines": lines }));
        told.refused();
        let more = json!({"lines": lines, "failure": {"code": code}});
        told.order(2, "rejected", more);
        assert!(told.is_right(&both, Day::Quiet), "{code}");
    }
}

#[test]
fn a_decline_is_the_methods() {
    let mut told = Told::placed();
    told.rejected("payment_declined");
    assert!(!told.is_right(&pays(), Day::Troubled));
    assert!(told.is_right(&wish("pm_card_chargeDeclined"), Day::Troubled));
}

#[test]
fn a_changed_price_is_another_than_was_expected() {
    let expecting = |amount| Wish {
        expected: Some((amount, "USD")),
        ..pays()
    };
    let mut told = Told::placed();
    let total = json!({"amount": 2000, "currency": "USD"});
    let more = json!({"failure": {"code": "price_changed"}, "total": total});
    told.order(2, "rejected", more);
    assert!(!told.is_right(&pays(), Day::Troubled));
    assert!(!told.is_right(&expecting(2000), Day::Troubled));
    assert!(told.is_right(&expecting(2001), Day::Troubled));
    let euros = Wish {
        expected: Some((2000, "EUR")),
        ..pays()
    };
    assert!(told.is_right(&euros, Day::Troubled));
}

#[test]
fn whoever_is_not_allowed_was_deactivated_before_the_end() {
    let mut told = Told::placed();
    told.rejected("user_not_allowed");
    told.user("deactivated");
    assert!(!told.is_right(&pays(), Day::Troubled));

    let mut told = Told::placed();
    told.user("deactivated");
    told.rejected("user_not_allowed");
    assert!(told.is_right(&pays(), Day::Troubled));
}

#[test]
fn a_timeout_had_all_its_attempts_and_something_to_keep_the_answer() {
    let timed_out = |what: &str, attempt: u64, seconds: &str| {
        let mut told = Told::placed();
        let timeline = json!([
            {"what": what, "attempt": attempt, "at": "2026-01-02T03:00:00Z"},
            {"what": "step_timed_out", "at": format!("2026-01-02T03:0{seconds}Z")},
        ]);
        let more = json!({"failure": {"code": "timed_out"}, "timeline": timeline});
        told.order(2, "rejected", more);
        told
    };
    let told = timed_out("charge_payment_requested", 5, "8:00");
    assert!(told.is_right(&pays(), Day::Troubled));
    assert!(!told.is_right(&pays(), Day::Busy));
    assert!(told.is_right(&wish("pm_sim_unavailable"), Day::Busy));
    let told = timed_out("reserve_stock_requested", 5, "8:00");
    assert!(!told.is_right(&wish("pm_sim_unavailable"), Day::Busy));
    let told = timed_out("charge_payment_requested", 4, "8:00");
    assert!(!told.is_right(&pays(), Day::Troubled));
    let told = timed_out("charge_payment_requested", 5, "7:59");
    assert!(!told.is_right(&pays(), Day::Troubled));
}

#[test]
fn nothing_else_is_a_reason() {
    let mut told = Told::placed();
    told.rejected("released");
    assert!(!told.is_right(&pays(), Day::Troubled));
    let mut told = Told::placed();
    told.order(2, "rejected", json!({}));
    assert!(!told.is_right(&pays(), Day::Troubled));
}

#[test]
fn what_is_confirmed_is_what_was_wanted_at_a_price_it_had() {
    let mut told = Told::placed();
    told.confirmed(1000);
    assert!(told.is_right(&pays(), Day::Quiet));
    assert!(!told.is_right(&wish("pm_card_chargeDeclined"), Day::Troubled));
    assert!(!told.is_right(&wish("pm_sim_unavailable"), Day::Troubled));
    let otherwise = Wish {
        expected: Some((1999, "USD")),
        ..pays()
    };
    assert!(!told.is_right(&otherwise, Day::Troubled));
    let more = Wish {
        lines: vec![("A".to_owned(), 3)],
        ..pays()
    };
    assert!(!told.is_right(&more, Day::Troubled));

    let mut told = Told::placed();
    told.confirmed(900);
    assert!(!told.is_right(&pays(), Day::Troubled));
}

#[test]
fn a_quiet_day_lets_nothing_be_refused_without_need() {
    let mut told = Told::placed();
    let more = json!({
        "total": {"amount": 2000, "currency": "USD"}, "failure": {"code": "payment_declined"},
    });
    told.order(2, "rejected", more);
    assert!(told.is_right(&wish("pm_card_chargeDeclined"), Day::Quiet));
    let mut told = Told::placed();
    told.order(2, "cancelled", json!({}));
    assert!(told.is_right(&pays(), Day::Busy));
    assert!(!told.is_right(&pays(), Day::Quiet));
}
