//! The JSON form of an order, which orders a caller may see, and how long an answer waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::Response;
use shared_lambda::prefer::Wait;
use shared_lambda::problem::Problem;
use tokio::time::sleep;
use uuid::Uuid;

use crate::domain::{Failure, InjectedFaults, Money, Order, OrderId, owed};
use crate::store::OrderStore;

/// The longest wait for an order's end (`Prefer: wait`). A waiting function is paid for, and most orders
/// end within three seconds. API Gateway cuts an answer off after 30 s.
pub const MAX_WAIT: Duration = Duration::from_secs(10);

/// The pause before the first new read of a waiting function. Each further pause is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An order. For another user's order the answer is 404, as if it did not exist.
pub(super) async fn visible_order(
    orders: &OrderStore,
    caller: &Caller,
    id: Uuid,
) -> Result<Order, Problem> {
    let id = OrderId(id);
    let order = orders
        .get(id)
        .await?
        .filter(|order| order.user_id.0 == caller.user_id || caller.is_admin())
        .ok_or_else(|| no_such_order(id))?;
    if owed(&order).is_some() && order.due_at.is_none() {
        tracing::error!(
            event = "order_never_due",
            order = %id.0,
            state = ?order.state,
            "the order's row has no due_at, so the sweeper cannot find it; run waybill saga retry {}",
            id.0
        );
    }
    Ok(order)
}

/// The answer with an order: 200, or `in_flight` while the saga carries it out. With a preferred wait, it
/// comes when the order has ended or the time is over.
pub(super) async fn answered(
    orders: &OrderStore,
    mut order: Order,
    wait: Option<Wait>,
    in_flight: u16,
) -> Response {
    if let Some(wait) = wait {
        wait.bound(wait_for_end(orders, &mut order)).await;
    }
    let is_in_flight = owed(&order).is_some();
    let status = if is_in_flight { in_flight } else { 200 };
    let mut response = Response::json(status, &OrderBody::from(&order)).tagged();
    if is_in_flight {
        // A parked order is tried again every hour.
        response = response.with_header("retry-after", if order.parked { "60" } else { "1" });
    }
    match wait {
        Some(wait) => wait.applied(response),
        None => response,
    }
}

/// Reads the order again until it has ended, until a step is asked a second time, or until a read fails. The
/// second attempt comes after half a minute, so a service is down. A write that succeeded must not fail with
/// a later read.
async fn wait_for_end(orders: &OrderStore, order: &mut Order) {
    let mut pause = FIRST_PAUSE;
    while owed(order).is_some() && order.attempt == 1 {
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match orders.get(order.id).await {
            Ok(Some(read)) => *order = read,
            Ok(None) | Err(_) => return,
        }
    }
}

pub(super) fn no_such_order(id: OrderId) -> Problem {
    Problem::not_found(format!("there is no order {}", id.0))
}

#[derive(Serialize)]
pub(super) struct OrderBody {
    id: Uuid,
    user_id: Uuid,
    status: &'static str,
    lines: Vec<LineBody>,
    total: Option<MoneyBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_total: Option<MoneyBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "rehearsal")]
    faults: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
pub(super) struct LineBody {
    sku: String,
    name: Option<String>,
    quantity: u32,
    unit_price: Option<MoneyBody>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoneyBody {
    pub(super) amount: i64,
    pub(super) currency: String,
}

#[derive(Serialize)]
pub(super) struct FailureBody {
    code: String,
    detail: String,
}

impl From<&Order> for OrderBody {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id.0,
            user_id: order.user_id.0,
            status: order.status().as_str(),
            lines: order
                .lines
                .iter()
                .map(|line| LineBody {
                    sku: line.sku.as_str().to_owned(),
                    name: line.name.clone(),
                    quantity: line.quantity.units(),
                    unit_price: line.unit_price.map(MoneyBody::from),
                })
                .collect(),
            total: order.total.map(MoneyBody::from),
            expected_total: order.expected_total.map(MoneyBody::from),
            failure: order.failure.as_ref().map(FailureBody::from),
            faults: order.faults.as_ref().map(InjectedFaults::to_string),
            created_at: format!("{:.3}", order.created_at),
            updated_at: format!("{:.3}", order.updated_at),
        }
    }
}

impl From<&Failure> for FailureBody {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code.clone(),
            detail: failure.detail.clone(),
        }
    }
}

impl From<Money> for MoneyBody {
    fn from(money: Money) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency.as_str().to_owned(),
        }
    }
}
