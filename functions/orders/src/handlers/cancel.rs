//! `POST /api/v1/orders/{id}/cancel`: the customer or an administrator cancels an order.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

use super::view::{OrderBody, no_such_order, polled, visible_order};
use crate::advance::{Applied, Saga};
use crate::domain::{CancelledBy, Event, Order};
use crate::messages::Routes;
use crate::problems::TOO_LATE;

/// A cancellation needs no route to users.
pub fn wire(setup: &Setup) -> Result<Saga, Error> {
    let routes = Routes::default()
        .inventory(setup.env("INVENTORY_COMMANDS_QUEUE_URL")?)
        .payments(setup.env("PAYMENTS_COMMANDS_QUEUE_URL")?);
    Saga::wire(setup, routes)
}

pub async fn handle(
    saga: &Saga,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let order = visible_order(&saga.orders, &caller, &request).await?;
    let by = if order.user_id.0 == caller.user_id {
        CancelledBy::Customer
    } else {
        CancelledBy::Administrator
    };
    let event = Event::CancelRequested { by };
    match saga.advance(order.id, &event, &context).await? {
        Applied::Advanced(order) | Applied::Repeated(order) => {
            saga.send_owed(&order, &context).await;
            Ok(accepted(&order))
        }
        Applied::Overtaken(order) => Ok(accepted(&order)),
        Applied::Refused(order, refusal) => Err(Problem::new(
            &TOO_LATE,
            format!("order {}: {refusal}", order.id.0),
        )),
        Applied::NotFound => Err(no_such_order(order.id)),
    }
}

fn accepted(order: &Order) -> Response {
    polled(Response::json(202, &OrderBody::from(order)), order)
}
