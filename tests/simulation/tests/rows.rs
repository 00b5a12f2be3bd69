//! The audit names each row that its service cannot read, list or sweep.

use inventory::domain::{RefusalCode, Sku};
use inventory::store::InventoryStore;
use ops::audit::reconcile::{Finding, reconcile};
use ops::audit::rows::{self, Rows};
use orders::domain::{OrderId, TimelineEvent, UserId};
use orders::store::{DUE_SHARDS, DuePartition, OrderStore};
use payments::store::PaymentStore;
use serde_json::{Value, json};
use test_support::Aws;
use users::store::UserStore;
use uuid::Uuid;

const ANN: Uuid = Uuid::from_u128(0xa11ce);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn order(number: u128, state: &str) -> Value {
    let price = json!({"amount": 700, "currency": "USD"});
    let mut order = json!({
        "pk": format!("ORDER#{}", id(number)), "sk": "ORDER", "schema": 1, "id": id(number),
        "user_id": ANN, "placed": format!("2026-01-02T03:0{number}:00.000Z#{}", id(number)),
        "lines": [{"sku": "cup", "quantity": 1, "unit_price": price}],
        "payment_method": "pm_card_visa", "expected_total": price, "fingerprint": id(9),
        "rehearsal": "reserve_stock=fail_once", "total": price, "state": state, "attempt": 0,
        "timeline": [
            {"at": "2026-01-02T03:00:00Z", "what": "order_placed"},
            {"at": "2026-01-02T03:00:01Z", "what": "stock_reserved", "attempt": 1, "detail": "a text"},
            // Entries of schema 2.
            "0 reserve_stock_requested#1",
            "1000 stock_reserved: for 700 USD",
        ],
        "created_at": format!("2026-01-02T03:0{number}:00Z"),
        "updated_at": "2026-01-02T03:04:00Z", "version": 3,
    });
    match state {
        "charging" => {
            order["attempt"] = json!(1);
            order["due_shard"] = json!(format!("DUE#{}", number % 8));
            order["due_at"] = json!("2026-01-02T03:09:00.000Z");
            order["parked"] = json!(false);
        }
        "rejected" => order["failure"] = json!({"code": "out_of_stock", "detail": "only 3 left"}),
        _ => {}
    }
    order
}

fn reservation(number: u128, status: &str) -> Value {
    let mut row = json!({
        "pk": format!("ORDER#{}", id(number)), "sk": "RESERVATION", "schema": 1,
        "order_id": id(number), "status": status,
        "created_at": "2026-01-02T03:02:00.000Z", "updated_at": "2026-01-02T03:02:00.000Z",
    });
    if status == "REFUSED" {
        row["refusal"] = json!({"code": "out_of_stock", "detail": "only 3 left", "sku": "cup"});
    } else {
        row["lines"] = json!([{"sku": "cup", "quantity": 1, "amount": 700, "currency": "USD"}]);
    }
    row
}

fn payment(number: u128, status: &str) -> Value {
    let key = format!("charge-{}", id(number));
    let mut row = json!({
        "pk": format!("ORDER#{}", id(number)), "sk": "PAYMENT", "schema": 1, "version": 2,
        "user_id": ANN, "status": status,
        "charge": {"key": key, "amount": 700, "currency": "USD", "method": "pm_card_visa"},
        "created_at": "2026-01-02T03:02:00.000Z", "updated_at": "2026-01-02T03:02:00.000Z",
    });
    match status {
        "DECLINED" => row["decline"] = json!({"code": "card_declined", "detail": "declined"}),
        "CHARGING" => {}
        _ => row["payment_id"] = json!("pi_1"),
    }
    row
}

/// The rows of users, orders, inventory and payments, as their services write them.
fn rows() -> [Vec<Value>; 4] {
    let user = json!({"pk": format!("USER#{ANN}"), "sk": "USER", "schema": 1, "id": ANN,
        "email": "ann@example.com", "name": "Ann", "role": "customer", "status": "active",
        "created_at": "2026-01-02T03:00:00.000Z", "generation": 0});
    let cup = json!({"pk": "ITEM#cup", "sk": "ITEM", "schema": 1, "catalogue": "ITEM", "sku": "cup",
        "name": "Cup", "amount": 700, "currency": "USD", "stocked": 10, "available": 8, "held": 2,
        "created_at": "2026-01-02T03:00:00.000Z", "updated_at": "2026-01-02T03:00:00.000Z",
        "created_by_request": id(8)});
    [
        vec![user],
        vec![
            order(1, "confirmed"),
            order(2, "charging"),
            order(3, "rejected"),
            order(4, "cancelled"),
        ],
        vec![
            cup,
            reservation(1, "RESERVED"),
            reservation(2, "RESERVED"),
            reservation(3, "REFUSED"),
            reservation(4, "RELEASED"),
        ],
        vec![
            payment(1, "CHARGED"),
            payment(2, "CHARGING"),
            payment(4, "REFUNDED"),
            payment(3, "DECLINED"),
        ],
    ]
}

struct World {
    aws: Aws,
    tables: [String; 4],
    orders: OrderStore,
    inventory: InventoryStore,
    payments: PaymentStore,
    users: UserStore,
}

impl World {
    async fn new() -> Self {
        let aws = Aws::new();
        aws.keep_no_calls();
        let tables = [
            aws.create_table("users", "UsersTable").await,
            aws.create_table("orders", "OrdersTable").await,
            aws.create_table("inventory", "InventoryTable").await,
            aws.create_table("payments", "PaymentsTable").await,
        ];
        let [users, orders, inventory, payments] = tables.clone();
        Self {
            orders: OrderStore::new(aws.dynamodb(), orders),
            inventory: InventoryStore::new(aws.dynamodb(), inventory),
            payments: PaymentStore::new(aws.dynamodb(), payments),
            users: UserStore::new(aws.dynamodb(), users),
            aws,
            tables,
        }
    }

    fn audit(&self) -> Vec<Finding> {
        let [users, orders, inventory, payments] =
            [0, 1, 2, 3].map(|table: usize| self.aws.dump(&self.tables[table]));
        let rows = Rows::read(&users, &orders, &inventory, &payments);
        reconcile(&rows, "2026-01-02T03:04:05Z".parse().unwrap()).findings
    }

    /// Whether the service reads the row, and lists and the sweeper find it.
    async fn has(&self, row: &Value) -> bool {
        let [pk, sk] = ["pk", "sk"].map(|key| row[key].as_str().unwrap());
        let of_order = || Uuid::try_parse(pk.strip_prefix("ORDER#").unwrap()).unwrap();
        match sk {
            "ORDER" => {
                let wanted = OrderId(of_order());
                let read = self.orders.get(wanted).await;
                let read = matches!(read, Ok(Some(order)) if order.id == wanted);
                let list = self.orders.list(UserId(ANN), None, 10, None).await;
                let list: Vec<Uuid> = list.unwrap().orders.iter().map(|o| o.id.0).collect();
                let mut swept = Vec::new();
                let is_in_flight = row["state"] != "confirmed";
                for partition in DuePartition::all().filter(|_| is_in_flight) {
                    let page = self.orders.due(partition, None, 100, None).await.unwrap();
                    swept.extend(page.entries.iter().map(|due| due.id.0));
                }
                read && list == [4, 3, 2, 1].map(id) && (!is_in_flight || swept == [id(2)])
            }
            "ITEM" => {
                let sku = Sku::parse(pk.strip_prefix("ITEM#").unwrap()).unwrap();
                let read = matches!(self.inventory.item(&sku).await, Ok(Some(_)));
                let page = self.inventory.page(None, 10, Uuid::nil()).await;
                read && page.is_ok_and(|page| page.items.len() == 1)
            }
            "RESERVATION" => matches!(self.inventory.reservation(of_order()).await, Ok(Some(_))),
            "PAYMENT" => {
                let wanted = payments::domain::OrderId(of_order());
                matches!(self.payments.find(wanted).await, Ok(Some(_)))
            }
            "USER" => {
                let page = self.users.page(None, None, 10).await;
                page.is_ok_and(|page| page.users.len() == 1)
            }
            other => panic!("no row is under {other}"),
        }
    }
}

/// Index keys: DynamoDB accepts only strings for them.
const KEYS: [&str; 8] = [
    "/user_id",
    "/placed",
    "/due_shard",
    "/due_at",
    "/catalogue",
    "/sku",
    "/status",
    "/id",
];

fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, v)| (name.clone(), v)).collect(),
        Value::Array(values) => {
            let numbered = values.iter().enumerate();
            numbered
                .map(|(number, v)| (number.to_string(), v))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for (name, member) in members {
        let path = format!("{at}/{name}");
        paths(member, &path, found);
        found.push(path);
    }
}

/// The attributes to spoil. Of two rows with the same attributes, only one is spoilt.
fn spoilt(row: &Value) -> Vec<String> {
    let some = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    match (row["sk"].as_str().unwrap(), row["pk"].as_str().unwrap()) {
        // The audit may read no other attribute of users.
        ("USER", _) => some(&["/id", "/status"]),
        ("ORDER", pk) if pk.ends_with('2') => {
            some(&["/state", "/attempt", "/due_shard", "/due_at", "/parked"])
        }
        ("ORDER", pk) if pk.ends_with('3') => {
            some(&["/failure", "/failure/code", "/failure/detail"])
        }
        ("ORDER" | "RESERVATION" | "PAYMENT", pk) if pk.ends_with(['2', '4']) => Vec::new(),
        _ => {
            let mut found = Vec::new();
            paths(row, "", &mut found);
            found.retain(|path| !["/pk", "/sk"].contains(&path.as_str()));
            found
        }
    }
}

/// Copies of the row with another value at this path, and one without it.
fn spoiled(row: &Value, path: &str, table: usize) -> Vec<Value> {
    // Index keys of another table may have any type.
    let is_key = KEYS.contains(&path) && table != 3 && row["sk"] != "RESERVATION";
    let others = [
        json!("odd"),
        json!("2031-01-01T00:00:00.000Z"),
        json!(id(0xff)),
        json!(ANN.to_string().to_uppercase()),
    ];
    let anything = [
        json!(null),
        json!(""),
        json!(0),
        json!(-1),
        json!(true),
        json!([]),
        json!({}),
    ];
    let anything = anything.into_iter().filter(|_| !is_key);
    let mut rows: Vec<Value> = Vec::new();
    for value in others.into_iter().chain(anything) {
        let mut spoiled = row.clone();
        *spoiled.pointer_mut(path).unwrap() = value;
        rows.push(spoiled);
    }
    let mut without = row.clone();
    let (parent, name) = path.rsplit_once('/').unwrap();
    if let Some(members) = without.pointer_mut(parent).unwrap().as_object_mut() {
        members.remove(name);
        rows.push(without);
    }
    rows
}

#[tokio::test]
async fn the_audit_names_every_row_that_no_service_sees() {
    let world = World::new().await;
    let rows = rows();
    for (table, rows) in rows.iter().enumerate() {
        for row in rows {
            world.aws.put_raw(&world.tables[table], row.clone());
        }
    }
    assert_eq!(world.audit(), []);
    let mut unseen = 0;
    let mut missed = Vec::new();
    for (table, rows) in rows.iter().enumerate() {
        for row in rows {
            assert!(world.has(row).await, "{row:#}");
            for path in spoilt(row) {
                for spoiled in spoiled(row, &path, table) {
                    world.aws.put_raw(&world.tables[table], spoiled.clone());
                    if !world.has(&spoiled).await {
                        unseen += 1;
                        if world.audit().is_empty() {
                            missed.push(format!(
                                "{} {path}: {:?}",
                                row["pk"],
                                spoiled.pointer(&path)
                            ));
                        }
                    }
                }
            }
            world.aws.put_raw(&world.tables[table], row.clone());
        }
    }
    assert!(
        missed.is_empty(),
        "{} of {unseen}:\n{}",
        missed.len(),
        missed.join("\n")
    );
    assert!(unseen > 300, "{unseen}");
}

#[test]
fn the_audit_knows_the_names_in_the_rows() {
    let events: Vec<&str> = TimelineEvent::ALL
        .iter()
        .map(|what| what.as_str())
        .collect();
    assert_eq!(events, rows::EVENTS);
    let refusals = RefusalCode::ALL.map(RefusalCode::as_str);
    assert_eq!(refusals, rows::REFUSALS);
    assert_eq!(DUE_SHARDS, rows::DUE_SHARDS);
}
