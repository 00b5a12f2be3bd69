//! `POST /api/v1/orders/{id}/cancel`: the customer, or an administrator, wants out.

use shared_auth::Caller;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;

use super::{Applied, OrderBody, apply, no_such_order, polled, send_owed, visible_order};
use crate::domain::{CancelledBy, Event, StepTimeout};
use crate::messages::Routes;
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
    let by = if order.user_id.0 == caller.user_id {
        CancelledBy::Customer
    } else {
        CancelledBy::Administrator
    };
    let event = Event::CancelRequested { by };
    match apply(&cancel.orders, order.id, &event, cancel.timeout, &context).await? {
        Applied::Order { order, owes, .. } => {
            if owes {
                send_owed(&cancel.queues, &cancel.routes, &order, &context).await;
            }
            Ok(polled(
                Response::json(202, &OrderBody::from(&*order)),
                &order,
            ))
        }
        Applied::Refused { order, refusal } => Err(Problem::conflict(
            "too-late",
            format!("order {}: {refusal}", order.id.0),
        )),
        Applied::NoSuchOrder => Err(no_such_order(order.id)),
    }
}
