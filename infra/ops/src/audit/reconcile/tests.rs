//! Balanced rows, and one test case for each way in which they can fail to balance.

use serde_json::{Value, json};

use super::*;

pub(in crate::audit) const PRICE: i64 = 700;

/// The tables as the four services write them. Each order is for one cup.
#[derive(Clone, Default)]
pub(in crate::audit) struct Tables {
    pub users: Vec<Value>,
    pub orders: Vec<Value>,
    pub inventory: Vec<Value>,
    pub payments: Vec<Value>,
}

pub(in crate::audit) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(in crate::audit) fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}

fn user() -> Uuid {
    id(0xa11ce)
}

fn adjustment(delta: Value, number: u128) -> Value {
    json!({"pk": "ITEM#cup", "sk": format!("ADJUSTMENT#{}", id(number)), "schema": 1,
           "id": id(number), "sku": "cup", "delta": delta, "reason": "counted", "made_by": user(),
           "created_at": "2026-01-02T03:00:00.000Z"})
}

pub(in crate::audit) fn key(number: u128) -> String {
    format!("charge-{}", id(number))
}

fn usd(amount: i64) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

impl Tables {
    fn read(&self) -> Reconciliation {
        let parsed = Rows::read(&self.users, &self.orders, &self.inventory, &self.payments);
        reconcile(&parsed, now())
    }

    pub fn order(&mut self, number: u128, state: &str) {
        let priced = !["verifying", "reserving"].contains(&state);
        let price = if priced { usd(PRICE) } else { Value::Null };
        let mut order = json!({
            "pk": format!("ORDER#{}", id(number)), "sk": "ORDER", "schema": 1, "id": id(number),
            "user_id": user(), "lines": [{"sku": "cup", "quantity": 1, "unit_price": price}],
            "payment_method": "pm_card_visa", "state": state, "attempt": 1, "version": 3,
            "placed": format!("2026-01-02T03:00:00.000Z#{}", id(number)), "fingerprint": id(number),
            "timeline": [{"at": "2026-01-02T03:00:00Z", "what": "order_placed"}],
            "created_at": "2026-01-02T03:00:00Z", "updated_at": "2026-01-02T03:02:00Z",
        });
        if priced {
            order["total"] = usd(PRICE);
        }
        if !["confirmed", "rejected", "cancelled"].contains(&state) {
            order["due_at"] = json!("2026-01-02T03:04:20.000Z");
            order["due_shard"] = json!(format!("DUE#{}", number % 8));
        }
        self.orders.push(order);
    }

    pub fn reservation(&mut self, number: u128, status: &str) {
        let line = json!({"sku": "cup", "quantity": 1, "amount": PRICE, "currency": "USD"});
        self.inventory.push(json!({
            "pk": format!("ORDER#{}", id(number)), "sk": "RESERVATION", "order_id": id(number),
            "status": status, "lines": [line], "updated_at": "2026-01-02T03:02:00.000Z",
            "schema": 1, "created_at": "2026-01-02T03:02:00.000Z",
        }));
        if status == "REFUSED" {
            let row = self.reservation_row(number);
            row["refusal"] = json!({"code": "out_of_stock", "detail": "only 3 left", "sku": "cup"});
            row["lines"] = json!([]);
        }
        if status == "RESERVED" {
            self.hold(1);
        }
    }

    pub fn hold(&mut self, units: i64) {
        let item = &mut self.inventory[0];
        for (level, change) in [("available", -units), ("held", units)] {
            item[level] = json!(item[level].as_i64().expect("a level") + change);
        }
    }

    pub fn payment(&mut self, number: u128, status: &str) {
        let mut payment = json!({
            "pk": format!("ORDER#{}", id(number)), "sk": "PAYMENT", "schema": 1, "version": 2,
            "user_id": user(), "status": status, "updated_at": "2026-01-02T03:02:00.000Z",
            "charge": {"key": key(number), "amount": PRICE, "currency": "USD", "method": "pm"},
            "created_at": "2026-01-02T03:02:00.000Z",
        });
        if status == "DECLINED" {
            payment["decline"] =
                json!({"code": "card_declined", "detail": "the card was declined"});
        }
        if ["CHARGED", "REFUNDING", "REFUNDED"].contains(&status) {
            payment["payment_id"] = json!(format!("sim_{}", key(number)));
        }
        self.payments.push(payment);
    }

    pub fn charge(&mut self, number: u128, outcome: &str) {
        let mut row = json!({"pk": format!("SIMULATOR#{}", key(number)), "sk": "CHARGE",
            "asked": {"amount": PRICE, "currency": "USD", "method": "pm"}, "outcome": outcome});
        // Every outcome's fields, so that a test can change the outcome.
        row["payment_id"] = json!(format!("sim_{}", key(number)));
        row["code"] = json!("card_declined");
        row["detail"] = json!("the card was declined");
        if outcome == "CANCELLED" {
            row["asked"] = Value::Null;
        }
        self.payments.push(row);
    }

    pub fn refund(&mut self, number: u128, amount: i64) {
        self.payments.push(json!({
            "pk": format!("SIMULATOR#{}-refund", key(number)), "sk": "REFUND",
            "payment_id": format!("sim_{}", key(number)), "amount": amount, "currency": "USD",
        }));
    }

    /// `+ROW N VALUE` adds a row, `-ROW N` removes one, `hold UNITS` holds units, `note N EVENT` notes
    /// something in the timeline, and `ROW N PATH JSON` sets an attribute.
    fn edit(&mut self, edit: &str) {
        let words: Vec<&str> = edit.splitn(4, ' ').collect();
        let number = words[1].parse::<i64>().expect("a number");
        let of = number.unsigned_abs().into();
        match words[..] {
            ["+reservation", _, status] => self.reservation(of, status),
            ["+payment", _, status] => self.payment(of, status),
            ["+charge", _, outcome] => self.charge(of, outcome),
            ["+refund", _, amount] => self.refund(of, amount.parse().expect("an amount")),
            ["hold", _] => self.hold(number),
            ["note", _, event] => self.note(of, event),
            [row, _] => {
                let row = self.found(&row[1..], of).clone();
                self.remove(&row);
            }
            [row, _, path, value] => {
                let attribute = path.split('.').fold(self.found(row, of), |at, part| {
                    match part.parse::<usize>() {
                        Ok(place) => &mut at[place],
                        Err(_) => &mut at[part],
                    }
                });
                *attribute = serde_json::from_str(value).expect("JSON");
            }
            _ => panic!("{edit}"),
        }
    }

    fn found(&mut self, row: &str, number: u128) -> &mut Value {
        match row {
            "order" => self.order_row(number),
            "reservation" => self.reservation_row(number),
            "payment" => self.payment_row(number),
            "ledger" => self.ledger_row(number),
            "refund" => self.refund_row(number),
            "item" | "adjustment" => &mut self.inventory[number as usize],
            "user" => &mut self.users[number as usize],
            other => panic!("{other}"),
        }
    }

    fn row(&mut self, pk: &str, sk: &str) -> &mut Value {
        let tables = [&mut self.orders, &mut self.inventory, &mut self.payments];
        let mut rows = tables.into_iter().flatten();
        let row = rows.find(|row| row["pk"] == pk && row["sk"] == sk);
        row.expect("the row exists")
    }

    fn row_of(&mut self, number: u128, sk: &str) -> &mut Value {
        self.row(&format!("ORDER#{}", id(number)), sk)
    }

    pub fn order_row(&mut self, number: u128) -> &mut Value {
        self.row_of(number, "ORDER")
    }

    pub fn payment_row(&mut self, number: u128) -> &mut Value {
        self.row_of(number, "PAYMENT")
    }

    pub fn reservation_row(&mut self, number: u128) -> &mut Value {
        self.row_of(number, "RESERVATION")
    }

    fn ledger_row(&mut self, number: u128) -> &mut Value {
        self.row(&format!("SIMULATOR#{}", key(number)), "CHARGE")
    }

    fn refund_row(&mut self, number: u128) -> &mut Value {
        self.row(&format!("SIMULATOR#{}-refund", key(number)), "REFUND")
    }

    pub fn remove(&mut self, row: &Value) {
        for rows in [&mut self.orders, &mut self.inventory, &mut self.payments] {
            rows.retain(|other| other != row);
        }
    }

    /// As payments does it, or an operator by hand.
    fn settle(&mut self, number: u128) {
        self.refund_at_provider(number);
        let took = self.has_charge(number);
        let payment = self.payment_row(number);
        payment["status"] = json!(if took { "REFUNDED" } else { "VOIDED" });
        payment["payment_id"] = json!(format!("sim_{}", key(number)));
    }

    fn has_charge(&self, number: u128) -> bool {
        let pk = format!("SIMULATOR#{}", key(number));
        let mut charges = self.payments.iter();
        charges.any(|row| row["pk"] == pk.as_str() && row["outcome"] == "CHARGED")
    }

    fn refund_at_provider(&mut self, number: u128) {
        if !self.has_charge(number) {
            return;
        }
        let taken = self.ledger_row(number)["asked"]["amount"].as_i64();
        let id = format!("sim_{}", key(number));
        let refunds = self.payments.iter();
        let refunds = refunds.filter(|row| row["sk"] == "REFUND" && row["payment_id"] == id);
        let given: i64 = refunds.filter_map(|row| row["amount"].as_i64()).sum();
        let left = taken.expect("an amount") - given;
        if left > 0 {
            self.refund(number, left);
        }
    }

    fn release(&mut self, number: u128) {
        let reservation = self.reservation_row(number);
        let units = reservation["lines"][0]["quantity"].as_i64();
        reservation["status"] = json!("RELEASED");
        self.hold(-units.expect("a quantity"));
    }

    fn is_due(&mut self, number: u128) {
        let order = self.order_row(number);
        order["due_at"] = json!("2026-01-02T03:09:00.000Z");
        order["due_shard"] = json!(format!("DUE#{}", number % 8));
        order["parked"] = json!(false);
    }

    fn note(&mut self, number: u128, what: &str) {
        let entry = json!({"at": "2026-01-02T03:03:00Z", "what": what,
                           "detail": "by olga: settled by hand"});
        let timeline = self.order_row(number)["timeline"].as_array_mut();
        timeline.expect("a timeline").push(entry);
    }
}

/// One order of every kind:
/// - ended: 1 confirmed, 2 declined, 3 cancelled after its charge, 4 out of stock, 5 voided;
/// - in flight: 10 verifying, 11 reserving, 12 charging (only the provider knows yet), 13
///   refunding, 14 and 15 releasing.
pub(in crate::audit) fn balanced() -> Tables {
    let mut rows = Tables {
        users: vec![
            json!({"pk": format!("USER#{}", user()), "sk": "USER", "id": user(), "status": "active"}),
            json!({"pk": "EMAIL#a@b.example", "sk": "EMAIL"}),
        ],
        inventory: vec![
            json!({"pk": "ITEM#cup", "sk": "ITEM", "sku": "cup", "name": "Cup", "amount": PRICE,
                   "currency": "USD", "stocked": 10, "available": 10, "held": 0, "schema": 1,
                   "catalogue": "ITEM", "created_at": "2026-01-02T03:00:00.000Z",
                   "updated_at": "2026-01-02T03:00:00.000Z", "created_by_request": id(0xbe9)}),
            adjustment(json!(4), 1),
        ],
        ..Tables::default()
    };
    rows.order(1, "confirmed");
    rows.reservation(1, "RESERVED");
    rows.payment(1, "CHARGED");
    rows.charge(1, "CHARGED");

    rows.order(2, "rejected");
    rows.reservation(2, "RELEASED");
    rows.payment(2, "DECLINED");
    rows.charge(2, "DECLINED");

    rows.order(3, "cancelled");
    rows.reservation(3, "RELEASED");
    rows.payment(3, "REFUNDED");
    rows.charge(3, "CHARGED");
    rows.refund(3, PRICE);

    rows.order(4, "rejected");
    rows.order_row(4)["total"] = Value::Null;
    rows.order_row(4)["lines"][0]["unit_price"] = Value::Null;
    rows.reservation(4, "REFUSED");

    rows.order(5, "rejected");
    rows.reservation(5, "RELEASED");
    rows.payment(5, "VOIDED");
    rows.charge(5, "CANCELLED");

    rows.order(10, "verifying");
    rows.order(11, "reserving");
    rows.reservation(11, "RESERVED");
    rows.order(12, "charging");
    rows.reservation(12, "RESERVED");
    rows.payment(12, "CHARGING");
    rows.charge(12, "CHARGED");
    rows.order(13, "refunding_to_cancel");
    rows.reservation(13, "RESERVED");
    rows.payment(13, "REFUNDING");
    rows.charge(13, "CHARGED");
    rows.order(14, "releasing_to_cancel");
    rows.reservation(14, "RESERVED");
    rows.payment(14, "REFUNDED");
    rows.charge(14, "CHARGED");
    rows.refund(14, PRICE);
    rows.order(15, "releasing_to_reject");
    rows
}

#[test]
fn consistent_tables_balance() {
    let done = balanced().read();
    assert_eq!(done.findings, []);
    assert_eq!(done.written_off, []);
    let orders = json!({"confirmed": 1, "rejected": 3, "cancelled": 1, "in_flight": 6});
    assert_eq!(json!(done.orders), orders);
    let stock = json!({"stocked": 10, "available": 5, "held": 5, "confirmed": 1, "in_flight": 4,
                       "written_off": 0, "unexplained": 0});
    assert_eq!(json!(done.stock["cup"]), stock);
    let money = json!({"charged": 5 * PRICE, "refunded": 2 * PRICE, "confirmed": PRICE,
                       "in_flight": 2 * PRICE, "written_off": 0, "unexplained": 0});
    assert_eq!(json!(done.money["USD"]), money);
}

#[test]
fn empty_tables_balance() {
    assert_eq!(Tables::default().read().findings, []);
}

/// Name, edits, subject and kinds of each case. See `Tables::edit` for the edits.
const CASES: &str = r#"
an unknown state | order 1 state "dreaming" | order 1 | Unreadable
an unreadable reservation | reservation 1 status "DREAMT" | order 1 | Unreadable
an unreadable payment | payment 1 version "two" | order 1 | Unreadable
an unreadable charge | ledger 1 outcome "DREAMT" | order 1 | Unreadable
an unreadable refund | refund 3 amount "all" | order 3 | Unreadable
an unreadable order and payment | order 1 state "dreaming"; payment 1 version "two" | order 1 | Unreadable Unreadable
an order that ends its customer's list | order 1 placed "yesterday" | order 1 | Misfiled
an order at another one's place in the list | order 1 placed "2026-01-02T03:00:00.000Z#00000000-0000-0000-0000-000000000002" | order 1 | Misfiled
an order without a place | order 1 placed null | order 1 | Misfiled
a user id in capitals | order 1 user_id "00000000-0000-0000-0000-0000000A11CE" | order 1 | Misfiled
an ended order that the sweeper finds | order 1 due_at "2026-01-02T03:04:20.000Z"; order 1 due_shard "DUE#1" | order 1 | Misfiled Misfiled
an order with another order's id | order 1 id "00000000-0000-0000-0000-000000000002" | order 1 | Unreadable
an order whose payment method is a card's number | order 1 payment_method "4242424242424242" | order 1 | Misshapen
a payment whose method is a card's number | payment 1 charge.method "424242424242" | order 1 | Misshapen
an unknown timeline event | order 1 timeline.0.what "order_dreamt" | order 1 | Misshapen
a line of zero units | order 4 lines.0.quantity 0 | order 4 | Misshapen
a total without a currency | order 1 total.currency "usd" | order 1 | Misshapen TotalDiffers ChargedOtherwise
an adjustment under another's key | adjustment 1 id "00000000-0000-0000-0000-000000000007" | cup | Misshapen
a payment without a method | payment 1 charge.method null | order 1 | Misshapen
a charge without the provider's id | ledger 1 payment_id null | order 1 | Misshapen
a refusal without its reason | reservation 4 refusal null | order 4 | Misshapen
an item that the catalogue does not list | item 0 catalogue null | cup | Misfiled
an unlisted user | user 0 status "asleep" | user | Misfiled
an order in an unswept partition | order 12 due_shard "DUE#8" | order 12 | NeverDue
a later attempt in an unswept partition | order 12 due_shard "DUE#8"; order 12 attempt 2 | order 12 | NeverDue
an order due in a year | order 12 due_at "2027-01-02T03:04:20.000Z" | order 12 | NeverDue
a time in another format | order 12 due_at "2026-01-02T03:04:20Z" | order 12 | NeverDue
an invalid time | order 12 due_at "soon" | order 12 | Unreadable
an order the sweeper skipped | order 11 due_at "2026-01-02T03:02:04.999Z" | order 11 | Overdue
a parked order | order 13 parked true | order 13 | Parked
an order without a partition | order 12 due_shard null | order 12 | NeverDue
an order that is never due | order 12 due_at null | order 12 | NeverDue
an order of a user who does not exist | order 4 user_id "00000000-0000-0000-0000-000000000009" | order 4 | NoSuchUser
a total that is not the sum of the lines | order 12 lines.0.unit_price.amount 701 | order 12 | TotalDiffers ReservedOtherwise
lines of two currencies | order 3 lines.0.unit_price.currency "EUR" | order 3 | TotalDiffers
a confirmed order without a total | order 1 total null | order 1 | TotalDiffers NotCharged
a confirmed order without a reservation | -reservation 1; hold -1 | order 1 | NotReserved
a confirmed order with released stock | reservation 1 status "RELEASED"; hold -1 | order 1 | NotReserved
a charging order without a reservation | -reservation 12; hold -1 | order 12 | NotReserved
more reserved than ordered | reservation 1 lines.0.quantity 2; hold 1 | order 1 | ReservedOtherwise
reserved at another price | reservation 1 lines.0.amount 1 | order 1 | ReservedOtherwise
a rejected order that still holds its stock | reservation 2 status "RESERVED"; hold 1 | order 2 | StillReserved
stock held after its refund was abandoned | reservation 2 status "RESERVED"; hold 1; note 2 refund_abandoned | order 2 | StillReserved
stock held before the request | +reservation 10 RESERVED | order 10 | StillReserved
stock held after its release was abandoned | reservation 2 status "RESERVED"; reservation 2 updated_at "2026-01-02T03:03:30.000Z"; hold 1; note 2 release_abandoned | order 2 | ReservedAfterAll
money kept after its refund was abandoned | payment 3 status "CHARGED"; payment 3 updated_at "2026-01-02T03:03:30.000Z"; -refund 3; note 3 refund_abandoned | order 3 | ChargedAfterAll
stock held for no order | +reservation 99 RESERVED | order 99 | ReservationOfNobody
an order whose row is gone | -order 1 | order 1 | ReservationOfNobody PaymentOfNobody
an item that is gone | -item 0 | cup | NoSuchItem
a missing unit | item 0 available 4 | cup | LevelsDiffer
an oversold item | item 0 available -1; item 0 stocked 4 | cup | BelowZero
a unit that no reservation holds | hold 1 | cup | HeldDiffers
adjustments beyond the stock | adjustment 1 delta 11 | cup | AdjustmentsDiffer
a confirmed order without a payment | -payment 1; -ledger 1 | order 1 | NotCharged
a confirmed order with a refunded charge | payment 1 status "REFUNDED"; +refund 1 700 | order 1 | NotCharged
a confirmed order with an open charge | payment 1 status "CHARGING" | order 1 | NotCharged
another amount charged than the total | payment 1 charge.amount 1; ledger 1 asked.amount 1 | order 1 | NotCharged ChargedOtherwise
a cancelled order that is still charged | payment 3 status "CHARGED"; -refund 3 | order 3 | StillCharged
a releasing order that is still charged | payment 14 status "CHARGED"; -refund 14 | order 14 | StillCharged
a charge before the request | +payment 11 CHARGED; +charge 11 CHARGED | order 11 | StillCharged
a rejected order whose payment is open | payment 2 status "CHARGING"; ledger 2 outcome "DECLINED" | order 2 | Unsettled
another user's payment | payment 1 user_id "00000000-0000-0000-0000-000000000009" | order 1 | AnotherUser
a payment for no order | +payment 99 CHARGED; +charge 99 CHARGED | order 99 | PaymentOfNobody
a payment under way for no order | +payment 99 CHARGING | order 99 | PaymentOfNobody
a refund for no order that payments did not record | +payment 99 CHARGED; +charge 99 CHARGED; +refund 99 700 | order 99 | LedgerDiffers
a payment for no order that the provider denies | +payment 99 CHARGED; +charge 99 DECLINED | order 99 | LedgerDiffers
a charge the provider denies | ledger 1 outcome "DECLINED" | order 1 | NotCharged LedgerDiffers
a charge without a ledger entry | -ledger 1 | order 1 | LedgerDiffers
a decline that took money | ledger 2 outcome "CHARGED" | order 2 | StillCharged LedgerDiffers
a refund without a ledger entry | -refund 3 | order 3 | StillCharged LedgerDiffers
an unrequested refund | +refund 1 700 | order 1 | NotCharged LedgerDiffers
a partial refund | refund 3 amount 699 | order 3 | StillCharged LedgerDiffers
a charge payments has no record of | +charge 4 CHARGED | order 4 | LedgerOfNobody
a double refund | +refund 3 700 | order 3 | OverRefunded LedgerDiffers RefundBeyondCharge
a refund of a charge that was declined | +refund 2 700 | order 2 | RefundBeyondCharge
"#;

struct Case {
    name: &'static str,
    rows: Tables,
    subject: Subject,
    kinds: Vec<&'static str>,
}

fn edited(edits: &str) -> Tables {
    let mut rows = balanced();
    edits.split("; ").for_each(|edit| rows.edit(edit));
    rows
}

fn kinds(done: &Reconciliation) -> Vec<Kind> {
    done.findings.iter().map(|finding| finding.kind).collect()
}

fn cases() -> impl Iterator<Item = Case> {
    CASES.trim().lines().map(|line| {
        let [name, edits, subject, kinds] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let subject = match subject {
            "cup" => Subject::Item("cup".to_owned()),
            "user" => Subject::Row(format!("USER#{} USER of the users table", user())),
            order => Subject::Order(id(order[6..].parse().expect("a number"))),
        };
        let kinds = kinds.split(' ').collect();
        Case {
            name,
            rows: edited(edits),
            subject,
            kinds,
        }
    })
}

fn named(kind: Kind) -> String {
    format!("{kind:?}")
}

#[test]
fn each_broken_invariant_is_a_finding_with_a_next_step() {
    for case in cases() {
        let name = case.name;
        let findings = case.rows.read().findings;
        let (mine, others): (Vec<_>, Vec<_>) = findings
            .iter()
            .partition(|finding| finding.subject == case.subject);
        let kinds: Vec<String> = mine.iter().map(|finding| named(finding.kind)).collect();
        assert_eq!(kinds, case.kinds, "{name}: {findings:#?}");
        for finding in &findings {
            assert!(
                !finding.what.is_empty() && !finding.next.is_empty(),
                "{name}"
            );
            assert!(!finding.next.contains('{'), "{name}: {}", finding.next);
        }
        // The item then holds other units than its reservations.
        let follows = |other: &&Finding| other.kind == Kind::HeldDiffers;
        assert!(others.iter().all(follows), "{name}: {others:#?}");
    }
}

/// A part of an advice, and a function that follows it.
type Advice = (&'static str, fn(&mut Tables, &Finding));

const ADVICE: [Advice; 14] = [
    ("saga retry", |rows, finding| {
        rows.order_row(number(finding))["attempt"] = json!(1);
        rows.is_due(number(finding));
    }),
    ("or the next step that saga ls prints", |rows, finding| {
        rows.note(number(finding), "refund_abandoned");
        rows.order_row(number(finding))["state"] = json!("releasing_to_cancel");
        rows.is_due(number(finding));
    }),
    ("cancel the order", |rows, finding| {
        let number = number(finding);
        let pk = format!("ORDER#{}", id(number));
        if !rows.payments.iter().any(|row| row["pk"] == pk.as_str()) {
            rows.payment(number, "VOIDED");
        }
        rows.settle(number);
        rows.order_row(number)["state"] = json!("cancelled");
        rows.release(number);
    }),
    ("RefundPayment was lost", |rows, finding| {
        rows.settle(number(finding));
    }),
    ("refund its charge at the provider", |rows, finding| {
        rows.settle(number(finding));
    }),
    ("or refund it at the provider", |rows, finding| {
        rows.refund_at_provider(number(finding));
    }),
    ("ReleaseStock was lost", |rows, finding| {
        rows.release(number(finding));
    }),
    ("reservation's row to RELEASED", |rows, finding| {
        rows.release(number(finding));
    }),
    ("if they were shipped", |rows, finding| {
        rows.release(number(finding));
        for level in ["stocked", "available"] {
            let item = &mut rows.inventory[0];
            item[level] = json!(item[level].as_i64().expect("a level") - 1);
        }
        rows.inventory.push(adjustment(json!(-1), 5));
    }),
    ("delete the wrong refund", |rows, finding| {
        let refund = format!("sim_{}", key(number(finding)));
        let place = rows
            .payments
            .iter()
            .rposition(|row| row["sk"] == "REFUND" && row["payment_id"] == refund.as_str());
        rows.payments.remove(place.expect("a refund"));
    }),
    ("set its ", as_advised),
    ("remove its ", as_advised),
    ("repair", |rows, _| *rows = balanced()),
    ("restore", |rows, _| *rows = balanced()),
];

fn number(finding: &Finding) -> u128 {
    match &finding.subject {
        Subject::Order(id) => id.as_u128(),
        Subject::Item(_) | Subject::Row(_) => panic!("no order: {finding:?}"),
    }
}

/// `set its ATTRIBUTE to VALUE in its row PK SK of the TABLE table`, or `remove its ATTRIBUTE from ...`.
fn as_advised(rows: &mut Tables, finding: &Finding) {
    let next = &*finding.next;
    let (attribute, value, place) = match next.strip_prefix("set its ") {
        Some(rest) => {
            let (change, place) = rest.split_once(" in its row ").expect("a row");
            let (attribute, value) = change.split_once(" to ").expect("a value");
            (attribute, json!(value), place)
        }
        None => {
            let rest = next.strip_prefix("remove its ").expect("what to do");
            let (attribute, place) = rest.split_once(" from its row ").expect("a row");
            (attribute, Value::Null, place)
        }
    };
    let (keys, table) = place.split_once(" of the ").expect("a table");
    let (pk, sk) = keys.split_once(' ').expect("two keys");
    let rows = match table {
        "users table" => &mut rows.users,
        "orders table" => &mut rows.orders,
        "inventory table" => &mut rows.inventory,
        other => panic!("no {other}"),
    };
    let row = rows
        .iter_mut()
        .find(|row| row["pk"] == pk && row["sk"] == sk);
    row.expect("the row that is named")[attribute] = value;
}

#[test]
fn a_finding_disappears_after_its_next_step() {
    let mut unused: BTreeSet<&str> = ADVICE.iter().map(|(says, _)| *says).collect();
    for Case { name, rows, .. } in cases() {
        for finding in rows.read().findings {
            let advice: Vec<&Advice> = ADVICE
                .iter()
                .filter(|(says, _)| finding.next.contains(says))
                .collect();
            assert!(!advice.is_empty(), "{name}: {}", finding.next);
            for (says, follow) in advice {
                unused.remove(says);
                let mut rows = rows.clone();
                follow(&mut rows, &finding);
                // One misfiled attribute is corrected at a time.
                let is_same = |left: &&Finding| {
                    (&left.subject, left.kind) == (&finding.subject, finding.kind)
                        && (left.kind != Kind::Misfiled || left.next == finding.next)
                };
                let left = rows.read().findings;
                let left = left.iter().find(is_same);
                assert!(left.is_none(), "{name}: {says}: {left:#?}");
            }
        }
    }
    assert_eq!(unused, BTreeSet::new(), "no finding has this next step");
}

#[test]
fn a_refunded_payment_needs_no_order() {
    for status in ["REFUNDED", "DECLINED", "VOIDED"] {
        let mut rows = balanced();
        rows.payment(99, status);
        rows.payment_row(99)["payment_id"] = json!("pi_123");
        assert_eq!(rows.read().findings, [], "{status}, by payments' word");
    }
    let mut rows = balanced();
    rows.payment(99, "REFUNDED");
    rows.charge(99, "CHARGED");
    rows.refund(99, PRICE);
    // Payments has no record of this one.
    rows.charge(98, "CHARGED");
    rows.refund(98, PRICE);
    let done = rows.read();
    assert_eq!(done.findings, []);
    assert_eq!(done.money["USD"].unexplained, 0);
}

#[test]
fn a_refunded_wrong_amount_is_a_remark() {
    let done =
        edited("payment 3 charge.amount 1; ledger 3 asked.amount 1; refund 3 amount 1").read();
    assert_eq!(done.findings, []);
    let output = "the provider was asked for 0.01 USD, but its total is 7.00 USD; it was refunded";
    assert_eq!(done.remarks, [format!("order {}: {output}", id(3))]);
}

#[test]
fn every_row_is_read_or_reported() {
    let mut rows = balanced();
    let all = |rows: &Tables| {
        let orders = rows.orders.len();
        BTreeMap::from([
            ("users", rows.users.len()),
            ("orders", orders),
            ("inventory", rows.inventory.len()),
            ("payments", rows.payments.len()),
        ])
    };
    rows.order_row(2)["state"] = json!("dreaming");
    rows.orders.push(json!({"pk": "ORDER#x", "sk": "ORDER"}));
    rows.orders
        .push(json!({"pk": format!("ORDER#{}", id(1)), "sk": "NOTE"}));
    rows.inventory.push(json!({"pk": "SHELF#1", "sk": "SHELF"}));
    rows.payments
        .push(json!({"pk": "ORDER#x", "sk": "PAYMENT"}));
    rows.payments.push(json!({}));
    let parsed = Rows::read(&rows.users, &rows.orders, &rows.inventory, &rows.payments);
    assert_eq!(parsed.rows, all(&rows));
    let read = parsed.orders.len() + parsed.items.len() + parsed.adjustments.len();
    let read = read + parsed.reservations.len() + parsed.payments.len();
    let read = read + parsed.charges.len() + parsed.refunds.len();
    let named = parsed.unreadable.len() + parsed.unknown.len();
    let scanned: usize = all(&rows).values().sum::<usize>() - rows.users.len();
    assert_eq!((parsed.unreadable.len(), parsed.unknown.len()), (3, 3));
    assert_eq!(read + named, scanned);
    let done = reconcile(&parsed, now());
    assert_eq!(done.remarks.len(), 3);
    assert!(
        done.remarks[0].contains("NOTE of the orders table"),
        "{:?}",
        done.remarks
    );
}

#[test]
fn the_record_of_a_key_is_read_as_its_service_does() {
    for (attribute, odd) in [("sku", "not a sku"), ("fingerprint", "odd")] {
        let mut rows = balanced();
        rows.inventory.push(
            json!({"pk": format!("KEY#{}", id(0xbea)), "sk": "KEY", "schema": 1, "sku": "cup",
                   "fingerprint": id(0xbeb), "created_at": "2026-01-02T03:00:00.000Z"}),
        );
        let done = rows.read();
        assert_eq!((done.findings, done.remarks), (vec![], vec![]));
        rows.inventory.last_mut().expect("the key")[attribute] = json!(odd);
        assert_eq!(rows.read().findings.len(), 1, "{attribute}");
    }
}

#[test]
fn unknown_attributes_are_allowed() {
    let mut rows = balanced();
    rows.order_row(1)["lines"][0]["name"] = json!("Cup");
    rows.reservation_row(1)["lines"][0]["name"] = json!("Cup");
    for row in rows
        .orders
        .iter_mut()
        .chain(&mut rows.inventory)
        .chain(&mut rows.payments)
    {
        row["colour"] = json!({"is": "new"});
    }
    let done = rows.read();
    assert_eq!((done.findings, done.remarks), (vec![], vec![]));
}

#[test]
fn write_only_attributes_may_be_missing() {
    let mut rows = balanced();
    let all = rows.orders.iter_mut().chain(&mut rows.inventory);
    for row in all.chain(&mut rows.payments) {
        let row = row.as_object_mut().expect("a row");
        let mut unread = vec!["schema", "created_by_request"];
        match row["sk"].as_str().expect("a key") {
            "RESERVATION" => unread.extend(["order_id", "created_at"]),
            sk if sk.starts_with("ADJUSTMENT#") => unread.push("sku"),
            _ => {}
        }
        for name in unread {
            row.remove(name);
        }
    }
    assert_eq!(rows.read().findings, []);
}

#[test]
fn unaccepted_currencies_are_read() {
    let mut rows = balanced();
    let text = serde_json::to_string(&[&rows.orders, &rows.inventory, &rows.payments]);
    let text = text.expect("JSON").replace("\"USD\"", "\"UDS\"");
    let [orders, inventory, payments]: [Vec<Value>; 3] = serde_json::from_str(&text).expect("JSON");
    (rows.orders, rows.inventory, rows.payments) = (orders, inventory, payments);
    let done = rows.read();
    assert_eq!(done.findings, []);
    assert_eq!(done.money["UDS"].confirmed, i128::from(PRICE));
}

#[test]
fn the_cases_cover_every_kind_of_finding() {
    let broken: BTreeSet<&str> = cases().flat_map(|case| case.kinds).collect();
    // The last variant, and the number of variants.
    assert!(broken.contains("RefundBeyondCharge"));
    assert_eq!(broken.len(), Kind::RefundBeyondCharge as usize + 1);
}

#[test]
fn differences_are_in_the_unexplained_columns() {
    let done = edited("reservation 2 status \"RESERVED\"; hold 1; +charge 4 CHARGED").read();
    assert_eq!(done.stock["cup"].unexplained, 1);
    let cash = done.money["USD"];
    assert_eq!(cash.unexplained, i128::from(PRICE));
    let accounts = [
        cash.confirmed,
        cash.in_flight,
        cash.written_off,
        cash.unexplained,
    ];
    assert_eq!(cash.charged - cash.refunded, accounts.iter().sum::<i128>());
}

#[test]
fn abandoned_steps_are_written_off() {
    let rows = edited(
        "payment 3 status \"REFUNDING\"; -refund 3; note 3 refund_abandoned; reservation 2 status \
         \"RESERVED\"; hold 1; note 2 release_abandoned",
    );
    let done = rows.read();
    assert_eq!(done.findings, []);
    let written_off = |order, what: &str| WrittenOff {
        order,
        what: what.to_owned(),
        decision: "by olga: settled by hand".to_owned(),
        next: None,
    };
    assert_eq!(
        done.written_off,
        [
            written_off(id(2), "1 of cup"),
            written_off(id(3), "7.00 USD")
        ]
    );
    assert_eq!(done.stock["cup"].written_off, 1);
    assert_eq!(done.money["USD"].written_off, i128::from(PRICE));
    assert_eq!(
        (done.stock["cup"].unexplained, done.money["USD"].unexplained),
        (0, 0)
    );
}

#[test]
fn an_abandoned_step_that_still_ran_is_not_written_off() {
    let done = edited("note 3 refund_abandoned; note 3 release_abandoned").read();
    assert_eq!((done.findings, done.written_off), (vec![], vec![]));
}

#[test]
fn a_charge_after_the_decision_is_not_written_off() {
    let rows = edited(
        "-refund 3; payment 3 status \"CHARGED\"; payment 3 updated_at \"2026-01-02T03:03:30.000Z\"; \
         note 3 refund_abandoned; reservation 2 status \"RESERVED\"; reservation 2 updated_at \
         \"2026-01-02T03:03:30.000Z\"; hold 1; note 2 release_abandoned",
    );
    let done = rows.read();
    assert_eq!(
        kinds(&done),
        [Kind::ReservedAfterAll, Kind::ChargedAfterAll]
    );
    assert_eq!(done.written_off, []);
    assert_eq!(
        (done.stock["cup"].unexplained, done.money["USD"].unexplained),
        (1, i128::from(PRICE))
    );
}

#[test]
fn a_step_that_ran_after_the_decision_is_reported() {
    let rows = edited(
        "note 3 refund_abandoned; note 3 release_abandoned; payment 3 updated_at \
         \"2026-01-02T03:03:30.000Z\"; reservation 3 updated_at \"2026-01-02T03:03:30.000Z\"",
    );
    let done = rows.read();
    assert_eq!(done.findings, []);
    assert_eq!(done.written_off, []);
    let output: Vec<&str> = done.after_all.iter().map(|entry| &*entry.what).collect();
    assert_eq!(
        output,
        [
            "released in spite of that, so twice if it was also settled by hand",
            "refunded in spite of that, so twice if it was also settled by hand",
        ]
    );
    assert!(done.after_all.iter().all(|entry| entry.next.is_some()));
}

#[test]
fn an_unreadable_row_changes_the_items_next_step() {
    let findings = edited("reservation 1 status \"DREAMT\"").read().findings;
    let held = findings.iter().find(|f| f.kind == Kind::HeldDiffers);
    let next = &held.expect("a unit is not accounted for").next;
    assert!(
        next.contains("cannot be read") && next.contains(&id(1).to_string()),
        "{next}"
    );
    assert!(!next.contains("repair its row by hand"), "{next}");

    let unreadable = edited("item 0 held \"many\"").read();
    assert_eq!(kinds(&unreadable), [Kind::Unreadable]);

    let mut rows = balanced();
    rows.inventory.push(adjustment(json!(7), 2));
    rows.inventory.push(adjustment(json!("less"), 3));
    assert_eq!(kinds(&rows.read()), [Kind::Unreadable]);
}

#[test]
fn money_of_unreadable_orders_is_counted() {
    let all = balanced().read().money["USD"];
    for spoil in [
        "payment 1 version \"two\"",
        "order 1 state \"dreaming\"",
        "order 3 state \"dreaming\"",
    ] {
        let cash = edited(spoil).read().money["USD"];
        let taken = (cash.charged, cash.refunded);
        assert_eq!(taken, (all.charged, all.refunded), "{spoil}");
    }
}

#[test]
fn an_item_names_its_first_twenty_orders() {
    let mut rows = balanced();
    rows.inventory[0]["stocked"] = json!(100);
    rows.inventory[0]["available"] = json!(95);
    for number in 100..130 {
        rows.order(number, "reserving");
        rows.reservation(number, "RESERVED");
    }
    rows.hold(1);
    let findings = rows.read().findings;
    let [finding] = &findings[..] else {
        panic!("{findings:#?}");
    };
    // Five orders of the balanced tables come first.
    for (number, is_named) in [
        (1, true),
        (11, true),
        (100, true),
        (114, true),
        (115, false),
    ] {
        let named = finding.next.contains(&id(number).to_string());
        assert_eq!(named, is_named, "{number}: {}", finding.next);
    }
    assert!(finding.next.ends_with(" and 15 more"), "{}", finding.next);
}

#[test]
fn rows_written_during_the_scan_are_in_flight() {
    let mut rows = balanced();
    rows.reservation(99, "RESERVED");
    rows.payment(99, "CHARGED");
    rows.charge(99, "CHARGED");
    // This payment's row came after the scan.
    rows.charge(98, "CHARGED");
    let mut parsed = Rows::read(&rows.users, &rows.orders, &rows.inventory, &rows.payments);
    assert_eq!(parsed.without_order(), BTreeSet::from([id(99)]));
    assert_eq!(parsed.without_payment(), BTreeSet::from([id(98)]));
    let mut later = Tables::default();
    later.order(99, "confirmed");
    later.payment(98, "CHARGED");
    parsed.found_meanwhile(&later.orders, &later.payments);
    let done = reconcile(&parsed, now());
    assert_eq!(done.findings, []);
    assert_eq!(done.stock["cup"].unexplained, 0);
    assert_eq!(done.money["USD"].unexplained, 0);

    let mut parsed = Rows::read(&rows.users, &rows.orders, &rows.inventory, &rows.payments);
    later.order_row(99)["state"] = json!("dreaming");
    parsed.found_meanwhile(&later.orders, &[]);
    let found = kinds(&reconcile(&parsed, now()));
    assert_eq!(found, [Kind::LedgerOfNobody, Kind::Unreadable]);
}

#[test]
fn an_order_is_overdue_after_two_sweeps() {
    let done = edited("order 11 due_at \"2026-01-02T03:02:05.000Z\"").read();
    assert_eq!(done.findings, []);
}

#[test]
fn without_a_ledger_payments_record_counts() {
    let mut rows = balanced();
    rows.payments.retain(|row| row["sk"] == "PAYMENT");
    for row in &mut rows.payments {
        if row["payment_id"].is_string() {
            row["payment_id"] = json!("pi_123");
        }
    }
    let done = rows.read();
    assert_eq!(done.findings, []);
    // The charge in flight is not recorded yet.
    assert_eq!(done.money["USD"].in_flight, i128::from(PRICE));
}

#[test]
fn the_largest_amounts_do_not_overflow() {
    let mut rows = Tables {
        users: balanced().users,
        ..Tables::default()
    };
    for number in 1..=3 {
        rows.order(number, "confirmed");
        let order = rows.order_row(number);
        order["lines"][0]["unit_price"] = usd(i64::MAX);
        order["total"] = usd(i64::MAX);
        rows.payment(number, "CHARGED");
        rows.charge(number, "CHARGED");
        rows.payment_row(number)["charge"]["amount"] = json!(i64::MAX);
        rows.ledger_row(number)["asked"]["amount"] = json!(i64::MAX);
    }
    let done = rows.read();
    assert_eq!(done.money["USD"].confirmed, 3 * i128::from(i64::MAX));
    assert_eq!(kinds(&done), [Kind::NotReserved; 3]);
}

#[test]
fn changed_rows_make_another_finding() {
    let mut rows = balanced();
    rows.hold(1);
    let before = rows.read().findings;
    rows.reservation(16, "RESERVED");
    rows.order(16, "reserving");
    let after = rows.read().findings;
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
}
