//! Outcomes are checked against the rows at the time.

use serde_json::{Value, json};
use simulation::invariants::Ledger;
use simulation::outcomes::{Conditions, OrderRequest, check};
use simulation::tables::Tables;

const ORDER: &str = "0190f8a0-0000-7000-8000-000000000001";
const USER: &str = "0190f8a0-0000-7000-8000-0000000000c1";

struct Rows(Ledger);

impl Rows {
    /// One item with five units at 1000 USD, and an active user.
    fn new() -> Self {
        let mut rows = Self(Ledger::sampling());
        rows.item("A", 5, 1000, "USD");
        rows.user("active");
        rows
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
        let mut rows = Self::new();
        rows.order(1, "reserving", json!({}));
        rows
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

    fn is_valid(&self, request: &OrderRequest, conditions: Conditions) -> bool {
        check(&self.0, ORDER, request, conditions).is_empty()
    }
}

fn request(method: &'static str) -> OrderRequest {
    OrderRequest {
        lines: vec![("A".to_owned(), 2)],
        method,
        expected: None,
    }
}

fn pays() -> OrderRequest {
    request("pm_card_visa")
}

#[test]
fn out_of_stock_needs_a_shortage_before_the_decision() {
    let mut rows = Rows::placed();
    rows.refused();
    rows.item("A", 1, 1000, "USD");
    rows.rejected("out_of_stock");
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));

    let mut rows = Rows::placed();
    rows.item("A", 1, 1000, "USD");
    rows.item("A", 5, 1000, "USD");
    rows.refused();
    rows.rejected("out_of_stock");
    assert!(rows.is_valid(&pays(), Conditions::Faulty));
}

#[test]
fn a_shortage_before_the_order_does_not_count() {
    let mut rows = Rows::new();
    rows.item("A", 1, 1000, "USD");
    rows.item("A", 2, 1000, "USD");
    rows.order(1, "reserving", json!({}));
    rows.refused();
    rows.rejected("out_of_stock");
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
}

#[test]
fn unknown_item_and_mixed_currency_need_such_lines() {
    for code in ["unknown_item", "mixed_currency"] {
        let mut rows = Rows::placed();
        rows.refused();
        rows.rejected(code);
        assert!(!rows.is_valid(&pays(), Conditions::Faulty), "{code}");
    }
    let both = OrderRequest {
        lines: vec![("A".to_owned(), 2), ("B".to_owned(), 1)],
        ..pays()
    };
    let lines = json!([{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]);
    for (code, is_there) in [("unknown_item", false), ("mixed_currency", true)] {
        let mut rows = Rows::new();
        if is_there {
            rows.item("B", 5, 1000, "EUR");
        }
        rows.order(1, "reserving", json!({ "lines": lines }));
        rows.refused();
        let more = json!({"lines": lines, "failure": {"code": code}});
        rows.order(2, "rejected", more);
        assert!(rows.is_valid(&both, Conditions::Quiet), "{code}");
    }
}

#[test]
fn payment_declined_needs_a_declining_method() {
    let mut rows = Rows::placed();
    rows.rejected("payment_declined");
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
    assert!(rows.is_valid(&request("pm_card_chargeDeclined"), Conditions::Faulty));
}

#[test]
fn price_changed_needs_another_expected_total() {
    let expecting = |amount| OrderRequest {
        expected: Some((amount, "USD")),
        ..pays()
    };
    let mut rows = Rows::placed();
    let total = json!({"amount": 2000, "currency": "USD"});
    let more = json!({"failure": {"code": "price_changed"}, "total": total});
    rows.order(2, "rejected", more);
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
    assert!(!rows.is_valid(&expecting(2000), Conditions::Faulty));
    assert!(rows.is_valid(&expecting(2001), Conditions::Faulty));
    let euros = OrderRequest {
        expected: Some((2000, "EUR")),
        ..pays()
    };
    assert!(rows.is_valid(&euros, Conditions::Faulty));
}

#[test]
fn user_not_allowed_needs_a_deactivation_before_the_end() {
    let mut rows = Rows::placed();
    rows.rejected("user_not_allowed");
    rows.user("deactivated");
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));

    let mut rows = Rows::placed();
    rows.user("deactivated");
    rows.rejected("user_not_allowed");
    assert!(rows.is_valid(&pays(), Conditions::Faulty));
}

#[test]
fn timed_out_needs_all_attempts_and_a_fault() {
    let timed_out = |what: &str, attempt: u64, seconds: &str| {
        let mut rows = Rows::placed();
        let timeline = json!([
            {"what": what, "attempt": attempt, "at": "2026-01-02T03:00:00Z"},
            {"what": "step_timed_out", "at": format!("2026-01-02T03:0{seconds}Z")},
        ]);
        let more = json!({"failure": {"code": "timed_out"}, "timeline": timeline});
        rows.order(2, "rejected", more);
        rows
    };
    let rows = timed_out("charge_payment_requested", 5, "8:00");
    assert!(rows.is_valid(&pays(), Conditions::Faulty));
    assert!(!rows.is_valid(&pays(), Conditions::Busy));
    assert!(rows.is_valid(&request("pm_sim_unavailable"), Conditions::Busy));
    let rows = timed_out("reserve_stock_requested", 5, "8:00");
    assert!(!rows.is_valid(&request("pm_sim_unavailable"), Conditions::Busy));
    let rows = timed_out("charge_payment_requested", 4, "8:00");
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
    let rows = timed_out("charge_payment_requested", 5, "7:59");
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
}

#[test]
fn any_other_failure_is_invalid() {
    let mut rows = Rows::placed();
    rows.rejected("released");
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
    let mut rows = Rows::placed();
    rows.order(2, "rejected", json!({}));
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
}

#[test]
fn confirmed_needs_the_requested_lines_at_a_real_price() {
    let mut rows = Rows::placed();
    rows.confirmed(1000);
    assert!(rows.is_valid(&pays(), Conditions::Quiet));
    assert!(!rows.is_valid(&request("pm_card_chargeDeclined"), Conditions::Faulty));
    assert!(!rows.is_valid(&request("pm_sim_unavailable"), Conditions::Faulty));
    let otherwise = OrderRequest {
        expected: Some((1999, "USD")),
        ..pays()
    };
    assert!(!rows.is_valid(&otherwise, Conditions::Faulty));
    let more = OrderRequest {
        lines: vec![("A".to_owned(), 3)],
        ..pays()
    };
    assert!(!rows.is_valid(&more, Conditions::Faulty));

    let mut rows = Rows::placed();
    rows.confirmed(900);
    assert!(!rows.is_valid(&pays(), Conditions::Faulty));
}

#[test]
fn without_disturbances_only_the_expected_outcome_is_valid() {
    let mut rows = Rows::placed();
    let more = json!({
        "total": {"amount": 2000, "currency": "USD"}, "failure": {"code": "payment_declined"},
    });
    rows.order(2, "rejected", more);
    assert!(rows.is_valid(&request("pm_card_chargeDeclined"), Conditions::Quiet));
    let mut rows = Rows::placed();
    rows.order(2, "cancelled", json!({}));
    assert!(rows.is_valid(&pays(), Conditions::Busy));
    assert!(!rows.is_valid(&pays(), Conditions::Quiet));
}
