//! `POST /api/v1/orders/{id}/cancel`: the customer, or an administrator, wants out.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, sqs, telemetry};

use super::{Applied, OrderBody, SEND_PATIENCE, apply, no_such_order, visible_order};
use crate::domain::{Event, Order, StepTimeout};
use crate::messages::{Routes, owed_message};
use crate::store::OrderStore;

/// What cancelling needs besides the request.
pub struct Cancel {
    pub orders: OrderStore,
    pub queues: aws_sdk_sqs::Client,
    pub routes: Routes,
    pub timeout: StepTimeout,
}

pub async fn handle(
    cancel: &Cancel,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let order = visible_order(&cancel.orders, &caller, &request).await?;
    let event = Event::CancelRequested;
    match apply(&cancel.orders, order.id, &event, cancel.timeout, &context).await? {
        Applied::Order { order, owes } => {
            if owes {
                send_owed(cancel, &order, &context).await;
            }
            Ok(Response::json(202, &OrderBody::from(&*order)).with_header("retry-after", "1"))
        }
        Applied::Refused { order, refusal } => Err(Problem::conflict(
            "too-late",
            format!("order {}: {refusal}", order.id.0),
        )),
        Applied::NoSuchOrder => Err(no_such_order(order.id)),
    }
}

/// The cancellation is written and will be carried out: a message that cannot be sent now is the
/// sweeper's, and the customer need not hear of it.
async fn send_owed(cancel: &Cancel, order: &Order, context: &Context) {
    let owed = owed_message(order, &cancel.routes, context);
    let owed = owed.into_iter().collect();
    if let Err(error) = sqs::send_within(SEND_PATIENCE, &cancel.queues, owed).await {
        tracing::warn!(
            order_id = %order.id.0,
            trace_id = context.trace_id(),
            cause = telemetry::chain(&error),
            "the sweeper will send what the cancelled order owes"
        );
    }
}
