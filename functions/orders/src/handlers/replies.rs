//! The queue `orders-replies`: the participants' answers drive the saga.

use shared_lambda::envelope::Envelope;
use shared_lambda::sqs::{Failure, Outgoing};
use shared_lambda::{Context, Error, Setup};

use crate::advance::{Applied, Saga};
use crate::domain::OrderId;
use crate::messages::{self, Routes, owed_message};

/// Only the first step asks users, so no reply leads there.
pub fn wire(setup: &Setup) -> Result<Saga, Error> {
    let routes = Routes::default()
        .inventory(setup.env("INVENTORY_COMMANDS_QUEUE_URL")?)
        .payments(setup.env("PAYMENTS_COMMANDS_QUEUE_URL")?);
    Saga::wire(setup, routes)
}

pub async fn handle(
    saga: &Saga,
    context: Context,
    envelope: Envelope,
) -> Result<Vec<Outgoing>, Failure> {
    let event = messages::event(&envelope)?;
    let id = OrderId(envelope.subject);
    match saga.advance(id, &event, &context).await? {
        Applied::Advanced(order) | Applied::Repeated(order) => {
            owed_message(&order, &saga.routes, &context)
                .map(|message| message.into_iter().collect())
                .map_err(|error| Failure::unprocessable(error.to_string()))
        }
        Applied::Overtaken(_) => Ok(Vec::new()),
        Applied::Refused(_, refusal) => Err(Failure::unprocessable(refusal.to_string())),
        // An order is written before its first command is sent, so this reply is from elsewhere.
        Applied::NotFound => Err(Failure::unprocessable(format!(
            "there is no order {} here; find out which stage sent this before it is sent again",
            id.0
        ))),
    }
}
