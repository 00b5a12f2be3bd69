//! Outcomes are checked against the rows at the time.

use serde_json::{Value, json};
use simulation::invariants::Ledger;
use simulation::outcomes::Conditions::{self, Busy, Faulty, Quiet};
use simulation::outcomes::{OrderRequest, check};
use simulation::tables::Tables;

const ORDER: &str = "0190f8a0-0000-7000-8000-000000000001";
const USER: &str = "0190f8a0-0000-7000-8000-0000000000c1";

struct Rows(Ledger);

impl Rows {
    /// One item with five units at 1000 USD, and an active user.
    fn new() -> Self {
        let rows = Self(Ledger::sampling());
        rows.item("A", 5, 1000, "USD").user("active")
    }

    fn note(mut self, table: &str, pk: &str, sk: &str, row: &Value) -> Self {
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
        self
    }

    fn item(self, sku: &str, available: i64, amount: i64, currency: &str) -> Self {
        let row = json!({
            "sku": sku, "stocked": available, "available": available, "held": 0,
            "amount": amount, "currency": currency,
        });
        self.note("inventory", &format!("ITEM#{sku}"), "ITEM", &row)
    }

    fn user(self, status: &str) -> Self {
        let row = json!({ "status": status });
        self.note("users", &format!("USER#{USER}"), "USER", &row)
    }

    fn order(self, version: i64, state: &str, more: Value) -> Self {
        let mut row = json!({
            "version": version, "state": state, "user_id": USER, "timeline": [],
            "lines": [{"sku": "A", "quantity": 2}],
        });
        if !matches!(state, "confirmed" | "rejected" | "cancelled") {
            row["due_at"] = json!("2026-01-02T03:04:05Z");
        }
        for (name, value) in more.as_object().unwrap() {
            row[name] = value.clone();
        }
        self.note("orders", &format!("ORDER#{ORDER}"), "ORDER", &row)
    }

    fn placed() -> Self {
        Self::new().order(1, "reserving", json!({}))
    }

    fn refused(self) -> Self {
        let row = json!({"status": "REFUSED"});
        self.note("inventory", &format!("ORDER#{ORDER}"), "RESERVATION", &row)
    }

    fn rejected(self, code: &str) -> Self {
        self.order(2, "rejected", json!({"failure": {"code": code}}))
    }

    fn confirmed(self, amount: i64) -> Self {
        let price = json!({"amount": amount, "currency": "USD"});
        let more = json!({
            "total": {"amount": 2 * amount, "currency": "USD"},
            "lines": [{"sku": "A", "quantity": 2, "unit_price": price}],
        });
        self.order(2, "confirmed", more)
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

fn expects(amount: i64, currency: &'static str) -> OrderRequest {
    OrderRequest {
        expected: Some((amount, currency)),
        ..pays()
    }
}

#[test]
fn out_of_stock_needs_a_shortage_before_the_decision() {
    let rows = Rows::placed().refused().item("A", 1, 1000, "USD");
    assert!(!rows.rejected("out_of_stock").is_valid(&pays(), Faulty));

    let rows = Rows::placed().item("A", 1, 1000, "USD");
    let rows = rows.item("A", 5, 1000, "USD").refused();
    assert!(rows.rejected("out_of_stock").is_valid(&pays(), Faulty));
}

#[test]
fn a_shortage_before_the_order_does_not_count() {
    let rows = Rows::new().item("A", 1, 1000, "USD");
    let rows = rows
        .item("A", 2, 1000, "USD")
        .order(1, "reserving", json!({}));
    let rows = rows.refused().rejected("out_of_stock");
    assert!(!rows.is_valid(&pays(), Faulty));
}

#[test]
fn unknown_item_and_mixed_currency_need_such_lines() {
    for code in ["unknown_item", "mixed_currency"] {
        let rows = Rows::placed().refused().rejected(code);
        assert!(!rows.is_valid(&pays(), Faulty), "{code}");
    }
    let both = OrderRequest {
        lines: vec![("A".to_owned(), 2), ("B".to_owned(), 1)],
        ..pays()
    };
    let lines = json!([{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]);
    let unknown = (Rows::new(), "unknown_item");
    let mixed = (Rows::new().item("B", 5, 1000, "EUR"), "mixed_currency");
    for (rows, code) in [unknown, mixed] {
        let rows = rows
            .order(1, "reserving", json!({ "lines": lines }))
            .refused();
        let more = json!({"lines": lines, "failure": {"code": code}});
        assert!(
            rows.order(2, "rejected", more).is_valid(&both, Quiet),
            "{code}"
        );
    }
}

#[test]
fn payment_declined_needs_a_declining_method() {
    let rows = Rows::placed().rejected("payment_declined");
    assert!(!rows.is_valid(&pays(), Faulty));
    assert!(rows.is_valid(&request("pm_card_chargeDeclined"), Faulty));
}

#[test]
fn price_changed_needs_another_expected_total() {
    let total = json!({"amount": 2000, "currency": "USD"});
    let more = json!({"failure": {"code": "price_changed"}, "total": total});
    let rows = Rows::placed().order(2, "rejected", more);
    assert!(!rows.is_valid(&pays(), Faulty));
    assert!(!rows.is_valid(&expects(2000, "USD"), Faulty));
    assert!(rows.is_valid(&expects(2001, "USD"), Faulty));
    assert!(rows.is_valid(&expects(2000, "EUR"), Faulty));
}

#[test]
fn user_not_allowed_needs_a_deactivation_before_the_end() {
    let late = Rows::placed()
        .rejected("user_not_allowed")
        .user("deactivated");
    assert!(!late.is_valid(&pays(), Faulty));
    let early = Rows::placed()
        .user("deactivated")
        .rejected("user_not_allowed");
    assert!(early.is_valid(&pays(), Faulty));
}

#[test]
fn timed_out_needs_all_attempts_and_a_fault() {
    let timed_out = |event: &str, attempt: u64, seconds: &str| {
        let timeline = json!([
            {"what": event, "attempt": attempt, "at": "2026-01-02T03:00:00Z"},
            {"what": "step_timed_out", "at": format!("2026-01-02T03:0{seconds}Z")},
        ]);
        let more = json!({"failure": {"code": "timed_out"}, "timeline": timeline});
        Rows::placed().order(2, "rejected", more)
    };
    let rows = timed_out("charge_payment_requested", 5, "8:00");
    assert!(rows.is_valid(&pays(), Faulty));
    assert!(!rows.is_valid(&pays(), Busy));
    assert!(rows.is_valid(&request("pm_sim_unavailable"), Busy));
    let rows = timed_out("reserve_stock_requested", 5, "8:00");
    assert!(!rows.is_valid(&request("pm_sim_unavailable"), Busy));
    for (attempt, seconds) in [(4, "8:00"), (5, "7:59")] {
        let rows = timed_out("charge_payment_requested", attempt, seconds);
        assert!(!rows.is_valid(&pays(), Faulty), "{attempt} {seconds}");
    }
}

#[test]
fn any_other_failure_is_invalid() {
    assert!(
        !Rows::placed()
            .rejected("released")
            .is_valid(&pays(), Faulty)
    );
    let without_failure = Rows::placed().order(2, "rejected", json!({}));
    assert!(!without_failure.is_valid(&pays(), Faulty));
}

#[test]
fn confirmed_needs_the_requested_lines_at_a_real_price() {
    let rows = Rows::placed().confirmed(1000);
    assert!(rows.is_valid(&pays(), Quiet));
    assert!(!rows.is_valid(&request("pm_card_chargeDeclined"), Faulty));
    assert!(!rows.is_valid(&request("pm_sim_unavailable"), Faulty));
    assert!(!rows.is_valid(&expects(1999, "USD"), Faulty));
    let more = OrderRequest {
        lines: vec![("A".to_owned(), 3)],
        ..pays()
    };
    assert!(!rows.is_valid(&more, Faulty));
    assert!(!Rows::placed().confirmed(900).is_valid(&pays(), Faulty));
}

#[test]
fn without_disturbances_only_the_expected_outcome_is_valid() {
    let more = json!({
        "total": {"amount": 2000, "currency": "USD"}, "failure": {"code": "payment_declined"},
    });
    let rows = Rows::placed().order(2, "rejected", more);
    assert!(rows.is_valid(&request("pm_card_chargeDeclined"), Quiet));
    let rows = Rows::placed().order(2, "cancelled", json!({}));
    assert!(rows.is_valid(&pays(), Busy));
    assert!(!rows.is_valid(&pays(), Quiet));
}
