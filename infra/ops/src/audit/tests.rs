//! Audits of tables at rest, of changing tables and of a shop that goes on selling.

use std::cell::{Cell, RefCell};

use serde_json::json;

use super::reconcile::Kind;
use super::reconcile::tests::{PRICE, Tables, balanced, id, key, now};
use super::*;
use crate::assert_contains;
use crate::aws::AwsError;

fn found(sku: &str, evidence: &str) -> Finding {
    Finding {
        subject: Subject::Item(sku.to_owned()),
        kind: Kind::AdjustmentsDiffer,
        what: format!("seen as {evidence}"),
        next: "mend it".to_owned(),
        evidence: evidence.to_owned(),
    }
}

fn audit(looks: [&[Finding]; 2]) -> (Audit, usize) {
    let mut looked = 0;
    let look = || {
        let findings = looks[looked].to_vec();
        looked += 1;
        Ok(Reconciliation {
            findings,
            ..Reconciliation::default()
        })
    };
    let audit = compare_snapshots(look, || ());
    (audit.expect("looking does not fail"), looked)
}

fn failure(audit: &Audit) -> (u8, String) {
    let error = audit.verdict().expect_err("it does not balance");
    (error.exit_code(), error.to_string())
}

#[test]
fn balanced_tables_are_read_once() {
    let (audit, looked) = audit([&[], &[found("cup", "1")]]);
    assert_eq!(looked, 1);
    assert!(audit.verdict().is_ok());
    assert!(audit.report().ends_with("everything balances"));
}

#[test]
fn a_finding_of_one_snapshot_is_dropped() {
    for second in [&[][..], &[found("pot", "1")]] {
        let (audit, looked) = audit([&[found("cup", "1")], second]);
        assert_eq!(looked, 2);
        assert!(audit.verdict().is_ok());
        assert!(audit.report().ends_with("everything balances"));
    }
}

#[test]
fn only_findings_in_unchanged_rows_are_certain() {
    let (pot, cup) = (found("pot", "same"), |n: &str| found("cup", n));
    let (certain, _) = audit([&[pot.clone(), cup("1")], &[pot.clone(), cup("2")]]);
    let output = "does not balance: item pot".to_owned();
    assert_eq!(failure(&certain), (1, output));
    let report = certain.report();
    let named = "1 thing does not balance\n  item pot: seen as same\n      next: mend it";
    assert!(report.contains(named), "{report}");
    assert_contains(&report, &["item cup: seen as 2\n\n"]);

    let (undecided, _) = audit([&[cup("1")], &[cup("2")]]);
    let output = "undecided, run this again: item cup".to_owned();
    assert_eq!(failure(&undecided), (2, output));
    let report = undecided.report();
    assert_contains(&report, &["undecided: both"]);
    assert!(report.ends_with("everything else balances"), "{report}");
}

#[test]
fn late_refunds_are_reported_last_and_fail_nothing() {
    let mut rows = balanced();
    let entry = json!({"at": "2026-01-02T03:01:00Z", "what": "refund_abandoned",
                       "detail": "by olga: paid back by hand"});
    let timeline = rows.order_row(3)["timeline"].as_array_mut();
    timeline.expect("a timeline").push(entry);
    let shop = Shop::new(rows, 0, 0);
    let audit = shop.audit();
    assert!(audit.verdict().is_ok(), "{}", audit.report());
    let report = audit.report();
    let (_, end) = report.split_once("everything balances").expect("it does");
    for expected in [
        "attention: carried out after",
        &format!("order {}: refunded in spite of that", id(3)),
        "by olga: paid back by hand\n      next: if it was also refunded by hand",
    ] {
        assert!(end.contains(expected), "{expected}: {report}");
    }
    assert!(!report.contains("written off by operators"), "{report}");
}

#[test]
fn a_report_escapes_foreign_text_and_shows_decimals() {
    let hostile = format!(
        "\u{1b}[2J\n  item forged: fine\u{202e}{}",
        "x".repeat(200_000)
    );
    let mut rows = balanced();
    let mut item = rows.inventory[0].clone();
    item["sku"] = json!(hostile);
    rows.inventory.push(item);
    rows.orders.push(json!({"pk": hostile, "sk": "ORDER"}));
    rows.order_row(2)["state"] = json!(hostile);
    rows.order_row(1)["placed"] = json!(hostile);
    let entry =
        json!({"at": "2026-01-02T03:01:00Z", "what": "refund_abandoned", "detail": hostile});
    let timeline = rows.order_row(3)["timeline"].as_array_mut();
    timeline.expect("a timeline").push(entry);
    let report = Shop::new(rows, 0, 0).audit().report();
    assert!(
        !report.contains(|c: char| c.is_control() && c != '\n'),
        "{report}"
    );
    assert!(!report.contains('\u{202e}'), "{report}");
    for line in report.lines() {
        assert!(line.chars().count() < 3 * crate::ui::LINE, "{line}");
        assert!(!line.starts_with("  item forged"), "{line}");
    }
    assert_contains(&report, &["\\u001b[2J\\u000a  item forged"]);
    let money = report.lines().find(|line| line.starts_with("USD "));
    let money: Vec<&str> = money.expect("a currency").split_whitespace().collect();
    assert_eq!(money[1..5], ["35.00", "14.00", "21.00", "="], "{report}");
    let rows = report.lines().next();
    assert_eq!(
        rows,
        Some("rows        12 of inventory, 12 of orders, 16 of payments, 1 of users")
    );
}

#[test]
fn columns_fit_their_numbers() {
    let mut rows = balanced();
    let mut charge = rows
        .payments
        .iter()
        .find(|row| row["sk"] == "CHARGE")
        .cloned();
    let charge = charge.as_mut().expect("a charge");
    charge["asked"] = json!({"amount": i64::MAX, "currency": "IDR", "method": "pm"});
    charge["pk"] = json!("SIMULATOR#elsewhere");
    rows.payments.push(charge.clone());
    rows.payments.push(json!({"pk": "NOTE", "sk": "ORDER"}));
    let report = Shop::new(rows, 0, 0).audit().report();
    let money = report.lines().find(|line| line.starts_with("IDR "));
    let money: Vec<&str> = money.expect("a currency").split_whitespace().collect();
    assert_eq!(money.len(), 9, "{report}");
    assert_eq!(money[1], "92233720368547758.07", "{report}");
    for table in report
        .split("\n\n")
        .filter(|part| part.contains("unexplained"))
    {
        let lines = table.lines().take_while(|line| !line.is_empty());
        let ends: BTreeSet<usize> = lines.map(|line| line.chars().count()).collect();
        assert_eq!(ends.len(), 1, "{report}");
    }
}

#[test]
fn an_unreadable_row_is_named_once() {
    let mut rows = balanced();
    let mut item = rows.inventory[0].clone();
    (item["pk"], item["stocked"]) = (json!("ITEM#plate"), json!("many"));
    rows.inventory.push(item);
    let report = Shop::new(rows, 0, 0).audit().report();
    let output = "row ITEM#plate ITEM of the inventory table: it cannot be read: ";
    assert!(report.contains(output), "{report}");
    assert_eq!(report.matches("ITEM#plate").count(), 1, "{report}");
}

/// A shop that sells cups. At every call of an audit it places orders and advances others.
struct Shop {
    rows: RefCell<Tables>,
    /// Open orders: the number, and how many of its writes are done.
    active: RefCell<Vec<(u128, usize)>>,
    next: Cell<u128>,
    /// How many orders each call places.
    rate: usize,
    chance: Cell<u64>,
}

const WRITES: usize = 7;
const WRITES_OF_A_CANCELLED_ONE: usize = 14;
/// The rows in a page of a scan.
const PAGE: usize = 48;

impl Shop {
    fn new(mut rows: Tables, rate: usize, seed: u64) -> Self {
        for level in ["stocked", "available"] {
            let units = rows.inventory[0][level].as_i64().expect("a level");
            rows.inventory[0][level] = json!(units + 100_000);
        }
        let shop = Self {
            rows: RefCell::new(rows),
            active: RefCell::default(),
            next: Cell::new(1_000),
            rate,
            chance: Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        };
        // The shop has open orders before the audit begins.
        (0..20).for_each(|_| shop.advance());
        shop
    }

    /// A random number below `limit` (xorshift64).
    fn below(&self, limit: u64) -> u64 {
        let mut chance = self.chance.get();
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        self.chance.set(chance);
        chance % limit
    }

    fn advance(&self) {
        let mut active = self.active.borrow_mut();
        for _ in 0..self.rate {
            let number = self.next.get();
            self.next.set(number + 1);
            active.push((number, 0));
        }
        let mut rows = self.rows.borrow_mut();
        active.retain_mut(|(number, done)| {
            if self.below(3) > 0 {
                write(&mut rows, *number, *done);
                *done += 1;
            }
            let is_cancelled = number.is_multiple_of(3);
            *done
                < if is_cancelled {
                    WRITES_OF_A_CANCELLED_ONE
                } else {
                    WRITES
                }
        });
    }

    fn call(&self, operation: &str, params: &Value) -> std::result::Result<Value, AwsError> {
        self.advance();
        Ok(match operation {
            "Scan" => self.scan(params),
            "BatchGetItem" => self.batch(&params["RequestItems"]),
            other => panic!("an audit has no business with {other}"),
        })
    }

    fn scan(&self, params: &Value) -> Value {
        assert_eq!(params["ConsistentRead"], true);
        let rows = self.rows.borrow();
        let table = params["TableName"].as_str().expect("a table");
        let mut rows: Vec<&Value> = table_of(&rows, table).iter().collect();
        rows.sort_by_cached_key(|row| place(&row["pk"], &row["sk"]));
        if let Some(after) = params["ExclusiveStartKey"].as_object() {
            let after = place(&after["pk"]["S"], &after["sk"]["S"]);
            rows.retain(|row| place(&row["pk"], &row["sk"]) > after);
        }
        let goes_on = rows.len() > PAGE;
        rows.truncate(PAGE);
        let mut page = json!({"Items": rows.iter().copied().map(item).collect::<Value>()});
        if let Some(last) = rows.last().filter(|_| goes_on) {
            page["LastEvaluatedKey"] = json!({"pk": {"S": last["pk"]}, "sk": {"S": last["sk"]}});
        }
        page
    }

    /// At most three keys at a time, like a busy table.
    fn batch(&self, tables: &Value) -> Value {
        let (name, wanted) = tables
            .as_object()
            .and_then(|tables| tables.iter().next())
            .expect("a table");
        assert_eq!(wanted["ConsistentRead"], true);
        let keys = wanted["Keys"].as_array().expect("keys");
        let (now, later) = keys.split_at(keys.len().min(3));
        let rows = self.rows.borrow();
        let has = |row: &&Value| {
            let is = |key: &Value| row["pk"] == key["pk"]["S"] && row["sk"] == key["sk"]["S"];
            now.iter().any(is)
        };
        let found: Value = table_of(&rows, name).iter().filter(has).map(item).collect();
        let mut answer = json!({"Responses": {name: found}, "UnprocessedKeys": {}});
        if !later.is_empty() {
            answer["UnprocessedKeys"] = json!({name: {"Keys": later, "ConsistentRead": true}});
        }
        answer
    }

    fn audit(&self) -> Audit {
        let call = |operation: &str, params: Value| self.call(operation, &params);
        let look = || Ok(reconcile(&snapshot(&call, "w")?, now()));
        let audit = compare_snapshots(look, || (0..10).for_each(|_| self.advance()));
        audit.expect("it answers")
    }
}

fn table_of<'r>(rows: &'r Tables, name: &str) -> &'r [Value] {
    match name {
        "w-users" => &rows.users,
        "w-orders" => &rows.orders,
        "w-inventory" => &rows.inventory,
        "w-payments" => &rows.payments,
        other => panic!("there is no table {other}"),
    }
}

/// Rows come in the order of a hash, as in DynamoDB.
fn place(pk: &Value, sk: &Value) -> (u64, String, String) {
    let text = |value: &Value| value.as_str().expect("a key").to_owned();
    let hash = text(pk)
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash, text(pk), text(sk))
}

fn item(row: &Value) -> Value {
    typed(row)["M"].take()
}

fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(_) => json!({"BOOL": value}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::String(_) => json!({"S": value}),
        Value::Array(values) => json!({"L": values.iter().map(typed).collect::<Value>()}),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), typed(value)));
            json!({"M": members.collect::<serde_json::Map<_, _>>()})
        }
    }
}

/// One write of an order's saga. The seventh confirms it; those after it cancel it.
fn write(rows: &mut Tables, number: u128, nth: usize) {
    match nth {
        0 => rows.order(number, "reserving"),
        1 => rows.reservation(number, "RESERVED"),
        2 => order_is(rows, number, "charging"),
        3 => rows.payment(number, "CHARGING"),
        4 => rows.charge(number, "CHARGED"),
        5 => {
            payment_is(rows, number, "CHARGED");
            let id = json!(format!("sim_{}", key(number)));
            rows.payment_row(number)["payment_id"] = id;
        }
        6 => order_is(rows, number, "confirmed"),
        7 => order_is(rows, number, "refunding_to_cancel"),
        8 => payment_is(rows, number, "REFUNDING"),
        9 => rows.refund(number, PRICE),
        10 => payment_is(rows, number, "REFUNDED"),
        11 => order_is(rows, number, "releasing_to_cancel"),
        12 => {
            let reservation = rows.reservation_row(number);
            reservation["status"] = json!("RELEASED");
            reservation["updated_at"] = json!("2026-01-02T03:02:30.000Z");
            rows.hold(-1);
        }
        13 => order_is(rows, number, "cancelled"),
        _ => panic!("order {number} has ended"),
    }
}

fn order_is(rows: &mut Tables, number: u128, state: &str) {
    let version = rows.order_row(number)["version"]
        .as_u64()
        .expect("a version");
    let row = rows.order_row(number).clone();
    rows.remove(&row);
    rows.order(number, state);
    rows.order_row(number)["version"] = json!(version + 1);
}

fn payment_is(rows: &mut Tables, number: u128, status: &str) {
    let payment = rows.payment_row(number);
    payment["status"] = json!(status);
    payment["version"] = json!(payment["version"].as_u64().expect("a version") + 1);
}

#[test]
fn a_busy_balanced_shop_has_no_certain_finding() {
    for seed in 0..10 {
        let audit = Shop::new(balanced(), 1 + seed as usize % 2, seed).audit();
        assert_eq!(audit.certain, [], "seed {seed}");
        let is_item = |finding: &Finding| finding.kind == Kind::HeldDiffers;
        assert!(audit.undecided.iter().all(is_item), "seed {seed}");
    }
}

#[test]
fn orders_newer_than_the_scan_are_looked_up() {
    for seed in 0..10 {
        let shop = Shop::new(balanced(), 2, seed);
        let call = |operation: &str, params: Value| shop.call(operation, &params);
        let parsed = snapshot(&call, "w").expect("it answers");
        assert!(!parsed.meanwhile.is_empty(), "seed {seed}");
        let orphans = [
            Kind::ReservationOfNobody,
            Kind::PaymentOfNobody,
            Kind::LedgerOfNobody,
        ];
        for finding in reconcile(&parsed, now()).findings {
            assert!(!orphans.contains(&finding.kind), "seed {seed}: {finding:?}");
        }
    }
}

#[test]
fn a_busy_shop_reports_only_real_differences() {
    type Spoil = fn(&mut Tables);
    let order = |number| (1, format!("does not balance: order {}", id(number)));
    let item = (2, "undecided, run this again: item cup".to_owned());
    let cases: [(Spoil, (u8, String)); 5] = [
        (|rows| rows.reservation(99, "RESERVED"), order(99)),
        (
            |rows| {
                rows.payment(99, "CHARGED");
                rows.charge(99, "CHARGED");
            },
            order(99),
        ),
        (|rows| rows.charge(99, "CHARGED"), order(99)),
        (|rows| rows.refund(1, PRICE), order(1)),
        (|rows| rows.hold(60), item),
    ];
    for (number, (spoil, expected)) in cases.iter().enumerate() {
        for seed in 0..3 {
            let mut rows = balanced();
            spoil(&mut rows);
            let shop = Shop::new(rows, 1 + seed as usize % 2, seed);
            assert_eq!(
                failure(&shop.audit()),
                *expected,
                "case {number}, seed {seed}"
            );
        }
    }
    let mut rows = balanced();
    rows.hold(1);
    let resting = failure(&Shop::new(rows, 0, 0).audit());
    assert_eq!(resting, (1, "does not balance: item cup".to_owned()));
}
