//! The functions of this service, one module each, and what they share: how an order looks to a
//! client, and how an event is carried through.

pub mod backlog;
pub mod cancel;
pub mod get;
pub mod list;
pub mod operate;
pub mod place;
pub mod replies;
pub mod sweep;
pub mod timeline;

use std::time::Duration;

use serde::Serialize;
use shared_auth::Caller;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::table::TableError;
use shared_lambda::{sqs, telemetry};
use uuid::Uuid;

use crate::domain::{
    Decision, Event, Failure, Ignored, Money, Order, OrderId, Refusal, Rehearsal, StepTimeout,
    decide, owed,
};
use crate::messages::{Routes, owed_message};
use crate::store::{OrderStore, Updated};

/// How often an event is decided anew because somebody else wrote the order first.
const WRITE_TRIES: usize = 8;

/// How long a customer waits for what their order owes to be sent: the order is written by then, and
/// the sweeper sends what is not.
const SEND_PATIENCE: Duration = Duration::from_secs(2);

/// What an event led to.
#[derive(Debug)]
pub enum Applied {
    /// The order as it now is. Where `owes` is set, what it owes is to be sent (again); where
    /// `written` is not, the event changed nothing.
    Order {
        order: Box<Order>,
        owes: bool,
        written: bool,
    },
    Refused {
        order: Box<Order>,
        refusal: Refusal,
    },
    NoSuchOrder,
}

/// Load, decide, write on condition: the one way any order changes after it was placed.
pub async fn apply(
    orders: &OrderStore,
    id: OrderId,
    event: &Event,
    timeout: StepTimeout,
    context: &Context,
) -> Result<Applied, TableError> {
    for _ in 0..WRITE_TRIES {
        let Some(order) = orders.get(id).await? else {
            return Ok(Applied::NoSuchOrder);
        };
        match decide(&order, event, timeout, context.now) {
            Decision::Advance(next) => match orders.update(&next).await? {
                Updated::Done => {
                    return Ok(Applied::Order {
                        order: next,
                        owes: true,
                        written: true,
                    });
                }
                Updated::Overtaken => {}
            },
            Decision::Ignore(ignored) => {
                return Ok(Applied::Order {
                    order: Box::new(order),
                    owes: ignored == Ignored::Repeat,
                    written: false,
                });
            }
            Decision::Refuse(refusal) => {
                return Ok(Applied::Refused {
                    order: Box::new(order),
                    refusal,
                });
            }
        }
    }
    Err(TableError::contended("advance order"))
}

/// Sends what an order owes while its customer waits. The order is written and will be carried out: a
/// message that cannot be sent now is the sweeper's, and the customer need not hear of it.
async fn send_owed(
    queues: &aws_sdk_sqs::Client,
    routes: &Routes,
    order: &Order,
    context: &Context,
) {
    let owed = match owed_message(order, routes, context) {
        Ok(owed) => owed.into_iter().collect(),
        Err(error) => {
            tracing::error!(
                event = "command_not_sent",
                order_id = %order.id.0,
                trace_id = context.trace_id(),
                "{error}"
            );
            return;
        }
    };
    if let Err(error) = sqs::send_within(SEND_PATIENCE, queues, owed).await {
        tracing::warn!(
            order_id = %order.id.0,
            trace_id = context.trace_id(),
            cause = telemetry::chain(&error),
            "the sweeper will send what the order owes"
        );
    }
}

/// The order the path names, if the caller may see it. Somebody else's is not there at all.
async fn visible_order(
    orders: &OrderStore,
    caller: &Caller,
    request: &Request,
) -> Result<Order, Problem> {
    let id = OrderId(request.uuid("id")?);
    let order = orders
        .get(id)
        .await?
        .filter(|order| order.user_id.0 == caller.user_id || caller.is_admin())
        .ok_or_else(|| no_such_order(id))?;
    if owed(&order).is_some() && order.due_at.is_none() {
        tracing::error!(
            event = "order_never_due",
            order_id = %id.0,
            state = ?order.state,
            "its row has no due_at, so the sweeper cannot find it; cargo xtask saga retry {} mends that",
            id.0
        );
    }
    Ok(order)
}

/// Says when to look again, where the order still moves.
fn polled(response: Response, order: &Order) -> Response {
    match owed(order) {
        Some(_) => response.with_header("retry-after", "1"),
        None => response,
    }
}

fn no_such_order(id: OrderId) -> Problem {
    Problem::not_found(format!("there is no order {}", id.0))
}

#[derive(Serialize)]
struct OrderBody {
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
    rehearsal: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct LineBody {
    sku: String,
    name: Option<String>,
    quantity: u32,
    unit_price: Option<MoneyBody>,
}

#[derive(Serialize)]
struct MoneyBody {
    amount: i64,
    currency: String,
}

#[derive(Serialize)]
struct FailureBody {
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
            rehearsal: order.rehearsal.as_ref().map(Rehearsal::to_string),
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
