//! The orders table: rows, conditions, lists and indexes.

use jiff::{SignedDuration, Timestamp};
use orders::domain::{
    Command, Ending, Failure, Order, OrderId, State, Status, TimelineEvent, UserId,
};
use orders::store::{
    DUE_SHARDS, DuePage, DuePartition, Inserted, ListPosition, MAX_READ_PER_PAGE, OrderPage,
    OrderStore, Updated,
};
use proptest::sample::select;
use proptest::{collection, option, prelude::*};
use serde_json::{Value, json};
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;
use shared_lambda::telemetry::chain;
use test_support::{Aws, Fault};
use uuid::Uuid;

use crate::samples::{
    ANN, BOB, STATES, TIMEOUT, after, ends, order_in, placed, set_attribute, spoil, usd,
};

struct Table {
    aws: Aws,
    name: String,
    store: OrderStore,
}

impl Table {
    /// A page of Ann's orders.
    async fn list(
        &self,
        status: Option<Status>,
        limit: usize,
        after: Option<ListPosition>,
    ) -> Result<OrderPage, TableError> {
        self.store.list(UserId(ANN), status, limit, after).await
    }
}

/// A table with one order.
async fn table_with(order: &Order) -> Table {
    let table = table().await;
    table.store.insert(order).await.unwrap();
    table
}

fn id(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn ids(page: &OrderPage) -> Vec<OrderId> {
    page.orders.iter().map(|order| order.id).collect()
}

async fn table() -> Table {
    let aws = Aws::new();
    let name = aws.create_table("orders", "OrdersTable").await;
    let store = OrderStore::new(aws.dynamodb(), name.clone());
    Table { aws, name, store }
}

fn needs_total(state: State) -> bool {
    state.command().is_some_and(Command::needs_total)
}

#[tokio::test]
async fn an_order_is_read_as_written_in_every_state() {
    for state in STATES {
        let table = table().await;
        let mut order = order_in(state);
        order.expected_total = Some(usd(3400));
        order.failure = Some(Failure {
            code: "price_changed".to_owned(),
            detail: "the total is 35.00 USD, not the expected 34.00 USD".to_owned(),
        });
        order.total = Some(usd(3500));
        order.parked = !ends(state);
        assert_eq!(table.store.insert(&order).await.unwrap(), Inserted::New);
        assert_eq!(
            table.store.get(order.id).await.unwrap().as_ref(),
            Some(&order)
        );

        let mut bare = order_in(state);
        bare.id = id(0xbabe);
        (bare.failure, bare.expected_total) = (None, None);
        bare.total = bare.total.filter(|_| needs_total(state));
        bare.lines
            .iter_mut()
            .for_each(|line| line.unit_price = None);
        bare.timeline.clear();
        table.store.insert(&bare).await.unwrap();
        assert_eq!(table.store.get(bare.id).await.unwrap(), Some(bare));
    }
}

#[tokio::test]
async fn a_row_follows_the_key_design() {
    let table = table_with(&placed(0x2a)).await;
    let id = "00000000-0000-0000-0000-00000000002a";
    assert_eq!(
        table.aws.dump(&table.name),
        [json!({
            "pk": format!("ORDER#{id}"),
            "sk": "ORDER",
            "schema": 2,
            "id": id,
            "user_id": ANN,
            "placed": format!("2026-01-02T03:04:05.678Z#{id}"),
            "lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}],
            "payment_method": "pm_card_visa",
            "fingerprint": "00000000-0000-0000-0000-00000000000f",
            "state": "reserving",
            "attempt": 1,
            "due_shard": "DUE#2",
            "due_at": "2026-01-02T03:04:35.678Z",
            "timeline": [
                "0 order_placed",
                "0 user_verified",
                "0 reserve_stock_requested#1",
            ],
            "created_at": "2026-01-02T03:04:05.678Z",
            "updated_at": "2026-01-02T03:04:05.678Z",
            "version": 1,
        })]
    );
}

#[tokio::test]
async fn a_second_insert_returns_the_first_order() {
    let table = table().await;
    let first = placed(1);
    let mut second = placed(1);
    second.fingerprint = Uuid::from_u128(0xe);
    assert_eq!(table.store.insert(&first).await.unwrap(), Inserted::New);
    let existing = Inserted::Existing(Box::new(first.clone()));
    assert_eq!(table.store.insert(&second).await.unwrap(), existing);
    assert_eq!(table.store.get(first.id).await.unwrap(), Some(first));
}

#[tokio::test]
async fn an_insert_does_not_reveal_another_users_order() {
    let (anns, mut bobs) = (placed(1), placed(1));
    bobs.user_id = UserId(BOB);
    let table = table_with(&anns).await;
    let error = table.store.insert(&bobs).await.unwrap_err();
    assert!(error.is_corrupt());
    let text = chain(&error);
    assert!(text.contains(&anns.id.0.to_string()), "{text}");
    assert!(!text.contains(&ANN.to_string()), "{text}");
    assert_eq!(table.store.get(anns.id).await.unwrap(), Some(anns));
}

#[tokio::test]
async fn an_update_needs_the_version_before_it() {
    let before = placed(1);
    let table = table_with(&before).await;
    let (mut winner, mut loser) = (before.clone(), before.clone());
    (winner.version, winner.attempt) = (2, 2);
    (loser.version, loser.attempt) = (2, 5);
    for (order, outcome) in [(&winner, Updated::Done), (&loser, Updated::Overtaken)] {
        assert_eq!(table.store.update(order).await.unwrap(), outcome);
    }
    // A repeat of the same write succeeds.
    assert_eq!(table.store.update(&winner).await.unwrap(), Updated::Done);
    assert_eq!(table.store.get(before.id).await.unwrap(), Some(winner));
}

#[tokio::test]
async fn an_update_does_not_create_an_order() {
    let table = table().await;
    let mut order = placed(1);
    order.version = 2;
    assert_eq!(
        table.store.update(&order).await.unwrap(),
        Updated::Overtaken
    );
    assert!(table.aws.dump(&table.name).is_empty());
}

#[tokio::test]
async fn of_twenty_parallel_updates_one_succeeds() {
    for seed in 0..10 {
        let before = placed(1);
        let table = table_with(&before).await;
        table.aws.interleave(seed);
        let writers = (0..20).map(|attempt| {
            let mut next = before.clone();
            (next.version, next.attempt) = (2, attempt);
            let store = &table.store;
            async move { store.update(&next).await.unwrap() }
        });
        let outcomes = futures_util::future::join_all(writers).await;
        let done = outcomes.iter().filter(|outcome| **outcome == Updated::Done);
        assert_eq!(done.count(), 1, "seed {seed}");
    }
}

#[tokio::test]
async fn orders_are_read_consistently() {
    let table = table().await;
    let ids = with_orders(&table, 2, |_| State::Confirmed).await;
    table.aws.clear_calls();
    table.store.get(ids[0]).await.unwrap();
    table.list(None, 20, None).await.unwrap();
    let calls = table.aws.calls();
    let actions: Vec<&str> = calls.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(actions, ["GetItem", "Query", "BatchGetItem"]);
    // An index cannot be read consistently.
    for call in calls.iter().filter(|call| call.action != "Query") {
        assert!(!call.may_be_stale(), "{call:?}");
    }
}

#[tokio::test]
async fn a_corrupt_row_is_an_error_that_names_the_field() {
    let time = "2026-01-02T03:04:05.678Z";
    for (field, wrong, named) in [
        ("state", json!("dreaming"), "state"),
        ("state", Value::Null, "missing field `state`"),
        ("version", Value::Null, "missing field `version`"),
        ("timeline", Value::Null, "missing field `timeline`"),
        (
            "payment_method",
            json!("4242424242424242"),
            "payment_method",
        ),
        ("due_at", json!("soon"), "due_at"),
        ("lines", json!([{"sku": "", "quantity": 1}]), "sku"),
        ("lines", json!([{"sku": "cup", "quantity": 0}]), "quantity"),
        ("total", json!({"amount": -1, "currency": "USD"}), "amount"),
        ("total", json!({"amount": 1}), "currency"),
        (
            "expected_total",
            json!({"amount": 1, "currency": "usd"}),
            "amount",
        ),
        (
            "timeline",
            json!([{"at": time, "what": "eaten"}]),
            "timeline",
        ),
        ("version", json!("two"), "version"),
        ("fingerprint", json!("x"), "fingerprint"),
        ("created_at", json!("yesterday"), "created_at"),
        ("attempt", json!(-1), "attempt"),
        // Contradictions: a charge without its total, and another order's id.
        ("total", Value::Null, "total"),
        (
            "id",
            json!(Uuid::from_u128(0xff)),
            "id that is not its key's",
        ),
    ] {
        let order = order_in(State::Charging);
        let table = table_with(&order).await;
        set_attribute(&table.aws, &table.name, field, wrong.clone());
        let error = table.store.get(order.id).await.unwrap_err();
        assert!(error.is_corrupt(), "{field} = {wrong}");
        let text = chain(&error);
        assert!(text.contains(named), "{field} = {wrong}: {text}");
    }
}

#[tokio::test]
async fn a_row_needs_no_index_keys_and_may_have_unknown_fields() {
    for (field, value) in [
        ("schema", Value::Null),
        ("placed", Value::Null),
        ("due_shard", Value::Null),
        ("gift_wrap", json!(true)),
    ] {
        let order = placed(1);
        let table = table_with(&order).await;
        set_attribute(&table.aws, &table.name, field, value);
        let read = table.store.get(order.id).await.unwrap();
        assert_eq!(read, Some(order), "{field}");
    }
}

/// Inserts `count` orders of Ann, one a second, and some of Bob in between.
async fn with_orders(table: &Table, count: u128, state: impl Fn(u128) -> State) -> Vec<OrderId> {
    let mut ids = Vec::new();
    for number in 1..=count {
        let mut order = order_in(state(number));
        order.id = id(number);
        order.created_at = after(i64::try_from(number).unwrap());
        table.store.insert(&order).await.unwrap();
        ids.insert(0, order.id);
        if number < 10 {
            order.id = id(1000 + number);
            order.user_id = UserId(BOB);
            table.store.insert(&order).await.unwrap();
        }
    }
    ids
}

/// Every page of a list, as ids.
async fn pages(table: &Table, status: Option<Status>, limit: usize) -> Vec<Vec<OrderId>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = table.list(status, limit, after).await.unwrap();
        pages.push(ids(&page));
        match page.next {
            Some(next) => after = Some(next),
            None => return pages,
        }
        assert!(pages.len() < 200, "the list does not end");
    }
}

#[tokio::test]
async fn a_list_is_newest_first_for_every_page_size() {
    let table = table().await;
    let ids = with_orders(&table, 7, |_| State::Confirmed).await;
    for limit in 1..=9 {
        let pages = pages(&table, None, limit).await;
        assert_eq!(pages.concat(), ids, "limit {limit}");
        // All pages but the last are full, and the last is not empty.
        assert_eq!(pages.len(), ids.len().div_ceil(limit), "limit {limit}");
        let (last, full) = pages.split_last().unwrap();
        assert!(full.iter().all(|page| page.len() == limit));
        assert!(!last.is_empty());
    }
}

#[tokio::test]
async fn orders_of_one_millisecond_are_listed_once_each() {
    let table = table().await;
    for number in 1..=5 {
        table.store.insert(&placed(number)).await.unwrap();
    }
    let mut listed = pages(&table, None, 2).await.concat();
    assert_eq!(listed.len(), 5);
    listed.dedup();
    assert_eq!(listed.len(), 5);
}

#[tokio::test]
async fn a_list_without_orders_is_one_empty_page() {
    let table = table().await;
    assert_eq!(pages(&table, None, 20).await, [Vec::<OrderId>::new()]);
    assert_eq!(
        pages(&table, Some(Status::Pending), 20).await,
        [Vec::<OrderId>::new()]
    );
}

#[tokio::test]
async fn a_list_of_one_status_has_exactly_its_orders() {
    let state = |number: u128| STATES[usize::try_from(number).unwrap() % STATES.len()];
    let table = table().await;
    with_orders(&table, 40, state).await;
    for status in Status::ALL {
        let wanted: Vec<OrderId> = (1..=40)
            .rev()
            .filter(|number| order_in(state(*number)).status() == status)
            .map(id)
            .collect();
        assert!(!wanted.is_empty());
        for limit in [1, 3, 4, 20, 100] {
            let pages = pages(&table, Some(status), limit).await;
            assert_eq!(pages.concat(), wanted, "{status:?}, limit {limit}");
        }
    }
}

#[tokio::test]
async fn a_rare_status_is_found_in_few_calls() {
    let table = table().await;
    let rare = |number| match number {
        1 | 2 => State::Rejected,
        _ => State::Confirmed,
    };
    with_orders(&table, 100, rare).await;
    table.aws.clear_calls();
    let page = table
        .store
        .list(UserId(ANN), Some(Status::Rejected), 2, None)
        .await
        .unwrap();
    assert_eq!(page.orders.len(), 2);
    assert_eq!(page.next, None);
    let calls = table.aws.calls().len();
    assert!(calls <= 2, "{calls} calls for 100 orders");
}

/// How many rows the calls since the last look have asked for.
fn rows_read(table: &Table) -> usize {
    let calls = table.aws.calls();
    table.aws.clear_calls();
    let batches = calls.iter().filter(|call| call.action == "BatchGetItem");
    let keys = batches.map(|call| {
        let keys = &call.request["RequestItems"][&table.name]["Keys"];
        keys.as_array().unwrap().len()
    });
    keys.sum()
}

#[tokio::test]
async fn a_page_reads_a_hundred_rows_at_most() {
    let table = table().await;
    with_orders(&table, 250, |_| State::Confirmed).await;
    spoil(
        &table.aws,
        &table.name,
        &(100..160).map(id).collect::<Vec<_>>(),
    );
    for status in [None, Some(Status::Rejected), Some(Status::Confirmed)] {
        for limit in [1, 20, 100] {
            let mut after = None;
            for _ in 0..3 {
                table.aws.clear_calls();
                let page = table.list(status, limit, after).await;
                let read = rows_read(&table);
                assert!(
                    read <= MAX_READ_PER_PAGE,
                    "{status:?}, {limit}: {read} rows"
                );
                after = page.unwrap().next;
                if after.is_none() {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn unreadable_rows_do_not_end_a_list() {
    let table = table().await;
    let mut ids = with_orders(&table, 130, |_| State::Confirmed).await;
    spoil(
        &table.aws,
        &table.name,
        &(3..126).map(id).collect::<Vec<_>>(),
    );
    ids.retain(|id| !(3..126).contains(&id.0.as_u128()));
    for limit in [1, 3, 100] {
        assert_eq!(
            pages(&table, None, limit).await.concat(),
            ids,
            "limit {limit}"
        );
    }
}

#[tokio::test]
async fn an_unusual_sort_key_does_not_end_a_list() {
    // Before all others, after all others, and between them.
    for odd in [
        "yesterday",
        "#",
        "2026-01-02T03:04:09.678",
        "2026-01-02T03:04:09.678Z#x",
    ] {
        let table = table().await;
        let ids = with_orders(&table, 7, |_| State::Confirmed).await;
        for mut row in table.aws.dump(&table.name) {
            if row["id"] == ids[2].0.to_string() {
                row["placed"] = json!(odd);
                table.aws.put_raw(&table.name, row);
            }
        }
        for status in [None, Some(Status::Confirmed)] {
            for limit in [1, 2, 3, 20] {
                let mut listed = pages(&table, status, limit).await.concat();
                assert_eq!(listed.len(), ids.len(), "{odd}, limit {limit}");
                listed.retain(|id| *id != ids[2]);
                assert_eq!(
                    listed,
                    [&ids[..2], &ids[3..]].concat(),
                    "{odd}, limit {limit}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_filtered_page_may_be_empty_with_more_to_come() {
    let table = table().await;
    let ids = with_orders(&table, 101, |number| match number {
        1 => State::Rejected,
        _ => State::Confirmed,
    })
    .await;
    let rejected = Some(Status::Rejected);
    let first = table.list(rejected, 20, None).await.unwrap();
    assert!(first.orders.is_empty());
    assert!(first.next.is_some());
    let second = table.list(rejected, 20, first.next).await.unwrap();
    assert_eq!(second.orders[0].id, ids[100]);
    assert_eq!(second.next, None);
}

#[tokio::test]
async fn another_users_cursor_does_not_open_their_list() {
    let table = table().await;
    with_orders(&table, 3, |_| State::Confirmed).await;
    let bobs = table.store.list(UserId(BOB), None, 1, None).await.unwrap();
    let page = table.list(None, 20, bobs.next).await.unwrap();
    assert!(page.orders.iter().all(|order| order.user_id == UserId(ANN)));
}

#[tokio::test]
async fn unprocessed_keys_of_a_batch_are_read_again() {
    let table = table().await;
    let ids = with_orders(&table, 3, |_| State::Confirmed).await;
    for _ in 0..2 {
        table
            .aws
            .fault_on("dynamodb:BatchGetItem", Fault::Unprocessed);
    }
    let page = table.list(None, 20, None).await.unwrap();
    assert_eq!(table.aws.fired(), 2);
    assert_eq!(self::ids(&page), ids);
}

#[tokio::test]
async fn a_batch_that_never_finishes_is_an_error() {
    let table = table().await;
    with_orders(&table, 8, |_| State::Confirmed).await;
    for _ in 0..5 {
        table
            .aws
            .fault_on("dynamodb:BatchGetItem", Fault::Unprocessed);
    }
    let error = table.list(None, 20, None).await.unwrap_err();
    assert!(chain(&error).contains("read orders"), "{}", chain(&error));
}

async fn found_due(table: &Table, order: &Order) -> Vec<DuePartition> {
    let late = after(10_000);
    let mut found = Vec::new();
    for partition in DuePartition::all() {
        let page = table.store.due(partition, Some(late), 10, None).await;
        let found_here = page.unwrap().entries.iter().any(|due| due.id == order.id);
        if found_here {
            found.push(partition);
        }
    }
    found
}

#[tokio::test]
async fn only_orders_in_flight_are_in_the_due_index() {
    for state in STATES {
        let order = order_in(state);
        let table = table_with(&order).await;
        let shard = DuePartition::Shard(order.id.0.as_bytes()[15] % DUE_SHARDS);
        let expected: &[DuePartition] = if ends(state) { &[] } else { &[shard] };
        assert_eq!(found_due(&table, &order).await, expected, "{state:?}");
    }
}

#[tokio::test]
async fn parked_and_ended_orders_move_in_the_due_index() {
    let mut order = order_in(State::Releasing(Ending::Cancelled));
    let table = table_with(&order).await;
    assert_ne!(found_due(&table, &order).await, [DuePartition::Parked]);

    (order.version, order.parked) = (order.version + 1, true);
    table.store.update(&order).await.unwrap();
    assert_eq!(found_due(&table, &order).await, [DuePartition::Parked]);

    (order.version, order.parked) = (order.version + 1, false);
    (order.state, order.due_at) = (State::Cancelled, None);
    table.store.update(&order).await.unwrap();
    assert_eq!(found_due(&table, &order).await, []);
    let row = table.aws.dump(&table.name).remove(0);
    assert_eq!((row.get("due_at"), row.get("due_shard")), (None, None));
}

#[tokio::test]
async fn due_orders_are_exact_sorted_and_limited() {
    let table = table().await;
    // Ids of one partition have the same last byte.
    let id = |number: u128| id(number << 8);
    for (number, seconds) in [(1, 50), (2, 10), (3, 30)] {
        let mut order = placed(0);
        order.id = id(number);
        order.due_at = Some(after(seconds));
        table.store.insert(&order).await.unwrap();
    }
    let due = async |now, limit| {
        let partition = DuePartition::Shard(0);
        let page = table.store.due(partition, Some(now), limit, None).await;
        let ids = |page: DuePage| page.entries.iter().map(|due| due.id).collect::<Vec<_>>();
        ids(page.unwrap())
    };
    let moment = SignedDuration::from_millis(1);
    assert_eq!(due(after(10) - moment, 9).await, []);
    assert_eq!(due(after(10), 9).await, [id(2)]);
    assert_eq!(due(after(50) - moment, 9).await, [id(2), id(3)]);
    assert_eq!(due(after(50), 9).await, [id(2), id(3), id(1)]);
    assert_eq!(due(after(50), 2).await, [id(2), id(3)]);
}

#[tokio::test]
async fn orders_are_spread_over_all_partitions() {
    let table = table().await;
    for number in 0..u128::from(DUE_SHARDS) {
        table.store.insert(&placed(number)).await.unwrap();
    }
    for shard in 0..DUE_SHARDS {
        let partition = DuePartition::Shard(shard);
        let due = table
            .store
            .due(partition, Some(after(TIMEOUT.0.as_secs())), 10, None)
            .await;
        assert_eq!(due.unwrap().entries.len(), 1, "shard {shard}");
        assert_eq!(table.store.count(partition).await.unwrap(), 1);
    }
    assert_eq!(table.store.count(DuePartition::Parked).await.unwrap(), 0);
}

#[tokio::test]
async fn a_partition_is_read_in_pages() {
    let table = table().await;
    let partition = DuePartition::Shard(0);
    for number in 1..=5 {
        let mut order = placed(number << 8);
        order.due_at = Some(after(i64::try_from(number).unwrap() * 1_000));
        table.store.insert(&order).await.unwrap();
    }
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = table.store.due(partition, None, 2, next).await.unwrap();
        assert!(page.entries.len() <= 2 && page.unreadable == 0);
        found.extend(page.entries.iter().map(|due| (due.id, due.at)));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (1..=5)
        .map(|number| {
            let seconds = i64::try_from(number).unwrap() * 1_000;
            (placed(number << 8).id, after(seconds))
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(table.store.count(partition).await.unwrap(), 5);
}

#[tokio::test]
async fn a_failing_table_is_a_503() {
    for fault in [Fault::BeforeEffect, Fault::Throttle] {
        let table = table().await;
        for action in ["GetItem", "PutItem", "PutItem", "Query"] {
            let action = format!("dynamodb:{action}");
            table.aws.fault_on(&action, fault.clone());
        }
        for error in [
            table.store.get(id(1)).await.unwrap_err(),
            table.store.insert(&placed(1)).await.unwrap_err(),
            table.store.update(&placed(2)).await.unwrap_err(),
            table.list(None, 20, None).await.unwrap_err(),
        ] {
            assert_eq!(Problem::from(error).status(), 503);
        }
    }
}

// ---- Rows of all versions

fn any_money() -> impl Strategy<Value = Value> {
    (0..=i64::MAX, "[A-Z]{3}")
        .prop_map(|(amount, currency)| json!({"amount": amount, "currency": currency}))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_i64).prop_map(|time| Timestamp::from_millisecond(time).unwrap())
}

fn any_line() -> impl Strategy<Value = Value> {
    (
        "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        1..=10_000_i64,
        option::of(any_money()),
        option::of("\\PC{1,200}"),
    )
        .prop_map(|(sku, quantity, unit_price, name)| {
            given(json!({"sku": sku, "quantity": quantity, "unit_price": unit_price, "name": name}))
        })
}

fn any_entry() -> impl Strategy<Value = Value> {
    let what = select(TimelineEvent::ALL).prop_map(TimelineEvent::as_str);
    let attempt =
        option::of(1..99_u32).prop_map(|attempt| attempt.map(|number| format!("#{number}")));
    let detail =
        option::of(any::<String>()).prop_map(|detail| detail.map(|text| format!(": {text}")));
    (-4_000_000_000_i64..4_000_000_000, what, attempt, detail).prop_map(
        |(millis, what, attempt, detail)| {
            let [attempt, detail] = [attempt, detail].map(Option::unwrap_or_default);
            json!(format!("{millis} {what}{attempt}{detail}"))
        },
    )
}

/// A row without its null values.
fn given(mut row: Value) -> Value {
    row.as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    row
}

/// Rows that some version may have written, by its rules for input.
fn any_row() -> impl Strategy<Value = Value> {
    let token = "[A-Za-z0-9_-]{1,128}".prop_filter("a card number was never accepted", |token| {
        !((12..=19).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_digit()))
    });
    let failure = (any::<String>(), any::<String>())
        .prop_map(|(code, detail)| json!({"code": code, "detail": detail}));
    let bought = (
        collection::vec(any_line(), 1..4),
        token,
        option::of(any_money()),
        (any_money(), any::<bool>()),
    );
    let went = (
        select(&STATES),
        option::of(failure),
        0..99_u32,
        option::of(any_time()),
        collection::vec(any_entry(), 0..4),
    );
    (bought, went, any_time()).prop_map(|(bought, went, created_at)| {
        let (lines, payment_method, expected_total, (total, has_total)) = bought;
        let (state, failure, attempt, due_at, timeline) = went;
        // No version charged without a total.
        let total = Some(total).filter(|_| has_total || needs_total(state));
        let id = Uuid::from_u128(8);
        let due_at = due_at.filter(|_| !ends(state)).map(|at| format!("{at:.3}"));
        given(json!({
            "pk": format!("ORDER#{id}"), "sk": "ORDER", "schema": 2, "id": id, "user_id": ANN,
            "placed": format!("{created_at:.3}#{id}"), "lines": lines,
            "payment_method": payment_method, "expected_total": expected_total,
            "fingerprint": Uuid::from_u128(0xf), "total": total,
            "state": state.as_str(), "failure": failure, "attempt": attempt,
            "due_shard": due_at.as_ref().map(|_| "DUE#0"), "due_at": due_at, "timeline": timeline,
            "created_at": created_at, "updated_at": created_at, "version": 1,
        }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_accepted_row_is_read_and_written_back_whole(row in any_row()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let table = table().await;
            table.aws.put_raw(&table.name, row.clone());
            let id = id(8);
            let mut order = table.store.get(id).await.unwrap().unwrap();
            order.version = 2;
            table.store.update(&order).await.unwrap();
            let mut written = table.aws.dump(&table.name).remove(0);
            written["version"] = json!(1);
            assert_eq!(written, row);
        });
    }
}
