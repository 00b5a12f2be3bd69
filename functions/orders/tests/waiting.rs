//! `Prefer: wait` on the endpoints that place, cancel and read an order.

use std::time::Duration;

use futures_util::future::join;
use orders::domain::{Ending, Order, State};
use orders::handlers::view::MAX_WAIT;
use serde_json::json;
use shared_lambda::aws::CALL_TIMEOUT;
use shared_lambda::http::{Request, Response};
use test_support::Fault;
use test_support::template::Template;
use tokio::time::{Instant, sleep};

use crate::samples::{ANN, order_in, sample_reply};
use crate::world::{World, about, admin, body, customer, posting};

/// The first read, and at most so many while a function waits for its longest time.
const READS: usize = 1 + 14;

fn waiting(request: Request, seconds: u64) -> Request {
    request.with_header("prefer", format!("wait={seconds}"))
}

/// `GET` with a preference, and the time that it took.
async fn read(world: &World, order: &Order, prefer: &str) -> (Response, Duration) {
    let began = Instant::now();
    let request = about(order.id.0).with_header("prefer", prefer);
    (world.get(&customer(ANN), request).await, began.elapsed())
}

/// Delivers replies after a time.
async fn later(world: &World, order: &Order, millis: u64, replies: &[&str]) {
    sleep(Duration::from_millis(millis)).await;
    for reply in replies {
        world.deliver(&sample_reply(order.id, reply)).await.unwrap();
    }
}

fn applied(response: &Response) -> Option<&str> {
    response.header("preference-applied")
}

#[tokio::test(start_paused = true)]
async fn placing_waits_until_the_order_has_ended() {
    let world = World::new();
    let order = json!({"lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}],
                       "payment_method": "pm_card_visa"});
    let ann = customer(ANN);
    let began = Instant::now();
    let placing = world.place(&ann, waiting(posting(&order, Some("key-1")), 5));
    let saga = async {
        sleep(Duration::from_millis(450)).await;
        let row = world.aws.dump(&world.table).remove(0);
        let id = orders::domain::OrderId(row["id"].as_str().unwrap().parse().unwrap());
        world.answer_until(id, State::Confirmed).await;
    };
    let (response, ()) = join(placing, saga).await;
    assert_eq!(
        (response.status, &body(&response)["status"]),
        (200, &json!("CONFIRMED"))
    );
    assert_eq!(response.header("retry-after"), None);
    assert_eq!(applied(&response), Some("wait=5"));
    assert!(response.header("location").is_some());
    assert_eq!(response.header("idempotent-replayed"), None);
    // The pauses are 100, 150 and 225 ms.
    assert_eq!(began.elapsed(), Duration::from_millis(475));
    let repeat = world
        .place(&ann, waiting(posting(&order, Some("key-1")), 5))
        .await;
    assert_eq!(repeat, response.replayed(true));
}

#[tokio::test(start_paused = true)]
async fn cancelling_waits_until_the_order_has_ended() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
    let ann = customer(ANN);
    let cancelling = world.cancel(&ann, waiting(about(order.id.0), 5));
    let saga = later(&world, &order, 300, &["PaymentRefunded", "StockReleased"]);
    let (response, ()) = join(cancelling, saga).await;
    assert_eq!(
        (response.status, &body(&response)["status"]),
        (200, &json!("CANCELLED"))
    );
    assert_eq!(
        (response.header("retry-after"), applied(&response)),
        (None, Some("wait=5"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_time_and_says_so() {
    let order = order_in(State::Charging);
    let world = World::with(&order).await;
    for (prefer, seconds) in [
        ("wait=0", 0),
        ("wait=3", 3),
        ("wait=10", 10),
        ("wait=3600", 10),
    ] {
        world.aws.clear_calls();
        let (response, took) = read(&world, &order, prefer).await;
        assert_eq!(
            (response.status, response.header("retry-after")),
            (200, Some("1"))
        );
        assert_eq!(applied(&response), Some(format!("wait={seconds}").as_str()));
        assert_eq!(took, Duration::from_secs(seconds), "{prefer}");
        let reads = world.aws.calls().len();
        assert!(reads <= READS, "{prefer}: {reads} reads");
        assert!(
            world
                .aws
                .calls()
                .iter()
                .all(|call| call.request["ConsistentRead"] == true)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_valid_wait_is_answered_at_once() {
    let order = order_in(State::Charging);
    let world = World::with(&order).await;
    for prefer in ["respond-async", "wait=soon", "wait", ""] {
        let (response, took) = read(&world, &order, prefer).await;
        assert_eq!(
            (applied(&response), took),
            (None, Duration::ZERO),
            "{prefer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_awaited_that_does_not_move() {
    let mut parked = order_in(State::Refunding(Ending::Cancelled));
    (parked.attempt, parked.parked) = (6, true);
    let mut asked_again = order_in(State::Charging);
    asked_again.attempt = 2;
    for (order, pause) in [
        (asked_again, Some("1")),
        (parked, Some("60")),
        (order_in(State::Rejected), None),
    ] {
        let world = World::with(&order).await;
        let (response, took) = read(&world, &order, "wait=10").await;
        assert_eq!((response.status, took), (200, Duration::ZERO));
        assert_eq!(response.header("retry-after"), pause);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_while_waiting_is_no_failure() {
    let order = order_in(State::Confirmed);
    let world = World::with(&order).await;
    let ann = customer(ANN);
    let cancelling = world.cancel(&ann, waiting(about(order.id.0), 5));
    let faults = async {
        sleep(Duration::from_millis(50)).await;
        world.aws.fault_on("dynamodb:GetItem", Fault::Throttle);
    };
    let (response, ()) = join(cancelling, faults).await;
    assert_eq!((response.status, world.aws.fired()), (202, 1));
    assert_eq!(body(&response)["status"], "CANCELLING");
}

#[tokio::test(start_paused = true)]
async fn a_wait_and_a_tag_answer_a_change_or_nothing() {
    let order = order_in(State::Refunding(Ending::Cancelled));
    let world = World::with(&order).await;
    let tag = world.get(&admin(), about(order.id.0)).await;
    let tag = tag.header("etag").unwrap();
    let read = || {
        let request = waiting(about(order.id.0), 2).with_header("if-none-match", tag);
        let world = &world;
        async move { world.get(&customer(ANN), request).await }
    };
    let same = read().await;
    assert_eq!((same.status, applied(&same)), (304, Some("wait=2")));
    let replies = ["PaymentRefunded", "StockReleased"];
    let (changed, ()) = join(read(), later(&world, &order, 300, &replies)).await;
    assert_eq!(
        (changed.status, &body(&changed)["status"]),
        (200, &json!("CANCELLED"))
    );
}

/// A read is under way when the time ends. API Gateway waits 30 seconds for a function.
#[test]
fn a_waiting_function_ends_before_its_timeout() {
    let template = Template::of_service("orders");
    for function in [
        "OrdersPlaceFunction",
        "OrdersGetFunction",
        "OrdersCancelFunction",
    ] {
        let properties = template.properties(function, "AWS::Serverless::Function");
        let limit = Duration::from_secs(properties["Timeout"].as_u64().unwrap());
        let longest = MAX_WAIT.max(CALL_TIMEOUT);
        assert!(
            longest < limit && limit < Duration::from_secs(30),
            "{function}: {limit:?}"
        );
    }
}
