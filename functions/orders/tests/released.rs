//! Orders and messages of every release are read; those of this code are recorded.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use orders::domain::{
    Decision, Event, InjectedFaults, MAX_ATTEMPTS, Order, TimelineEvent, decide, place,
};
use orders::messages::{event, owed_message};
use orders::store::{DuePartition, Updated};
use serde_json::{Value, json};
use shared_lambda::envelope::Envelope;
use test_support::released::{
    self, assert_messages_are_read, assert_recorded, assert_rows_are_read,
};

use crate::domain::cases;
use crate::samples::{STATES, TIMEOUT, draft, draft_reserved, start, usd};
use crate::world::{INVENTORY_QUEUE, PAYMENTS_QUEUE, World, about, admin, body, routes};

/// One order for each state, last event and failure that any sequence of events leads to.
fn orders() -> Vec<Order> {
    let mut full = draft(2);
    full.expected_total = Some(usd(3500));
    let faults = "verify_user=fail_once, reserve_stock=timeout, charge_payment=lost_reply_once, \
                  refund_payment=fail, release_stock=timeout_once";
    full.faults = Some(InjectedFaults::parse(faults).unwrap());
    let mut other = draft(3);
    other.expected_total = Some(usd(3499));
    let mut named = draft_reserved();
    named[0].name = Some("Cup".to_owned());
    let mut events: Vec<Event> = cases().into_iter().map(|case| case.event).collect();
    events.insert(0, Event::StockReserved { lines: named });
    let mut waiting = vec![
        place(draft(1), true, TIMEOUT, start()),
        place(full, false, TIMEOUT, start()),
        place(other, true, TIMEOUT, start()),
    ];
    let kind = |order: &Order| {
        let last = order.timeline.iter().rev().take(2);
        let last: Vec<_> = last.map(|entry| entry.event.as_str()).collect();
        let failure = order.failure.as_ref().map(|failure| &failure.code);
        let (state, parked) = (order.state.as_str(), order.parked);
        format!("{state} {parked} {last:?} {failure:?}")
    };
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    while let Some(order) = waiting.pop() {
        // A parked order can be tried again without end.
        let attempt = order.attempt.min(MAX_ATTEMPTS + 1);
        if !seen.insert(format!("{} {} {attempt}", order.id.0, kind(&order))) {
            continue;
        }
        for event in &events {
            let next = order.updated_at + SignedDuration::from_secs(1);
            let now = match (event, order.due_at) {
                (Event::Due, Some(due_at)) => due_at,
                _ => next,
            };
            if let Decision::Advance(next) = decide(&order, event, TIMEOUT, now) {
                waiting.push(*next);
            }
        }
        found.push(order);
    }
    let mut kinds = BTreeSet::new();
    found.retain(|order| kinds.insert(kind(order)));
    found
}

async fn written() -> Vec<Value> {
    let orders = orders();
    let states: BTreeSet<_> = orders.iter().map(|order| order.state.as_str()).collect();
    assert_eq!(states.len(), STATES.len());
    let events: BTreeSet<_> = orders
        .iter()
        .flat_map(|order| order.timeline.iter().map(|entry| entry.event.as_str()))
        .collect();
    assert_eq!(events.len(), TimelineEvent::ALL.len(), "{events:?}");
    let (mut lines, mut sent) = (Vec::new(), BTreeSet::new());
    for order in &orders {
        let world = World::with(order).await;
        let row = world.aws.dump(&world.table).remove(0);
        lines.push(released::row(&row, &read(&row).await.unwrap()));
        let Some(command) = owed_message(order, &routes(), &world.context()).unwrap() else {
            continue;
        };
        let to = match command.queue_url() {
            INVENTORY_QUEUE => "inventory",
            PAYMENTS_QUEUE => "payments",
            _ => "users",
        };
        let line = released::message(to, command.body());
        let (kind, fault) = (&line["message"]["type"], &line["message"]["fault"]);
        if sent.insert(format!("{kind} {fault}")) {
            lines.push(line);
        }
    }
    lines
}

/// The values for the API, the lists and the sweeper. An update of the row must succeed too.
async fn read(row: &Value) -> Result<Value, String> {
    let world = World::new();
    world.aws.put_raw(&world.table, row.clone());
    let id = row["id"].as_str().ok_or("it has no id")?;
    let get = world.get(&admin(), about(id)).await;
    let timeline = world.timeline(&admin(), about(id)).await;
    if (get.status, timeline.status) != (200, 200) {
        return Err(format!("{get:?} {timeline:?}"));
    }
    let store = world.store();
    let mut due = Vec::new();
    for partition in DuePartition::all() {
        let page = store.due(partition, None, 10, None).await;
        due.extend(page.map_err(|error| error.to_string())?.entries);
    }
    let mut order = world
        .order(orders::domain::OrderId(id.parse().unwrap()))
        .await;
    let listed = store.list(order.user_id, None, 10, None).await;
    let listed = listed.map_err(|error| error.to_string())?.orders.len();
    order.version += 1;
    match store.update(&order).await {
        Ok(Updated::Done) => {}
        other => return Err(format!("its update: {other:?}")),
    }
    if world.order(order.id).await != order {
        return Err("an update changes it".to_owned());
    }
    Ok(json!({
        "order": body(&get), "timeline": body(&timeline), "listed": listed, "due": due.len(),
    }))
}

#[tokio::test]
async fn what_orders_writes_is_recorded() {
    assert_recorded("orders", &written().await);
}

#[tokio::test]
async fn orders_of_each_release_are_read() {
    assert_rows_are_read("orders", read).await;
}

#[tokio::test]
async fn replies_of_each_release_are_read() {
    assert_messages_are_read("orders", async |body| {
        let envelope = Envelope::parse(body).map_err(|failure| failure.detail().to_owned())?;
        let read = event(&envelope).map_err(|failure| failure.detail().to_owned());
        read.map(|_| ())
    })
    .await;
}
