//! The operators' actions on orders in flight, which are idempotent despite crashes.

use orders::domain::{Ending, MAX_ATTEMPTS, Order, State, TimelineEvent, owed};
use serde_json::{Value, json};
use test_support::{Fault, crashable};
use uuid::Uuid;

use crate::samples::{ANN, STATES, after, ends, order_in, placed, set_attribute};
use crate::world::{World, reply};

fn parked(state: State) -> Order {
    let mut order = order_in(state);
    (order.attempt, order.parked) = (MAX_ATTEMPTS + 1, true);
    order.due_at = Some(after(3600));
    order
}

fn retry(order: &Order) -> Value {
    json!({"action": "retry", "order_id": order.id.0, "by": "olga"})
}

fn show(order: &Order) -> Value {
    json!({"action": "show", "order_id": order.id.0})
}

fn abandon(order: &Order, step: &str) -> Value {
    json!({"action": "abandon", "order_id": order.id.0, "step": step,
           "reason": "paid back by hand", "by": "olga"})
}

fn listed(answer: &Value) -> Vec<Uuid> {
    let id = |order: &Value| order["order_id"].as_str().unwrap().parse().unwrap();
    answer["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(id)
        .collect()
}

#[tokio::test]
async fn the_list_has_every_order_in_flight() {
    let world = World::new();
    for state in STATES {
        world.put(&order_in(state)).await;
    }
    let answer = world.admin(json!({"action": "list"})).await.unwrap();
    let mut found = listed(&answer);
    let mut expected: Vec<Uuid> = STATES
        .into_iter()
        .filter(|state| !ends(*state))
        .map(|state| order_in(state).id.0)
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(
        (&answer["unreadable"], &answer["next_cursor"]),
        (&json!([]), &json!(null))
    );
    let charging = order_in(State::Charging).id.0.to_string();
    let orders = answer["orders"].as_array().unwrap();
    let order = orders.iter().find(|order| order["order_id"] == charging);
    assert_eq!(
        order.unwrap(),
        &json!({
            "order_id": charging,
            "user_id": ANN,
            "status": "PENDING",
            "state": "charging",
            "waits_for": "ChargePayment",
            "participant": "payments",
            "compensation": null,
            "next": "wait",
            "attempt": 1,
            "max_attempts": 5,
            "due_at": "2026-01-02T03:04:35.678Z",
            "parked": false,
            "overdue": false,
            "total": {"amount": 3500, "currency": "USD"},
            "failure": null,
            "created_at": "2026-01-02T03:04:05.678Z",
            "updated_at": "2026-01-02T03:04:08.678Z",
        })
    );
}

#[tokio::test]
async fn stuck_orders_are_parked_or_missed_twice_by_the_sweeper() {
    let world = World::new();
    let overdue = placed(1);
    let mut waits = placed(2);
    waits.due_at = Some(after(30 + 60));
    let parked = parked(State::Refunding(Ending::Rejected));
    for order in [&overdue, &waits, &parked] {
        world.put(order).await;
    }
    let stuck = async || {
        let answer = world.admin(json!({"action": "list", "stuck": true}));
        listed(&answer.await.unwrap())
    };
    // 120 seconds late: two runs of the sweeper.
    world.clock.set(after(150));
    assert_eq!(stuck().await, [parked.id.0]);
    world.clock.set(after(151));
    assert_eq!(stuck().await, [parked.id.0, overdue.id.0]);
}

#[tokio::test]
async fn an_unreadable_row_is_reported() {
    let order = placed(1);
    let world = World::with(&order).await;
    set_attribute(&world.aws, &world.table, "state", json!("dreaming"));
    let answer = world.admin(json!({"action": "list"})).await.unwrap();
    assert_eq!(answer["orders"], json!([]));
    let listed = &answer["unreadable"][0];
    assert_eq!(listed["order_id"], json!(order.id.0));
    let cause = listed["cause"].as_str().unwrap();
    assert!(cause.contains("invalid state"), "{cause}");
    let before = world.aws.dump(&world.table);
    for request in [show(&order), retry(&order), abandon(&order, "refund")] {
        let answer = world.admin(request).await.unwrap();
        assert_eq!(answer["outcome"], "unreadable");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("invalid state"), "{detail}");
    }
    assert!(world.commands().is_empty());
    assert_eq!(world.aws.dump(&world.table), before);
}

/// All pages of a list, read as `waybill saga ls` does.
async fn pages(world: &World, stuck: bool) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut request = json!({"action": "list", "stuck": stuck});
    loop {
        let page = world.admin(request.clone()).await.unwrap();
        request["cursor"] = page["next_cursor"].clone();
        pages.push(page);
        if request["cursor"].is_null() {
            return pages;
        }
        assert!(pages.len() < 10, "the list does not end");
    }
}

#[tokio::test]
async fn a_long_list_has_each_order_once_and_the_parked_first() {
    let world = World::new();
    for number in 0..1_010 {
        let mut order = placed(number);
        order.parked = true;
        // Few distinct due times, so that pages end among equal ones.
        order.due_at = Some(after(3600 + number as i64 % 3));
        world.put(&order).await;
    }
    for number in 2_000..2_510 {
        world.put(&placed(number)).await;
    }
    // An index entry without a valid time.
    let nameless = placed(3_000);
    world.put(&nameless).await;
    let mut rows = world.aws.dump(&world.table).into_iter();
    let mut row = rows.find(|row| row["id"] == json!(nameless.id.0)).unwrap();
    (row["due_at"], row["due_shard"]) = (json!("1 day ago"), json!("PARKED"));
    world.aws.put_raw(&world.table, row);
    world.clock.set(after(151));
    for stuck in [false, true] {
        let pages = pages(&world, stuck).await;
        let nameless = pages.iter().map(|page| page["nameless"].as_u64().unwrap());
        assert_eq!(nameless.sum::<u64>(), 1);
        let found: Vec<Vec<Uuid>> = pages.iter().map(listed).collect();
        assert!(found.iter().all(|page| page.len() <= 500));
        let mut found = found.concat();
        let is_parked = |id: &Uuid| id.as_u128() < 2_000;
        assert!(found[..1_010].iter().all(is_parked));
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 1_520);
    }
}

#[tokio::test]
async fn a_failed_send_is_reported_and_a_repeat_sends() {
    let charging = parked(State::Charging);
    let refunding = parked(State::Refunding(Ending::Cancelled));
    for (order, request) in [
        (&charging, retry(&charging)),
        (&refunding, retry(&refunding)),
        (&refunding, abandon(&refunding, "refund")),
    ] {
        let world = World::with(order).await;
        // The order's write, then the send.
        world.aws.fault_at(1, Fault::BeforeEffect);
        let answer = world.admin(request.clone()).await.unwrap();
        assert_eq!(answer["outcome"], "recorded_not_sent", "{request}");
        assert_eq!(answer["order"]["order_id"], order.id.0.to_string().as_str());
        assert!(answer["detail"].is_string(), "{answer}");
        assert!(world.commands().is_empty());
        assert!(!world.order(order.id).await.parked);
        let again = world.admin(request.clone()).await.unwrap();
        assert_ne!(again["outcome"], "recorded_not_sent", "{request}");
        assert_eq!(world.command_types().len(), 1);
    }
}

#[tokio::test]
async fn a_failed_send_without_a_write_is_not_sent() {
    let order = order_in(State::Charging);
    let world = World::with(&order).await;
    // There is nothing to write: the first attempt is still waiting.
    world
        .aws
        .fault_on("sqs:SendMessageBatch", Fault::BeforeEffect);
    let answer = world.admin(retry(&order)).await.unwrap();
    assert_eq!(answer["outcome"], "not_sent", "{answer}");
    assert!(answer["detail"].is_string(), "{answer}");
    assert_eq!(world.order(order.id).await, order);
    let again = world.admin(retry(&order)).await.unwrap();
    assert_eq!(again["outcome"], "sent", "{again}");
}

#[tokio::test]
async fn a_command_without_a_route_is_not_sent() {
    let mut world = World::new();
    world.admin.routes = Default::default();
    let order = parked(State::Refunding(Ending::Cancelled));
    world.put(&order).await;
    for outcome in ["recorded_not_sent", "not_sent"] {
        let answer = world.admin(retry(&order)).await.unwrap();
        assert_eq!(answer["outcome"], outcome);
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("no route"), "{detail}");
    }
}

#[tokio::test]
async fn a_retry_repairs_an_order_without_a_due_time() {
    let mut order = order_in(State::Charging);
    order.due_at = None;
    let world = World::with(&order).await;
    let list = json!({"action": "list", "stuck": true});
    // The order is in no index, so a list does not find it.
    assert!(listed(&world.admin(list.clone()).await.unwrap()).is_empty());
    let shown = world.admin(show(&order)).await.unwrap()["order"].take();
    assert_eq!(shown["overdue"], true);
    assert_eq!(shown["due_at"], Value::Null);
    assert_eq!(world.admin(retry(&order)).await.unwrap()["outcome"], "sent");
    world.clock.pass(200);
    assert_eq!(listed(&world.admin(list).await.unwrap()), [order.id.0]);
}

#[tokio::test]
async fn the_first_decision_to_abandon_a_step_stands() {
    let order = parked(State::Refunding(Ending::Cancelled));
    let world = World::with(&order).await;
    let request = |reason: &str, by: &str| {
        json!({"action": "abandon", "order_id": order.id.0, "step": "refund",
               "reason": reason, "by": by})
    };
    let olga = world.admin(request("paid by bank", "olga")).await.unwrap();
    assert_eq!(olga["outcome"], "abandoned");
    let before = world.order(order.id).await;
    for (reason, by) in [("paid by bank", "otto"), ("a voucher", "olga")] {
        let late = world.admin(request(reason, by)).await.unwrap();
        assert_eq!(late["outcome"], "abandoned_before", "{reason} {by}");
        let timeline = late["order"]["timeline"].as_array().unwrap();
        let stands = json!("by olga: paid by bank");
        assert!(
            timeline.iter().any(|entry| entry["detail"] == stands),
            "{late}"
        );
    }
    // A repeat after a lost answer succeeds.
    let again = world.admin(request("paid by bank", "olga")).await.unwrap();
    assert_eq!(again["outcome"], "abandoned");
    assert_eq!(world.order(order.id).await, before);
}

#[tokio::test]
async fn a_step_that_was_never_requested_cannot_be_abandoned() {
    // Their payments were declined, so there was no refund.
    let releasing = parked(State::Releasing(Ending::Rejected));
    for order in [releasing, order_in(State::Rejected)] {
        let world = World::with(&order).await;
        let answer = world.admin(abandon(&order, "refund")).await.unwrap();
        assert_eq!(answer["outcome"], "never_asked", "{answer}");
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn a_retry_sends_the_command_and_ends_the_parking() {
    for state in STATES.into_iter().filter(|state| !ends(*state)) {
        let order = parked(state);
        let world = World::with(&order).await;
        world.clock.set(after(100));
        let answer = world.admin(retry(&order)).await.unwrap();
        assert_eq!(answer["outcome"], "sent", "{state:?}");
        let now = world.order(order.id).await;
        assert_eq!(
            (now.state, now.attempt, now.parked, now.due_at),
            (state, 1, false, Some(after(130)))
        );
        assert_eq!(world.command_types().len(), 1);

        // A repeat sends the command again, and does not write the order.
        let again = world.admin(retry(&order)).await.unwrap();
        assert_eq!(again["outcome"], "sent");
        assert_eq!(world.command_types().len(), 1);
        assert_eq!(world.order(order.id).await, now);
    }
}

#[tokio::test]
async fn a_retry_of_an_order_that_has_ended_does_nothing() {
    for state in STATES.into_iter().filter(|state| ends(*state)) {
        let order = order_in(state);
        let world = World::with(&order).await;
        let answer = world.admin(retry(&order)).await.unwrap();
        assert_eq!(answer["outcome"], "nothing_owed", "{state:?}");
        assert!(world.commands().is_empty());
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn abandoning_goes_on_to_the_release_and_to_the_end() {
    let order = parked(State::Refunding(Ending::Cancelled));
    let world = World::with(&order).await;
    let answer = world.admin(abandon(&order, "refund")).await.unwrap();
    assert_eq!(answer["outcome"], "abandoned");
    assert_eq!(world.command_types(), ["ReleaseStock"]);
    let events = answer["order"]["timeline"].as_array().unwrap();
    let entry = events.iter().find(|e| e["event"] == "refund_abandoned");
    assert_eq!(entry.unwrap()["detail"], "by olga: paid back by hand");

    // A repeated decision about the refund does not apply to the release.
    let again = world.admin(abandon(&order, "refund")).await.unwrap();
    assert_eq!(again["outcome"], "abandoned");
    assert_eq!(world.command_types(), ["ReleaseStock"]);
    let now = world.order(order.id).await;
    assert_eq!(now.state, State::Releasing(Ending::Cancelled));

    let refused = world.admin(abandon(&order, "release")).await.unwrap();
    assert_eq!(refused["outcome"], "refused");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("still being asked for"), "{detail}");

    let mut now = world.order(order.id).await;
    (now.version, now.attempt, now.parked) = (now.version + 1, MAX_ATTEMPTS + 1, true);
    world.store().update(&now).await.unwrap();
    for _ in 0..2 {
        let answer = world.admin(abandon(&order, "release")).await.unwrap();
        assert_eq!(answer["outcome"], "abandoned");
        assert!(world.commands().is_empty());
        let ended = world.order(order.id).await;
        assert_eq!((ended.state, owed(&ended)), (State::Cancelled, None));
    }
}

#[tokio::test]
async fn the_first_of_decision_and_answer_counts() {
    let order = parked(State::Refunding(Ending::Rejected));
    let world = World::with(&order).await;
    let refunded = reply(order.id, "PaymentRefunded", &json!({"refunded": null}));
    world.deliver(&refunded).await.unwrap();
    let before = world.order(order.id).await;
    // A failed send does not change the outcome.
    let action = "sqs:SendMessageBatch";
    world.aws.fault_on(action, Fault::BeforeEffect);
    let answer = world.admin(abandon(&order, "refund")).await.unwrap();
    assert_eq!(answer["outcome"], "answered");
    assert_eq!(world.aws.fired(), 1);
    assert_eq!(world.order(order.id).await, before);

    let order = parked(State::Releasing(Ending::Rejected));
    let world = World::with(&order).await;
    world.admin(abandon(&order, "release")).await.unwrap();
    let before = world.order(order.id).await;
    let released = reply(order.id, "StockReleased", &json!({}));
    world.deliver(&released).await.unwrap();
    assert_eq!(world.order(order.id).await, before);
}

#[tokio::test]
async fn the_answer_has_the_next_move_and_the_abandoned_step() {
    let parked = parked(State::Refunding(Ending::Cancelled));
    let world = World::with(&parked).await;
    let order = world.admin(show(&parked)).await.unwrap()["order"].take();
    let names = ["next", "participant", "compensation"].map(|name| order[name].as_str());
    let expected = ["retry_or_abandon", "payments", "refund"];
    assert_eq!(names, expected.map(Some));
    assert_eq!(order["abandoned"], Value::Null);

    let answer = world.admin(abandon(&parked, "refund")).await.unwrap();
    let order = &answer["order"];
    assert_eq!(
        (&order["next"], &order["compensation"]),
        (&json!("wait"), &json!("release"))
    );
    let given_up = &order["abandoned"][0];
    assert_eq!(given_up["step"], "refund");
    assert_eq!(
        given_up["commands"],
        json!(["ChargePayment", "RefundPayment"])
    );
    assert_eq!(given_up["detail"], "by olga: paid back by hand");
}

#[tokio::test]
async fn a_repeat_after_any_crash_or_failure_ends_the_same() {
    let refunding = parked(State::Refunding(Ending::Cancelled));
    let releasing = parked(State::Releasing(Ending::Rejected));
    let charging = parked(State::Charging);
    for (order, request) in [
        (&charging, retry(&charging)),
        (&refunding, retry(&refunding)),
        (&refunding, abandon(&refunding, "refund")),
        (&releasing, abandon(&releasing, "release")),
    ] {
        let clean = World::new();
        clean.put(order).await;
        let begun = clean.aws.writes();
        clean.admin(request.clone()).await.unwrap();
        let expected = clean.order(order.id).await;
        let owed = clean.command_types();
        let writes = clean.aws.writes() - begun;
        assert!((1..=2).contains(&writes), "{request}: {writes}");
        for nth in 0..writes {
            for fault in [
                Fault::KillBefore,
                Fault::KillAfter,
                Fault::BeforeEffect,
                Fault::AfterEffect,
                Fault::Throttle,
            ] {
                let world = World::with(order).await;
                world.aws.fault_at(nth, fault.clone());
                let how = format!("{request}, {fault:?} at write {nth}");
                let first = crashable(world.admin(request.clone())).await;
                assert_eq!(world.aws.fired(), 1, "{how}");
                // The order is written first, so a failed send does not undo the decision.
                match first {
                    None | Some(Err(_)) => {}
                    Some(Ok(answer)) => {
                        assert_eq!(answer["outcome"], "recorded_not_sent", "{how}");
                        assert_eq!(nth, 1, "{how}");
                    }
                }
                world.admin(request.clone()).await.expect(&how);
                assert_eq!(world.order(order.id).await, expected, "{how}");
                let mut sent = world.command_types();
                sent.dedup();
                assert_eq!(sent, owed, "{how}");
            }
        }
    }
}

#[tokio::test]
async fn parallel_operators_and_a_reply_leave_one_next_step() {
    for seed in 0..40 {
        let order = parked(State::Refunding(Ending::Cancelled));
        let world = World::with(&order).await;
        world.aws.interleave(seed);
        let refunded = reply(order.id, "PaymentRefunded", &json!({"refunded": null}));
        let (one, other, replied) = futures_util::future::join3(
            world.admin(abandon(&order, "refund")),
            world.admin(abandon(&order, "refund")),
            world.deliver(&refunded),
        )
        .await;
        one.unwrap();
        other.unwrap();
        replied.unwrap();
        let now = world.order(order.id).await;
        assert_eq!(
            now.state,
            State::Releasing(Ending::Cancelled),
            "seed {seed}"
        );
        let ways = now.timeline.iter().filter(|entry| {
            matches!(
                entry.event,
                TimelineEvent::RefundAbandoned | TimelineEvent::PaymentRefunded
            )
        });
        assert_eq!(ways.count(), 1, "seed {seed}");
    }
}

#[tokio::test]
async fn show_has_the_whole_order_or_no_such_order() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
    let shown = world.admin(show(&order)).await.unwrap();
    assert_eq!(shown["outcome"], "found");
    assert_eq!(shown["order"]["status"], "CONFIRMED");
    assert_eq!(shown["order"]["waits_for"], Value::Null);
    let timeline = shown["order"]["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), order.timeline.len());

    let unknown = placed(9);
    for request in [show(&unknown), retry(&unknown)] {
        let answer = world.admin(request).await.unwrap();
        assert_eq!(answer, json!({"outcome": "no_such_order"}));
    }
}

#[tokio::test]
async fn an_invalid_request_is_explained_and_changes_nothing() {
    let order = parked(State::Refunding(Ending::Rejected));
    let world = World::with(&order).await;
    let with = |mut request: Value, field: &str, value: Value| {
        request[field] = value;
        request
    };
    let abandoning = |field, value| with(abandon(&order, "refund"), field, value);
    for (request, about) in [
        (json!({}), "action"),
        (json!({"action": "delete"}), "delete"),
        (json!({"action": "list", "order": order.id.0}), "order"),
        (with(retry(&order), "order_id", json!("x")), "UUID"),
        (with(retry(&order), "by", Value::Null), "null"),
        (with(retry(&order), "by", json!(" ")), "by"),
        (
            abandoning("step", json!("charge")),
            "charge; send refund or release",
        ),
        (abandoning("reason", json!("")), "reason"),
        (abandoning("reason", json!("a\nb")), "reason"),
        (abandoning("reason", json!("r".repeat(501))), "reason"),
    ] {
        let answer = world.admin(request.clone()).await.unwrap();
        assert_eq!(answer["outcome"], "invalid", "{request}");
        let error = answer["detail"].as_str().unwrap();
        assert!(
            error.contains("the request") && error.contains(about),
            "{request}: {error}"
        );
    }
    assert_eq!(world.order(order.id).await, order);
    assert!(world.commands().is_empty());
}
