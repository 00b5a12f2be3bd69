//! What operators do to orders in flight, and that it may be done again and again, whatever dies.

use orders::domain::{Ending, Entry, MAX_ATTEMPTS, Order, State, TimelineEvent, owed};
use serde_json::{Value, json};
use test_support::{Fault, crashable};
use uuid::Uuid;

use crate::samples::{ANN, STATES, after, ends, order_in, placed};
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
async fn the_list_has_every_order_in_flight_with_what_it_waits_for() {
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
async fn stuck_is_what_is_parked_or_was_passed_over_twice_by_the_sweeper() {
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
    // Due since 120 seconds, which two runs of the sweeper may take.
    world.clock.set(after(150));
    assert_eq!(stuck().await, [parked.id.0]);
    world.clock.set(after(151));
    assert_eq!(stuck().await, [parked.id.0, overdue.id.0]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_listed_as_such() {
    let world = World::new();
    let order = placed(1);
    world.put(&order).await;
    let mut row = world.aws.dump(&world.table).remove(0);
    row["state"] = json!("dreaming");
    world.aws.put_raw(&world.table, row);
    let answer = world.admin(json!({"action": "list"})).await.unwrap();
    assert_eq!(answer["orders"], json!([]));
    assert_eq!(
        answer["unreadable"][0]["order_id"],
        order.id.0.to_string().as_str()
    );
    let cause = answer["unreadable"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("invalid state"), "{cause}");
    let show = json!({"action": "show", "order_id": order.id.0});
    assert_eq!(world.admin(show).await.unwrap()["outcome"], "unreadable");
    let before = world.aws.dump(&world.table);
    for request in [retry(&order), abandon(&order, "refund")] {
        let answer = world.admin(request).await.unwrap();
        assert_eq!(answer["outcome"], "unreadable");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("invalid state"), "{detail}");
    }
    assert!(world.commands().is_empty());
    assert_eq!(world.aws.dump(&world.table), before);
}

#[tokio::test]
async fn an_entry_of_the_index_that_says_no_time_is_counted() {
    let world = World::new();
    world.put(&placed(1)).await;
    let list = || world.admin(json!({"action": "list"}));
    assert_eq!(list().await.unwrap()["nameless"], 0);
    let mut row = world.aws.dump(&world.table).remove(0);
    row["due_at"] = json!("soon");
    world.aws.put_raw(&world.table, row);
    let answer = list().await.unwrap();
    assert_eq!(
        (&answer["orders"], &answer["nameless"]),
        (&json!([]), &json!(1))
    );
}

/// Every page of a list, as `waybill saga ls` asks for them.
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
        assert!(pages.len() < 10, "a list that goes on for ever");
    }
}

#[tokio::test]
async fn a_long_list_goes_on_page_by_page_with_the_parked_orders_first() {
    let world = World::new();
    for number in 0..510 {
        world.put(&placed(number)).await;
    }
    let parked = parked(State::Releasing(Ending::Cancelled));
    world.put(&parked).await;
    let pages = pages(&world, false).await;
    let found: Vec<Vec<Uuid>> = pages.iter().map(listed).collect();
    assert_eq!(found[0][0], parked.id.0);
    assert!(
        found.iter().all(|page| page.len() <= 500),
        "{}",
        found.len()
    );
    let mut all = found.concat();
    let number = all.len();
    all.sort();
    all.dedup();
    assert_eq!((number, all.len()), (511, 511));
}

#[tokio::test]
async fn however_many_are_parked_the_overdue_are_listed_and_each_once() {
    let world = World::new();
    for number in 0..1_010 {
        let mut order = placed(number);
        order.parked = true;
        // All at a few times, so that a page ends among equals.
        order.due_at = Some(after(3600 + number as i64 % 3));
        world.put(&order).await;
    }
    let overdue = placed(2_000);
    world.put(&overdue).await;
    // One entry without a readable time, which is counted once.
    let nameless = placed(3_000);
    world.put(&nameless).await;
    let mut rows = world.aws.dump(&world.table).into_iter();
    let id = nameless.id.0.to_string();
    let mut row = rows.find(|row| row["id"] == id.as_str()).unwrap();
    (row["due_at"], row["due_shard"]) = (json!("1 day ago"), json!("PARKED"));
    world.aws.put_raw(&world.table, row);
    world.clock.set(after(151));
    let pages = pages(&world, true).await;
    assert_eq!(pages.len(), 3);
    let mut found: Vec<Uuid> = pages.iter().flat_map(listed).collect();
    assert_eq!(found.last(), Some(&overdue.id.0));
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 1_011);
    let nameless = pages.iter().map(|page| page["nameless"].as_u64().unwrap());
    assert_eq!(nameless.sum::<u64>(), 1);
}

#[tokio::test]
async fn what_is_recorded_and_not_sent_is_an_answer_and_sent_when_asked_again() {
    let charging = parked(State::Charging);
    let refunding = parked(State::Refunding(Ending::Cancelled));
    for (order, request) in [
        (&charging, retry(&charging)),
        (&refunding, retry(&refunding)),
        (&refunding, abandon(&refunding, "refund")),
    ] {
        let world = World::new();
        world.put(order).await;
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
async fn what_was_asked_for_just_now_and_cannot_be_sent_again_is_not_said_to_be_recorded() {
    let world = World::new();
    let order = order_in(State::Charging);
    world.put(&order).await;
    // There is nothing to write: its first attempt has its time still.
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
async fn a_command_without_a_route_is_not_said_to_be_sent() {
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
async fn an_order_that_is_never_due_is_overdue_and_a_retry_mends_it() {
    let world = World::new();
    let mut order = order_in(State::Charging);
    order.due_at = None;
    world.put(&order).await;
    let list = json!({"action": "list", "stuck": true});
    // No index has it: only a look at the order, or at the whole table, finds it.
    assert!(listed(&world.admin(list.clone()).await.unwrap()).is_empty());
    let show = json!({"action": "show", "order_id": order.id.0});
    let shown = world.admin(show).await.unwrap();
    assert_eq!(
        (&shown["order"]["overdue"], &shown["order"]["due_at"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(world.admin(retry(&order)).await.unwrap()["outcome"], "sent");
    world.clock.pass(200);
    assert_eq!(listed(&world.admin(list).await.unwrap()), [order.id.0]);
}

#[tokio::test]
async fn of_two_who_abandon_a_step_the_second_is_told_whose_decision_stands() {
    let world = World::new();
    let order = parked(State::Refunding(Ending::Cancelled));
    world.put(&order).await;
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
    // Whoever repeats themselves, for the answer was lost, is told that it is done.
    let again = world.admin(request("paid by bank", "olga")).await.unwrap();
    assert_eq!(again["outcome"], "abandoned");
    assert_eq!(world.order(order.id).await, before);
}

#[tokio::test]
async fn a_step_that_was_never_asked_for_cannot_be_abandoned() {
    // Its payment was declined, so nothing is to be refunded.
    let mut declined = parked(State::Releasing(Ending::Rejected));
    let is_refund = |what| {
        matches!(
            what,
            TimelineEvent::RefundPaymentRequested | TimelineEvent::PaymentRefunded
        )
    };
    declined.timeline.retain(|entry| !is_refund(entry.event));
    let mut rejected = order_in(State::Rejected);
    rejected.timeline.retain(|entry| !is_refund(entry.event));
    for order in [declined, rejected] {
        let world = World::new();
        world.put(&order).await;
        let answer = world.admin(abandon(&order, "refund")).await.unwrap();
        assert_eq!(answer["outcome"], "never_asked", "{answer}");
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn a_decision_that_an_answer_came_before_is_not_said_to_be_recorded_whatever_is_sent() {
    // Its refund was answered, and it has gone on to the release.
    let mut releasing = parked(State::Releasing(Ending::Cancelled));
    releasing.timeline.push(Entry {
        at: after(0),
        event: TimelineEvent::PaymentRefunded,
        attempt: None,
        detail: None,
    });
    let world = World::new();
    world.put(&releasing).await;
    world
        .aws
        .fault_on("sqs:SendMessageBatch", Fault::BeforeEffect);
    let answer = world.admin(abandon(&releasing, "refund")).await.unwrap();
    assert_eq!(
        (&answer["outcome"], world.aws.fired()),
        (&json!("answered"), 1)
    );
    assert_eq!(world.order(releasing.id).await.version, releasing.version);
}

#[tokio::test]
async fn a_retry_sends_what_the_order_owes_and_parks_it_no_longer() {
    for state in STATES.into_iter().filter(|state| !ends(*state)) {
        let world = World::new();
        let order = parked(state);
        world.put(&order).await;
        world.clock.set(after(100));
        let answer = world.admin(retry(&order)).await.unwrap();
        assert_eq!(answer["outcome"], "sent", "{state:?}");
        let now = world.order(order.id).await;
        assert_eq!(
            (now.state, now.attempt, now.parked, now.due_at),
            (state, 1, false, Some(after(130)))
        );
        assert_eq!(world.command_types().len(), 1);

        // Again: the same is sent again, and the order is not written.
        let again = world.admin(retry(&order)).await.unwrap();
        assert_eq!(again["outcome"], "sent");
        assert_eq!(world.command_types().len(), 1);
        assert_eq!(world.order(order.id).await, now);
    }
}

#[tokio::test]
async fn a_retry_of_an_order_that_has_ended_does_nothing() {
    for state in STATES.into_iter().filter(|state| ends(*state)) {
        let world = World::new();
        let order = order_in(state);
        world.put(&order).await;
        let answer = world.admin(retry(&order)).await.unwrap();
        assert_eq!(answer["outcome"], "nothing_owed", "{state:?}");
        assert!(world.commands().is_empty());
        assert_eq!(world.order(order.id).await, order);
    }
}

#[tokio::test]
async fn an_abandoned_refund_goes_on_to_the_release_and_an_abandoned_release_ends_the_order() {
    let world = World::new();
    let order = parked(State::Refunding(Ending::Cancelled));
    world.put(&order).await;
    let answer = world.admin(abandon(&order, "refund")).await.unwrap();
    assert_eq!(answer["outcome"], "abandoned");
    assert_eq!(world.command_types(), ["ReleaseStock"]);
    let events = answer["order"]["timeline"].as_array().unwrap();
    let entry = events.iter().find(|e| e["event"] == "refund_abandoned");
    assert_eq!(entry.unwrap()["detail"], "by olga: paid back by hand");

    // Decided about the refund once, the same decision is not taken about the release.
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
async fn an_answer_that_came_before_the_decision_counts_and_one_after_it_changes_nothing() {
    let world = World::new();
    let order = parked(State::Refunding(Ending::Rejected));
    world.put(&order).await;
    let refunded = reply(order.id, "PaymentRefunded", &json!({"refunded": null}));
    world.deliver(&refunded).await.unwrap();
    let answer = world.admin(abandon(&order, "refund")).await.unwrap();
    assert_eq!(answer["outcome"], "answered");
    let now = world.order(order.id).await;
    assert!(
        now.timeline
            .iter()
            .all(|e| e.event != TimelineEvent::RefundAbandoned)
    );

    let world = World::new();
    let order = parked(State::Releasing(Ending::Rejected));
    world.put(&order).await;
    world.admin(abandon(&order, "release")).await.unwrap();
    let before = world.order(order.id).await;
    let released = reply(order.id, "StockReleased", &json!({}));
    world.deliver(&released).await.unwrap();
    assert_eq!(world.order(order.id).await, before);
}

#[tokio::test]
async fn the_answer_names_the_next_move_and_what_was_given_up() {
    let world = World::new();
    let parked = parked(State::Refunding(Ending::Cancelled));
    world.put(&parked).await;
    let show = json!({"action": "show", "order_id": parked.id.0});
    let order = world.admin(show).await.unwrap()["order"].take();
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
async fn nothing_but_a_parked_compensation_can_be_abandoned() {
    for state in STATES {
        for step in ["refund", "release"] {
            let world = World::new();
            let order = order_in(state);
            world.put(&order).await;
            let answer = world.admin(abandon(&order, step)).await.unwrap();
            assert_ne!(answer["outcome"], "abandoned", "{state:?}, {step}");
            assert_eq!(world.order(order.id).await, order);
        }
    }
}

#[tokio::test]
async fn dying_or_failing_at_any_write_or_send_and_asking_again_ends_as_not_dying() {
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
                let world = World::new();
                world.put(order).await;
                world.aws.fault_at(nth, fault.clone());
                let how = format!("{request}, {fault:?} at write {nth}");
                let first = crashable(world.admin(request.clone())).await;
                assert_eq!(world.aws.fired(), 1, "{how}");
                // The order's write comes first; what fails after it has been decided all the same.
                match first {
                    None | Some(Err(_)) => {}
                    Some(Ok(answer)) => {
                        assert_eq!(
                            (nth, &answer["outcome"]),
                            (1, &json!("recorded_not_sent")),
                            "{how}"
                        );
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
async fn two_operators_and_a_reply_at_once_leave_one_next_step() {
    for seed in 0..40 {
        let world = World::new();
        let order = parked(State::Refunding(Ending::Cancelled));
        world.put(&order).await;
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
async fn an_order_is_shown_whole_and_none_is_said_to_be_none() {
    let world = World::new();
    let order = order_in(State::Confirmed);
    world.put(&order).await;
    let show = |id: Uuid| json!({"action": "show", "order_id": id});
    let shown = world.admin(show(order.id.0)).await.unwrap();
    assert_eq!(shown["outcome"], "found");
    assert_eq!(shown["order"]["status"], "CONFIRMED");
    assert_eq!(shown["order"]["waits_for"], Value::Null);
    let timeline = shown["order"]["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), order.timeline.len());

    let nobody = Uuid::from_u128(9);
    let unknown = json!({"outcome": "no_such_order"});
    assert_eq!(world.admin(show(nobody)).await.unwrap(), unknown);
    let retry = json!({"action": "retry", "order_id": nobody, "by": "olga"});
    assert_eq!(world.admin(retry).await.unwrap(), unknown);
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong_and_changes_nothing() {
    let world = World::new();
    let order = parked(State::Refunding(Ending::Rejected));
    world.put(&order).await;
    let id = order.id.0;
    for (request, about) in [
        (json!({}), "action"),
        (json!({"action": "delete"}), "delete"),
        (
            json!({"action": "retry", "order_id": "x", "by": "olga"}),
            "UUID",
        ),
        (json!({"action": "retry", "order_id": id}), "by"),
        (json!({"action": "retry", "order_id": id, "by": " "}), "by"),
        (
            json!({"action": "abandon", "order_id": id, "step": "charge", "reason": "r", "by": "o"}),
            "charge",
        ),
        (
            json!({"action": "abandon", "order_id": id, "step": "refund", "reason": "", "by": "o"}),
            "reason",
        ),
        (
            json!({"action": "abandon", "order_id": id, "step": "refund", "reason": "a\nb", "by": "o"}),
            "reason",
        ),
        (
            json!({"action": "abandon", "order_id": id, "step": "refund", "reason": "r".repeat(501), "by": "o"}),
            "reason",
        ),
        (json!({"action": "list", "order": id}), "order"),
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

#[tokio::test]
async fn a_retry_mends_a_due_time_that_never_comes() {
    let world = World::new();
    let mut order = order_in(State::Charging);
    order.due_at = Some("9999-01-01T00:00:00Z".parse().unwrap());
    world.put(&order).await;
    world.clock.set(after(100));
    let answer = world.admin(retry(&order)).await.unwrap();
    assert_eq!(answer["outcome"], "sent");
    assert_eq!(world.order(order.id).await.due_at, Some(after(130)));
}

#[tokio::test]
async fn a_retry_of_a_row_that_contradicts_itself_sends_nothing() {
    let other = json!("00000000-0000-0000-0000-0000000000ff");
    for (field, wrong) in [("total", Value::Null), ("id", other)] {
        let world = World::new();
        let order = order_in(State::Charging);
        world.put(&order).await;
        let mut row = world.aws.dump(&world.table).remove(0);
        match &wrong {
            Value::Null => row.as_object_mut().unwrap().remove(field),
            wrong => row
                .as_object_mut()
                .unwrap()
                .insert(field.to_owned(), wrong.clone()),
        };
        world.aws.put_raw(&world.table, row);
        let answer = world.admin(retry(&order)).await.unwrap();
        assert_eq!(answer["outcome"], "unreadable", "{field}");
        assert!(world.commands().is_empty(), "{field}");
    }
}
