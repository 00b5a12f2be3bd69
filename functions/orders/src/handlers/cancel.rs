//! `POST /api/v1/orders/{id}/cancel`: the customer or an administrator cancels an order.
//!
//! An order is cancelled once. So it is itself the record of an `Idempotency-Key`.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{FieldError, Problem};
use shared_lambda::{Context, Error, Setup};

use super::view::{MAX_WAIT, answered, no_such_order, visible_order};
use crate::advance::{Applied, Saga};
use crate::domain::{CancelledBy, Event};
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
    let wait = request.wait(MAX_WAIT);
    let mut fields = request.fields();
    let id = fields.add(request.uuid("id"));
    let key = fields.take_header("Idempotency-Key", request.idempotency_key());
    if !request.body().is_empty() {
        fields.push(FieldError::new(
            "",
            "the body has to be empty; a cancellation has no content",
        ));
    }
    let (id, key) = fields.finish(id.zip(key))?;
    let order = visible_order(&saga.orders, &caller, id).await?;
    let by = if order.user_id.0 == caller.user_id {
        CancelledBy::Customer
    } else {
        CancelledBy::Administrator
    };
    let event = Event::CancelRequested { by };
    let applied = saga.advance(order.id, &event, &context).await?;
    let is_repeat = !matches!(applied, Applied::Advanced(_));
    let order = match applied {
        Applied::Advanced(order) | Applied::Repeated(order) => {
            saga.send_owed(&order, &context).await;
            order
        }
        Applied::Overtaken(order) => order,
        Applied::Refused(order, refusal) => {
            return Err(Problem::new(
                &TOO_LATE,
                format!("order {}: {refusal}", order.id.0),
            ));
        }
        Applied::NotFound => return Err(no_such_order(order.id)),
    };
    let response = answered(&saga.orders, *order, wait, 202).await;
    Ok(response.replayed(is_repeat && key.is_some()))
}
