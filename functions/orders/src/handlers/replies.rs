//! The queue `orders-replies`: what participants answer drives the saga.

use shared_lambda::Context;
use shared_lambda::envelope::Envelope;
use shared_lambda::sqs::{Failure, Outgoing};

use super::{Applied, apply};
use crate::domain::{OrderId, StepTimeout};
use crate::messages::{self, Routes, owed_message};
use crate::store::OrderStore;

/// What carrying a reply through needs besides the message.
pub struct Replies {
    pub orders: OrderStore,
    pub routes: Routes,
    pub timeout: StepTimeout,
}

pub async fn handle(
    replies: &Replies,
    context: Context,
    envelope: Envelope,
) -> Result<Vec<Outgoing>, Failure> {
    let event = messages::event(&envelope)?;
    let id = OrderId(envelope.order_id);
    match apply(&replies.orders, id, &event, replies.timeout, &context).await? {
        Applied::Order {
            order, owes: true, ..
        } => owed_message(&order, &replies.routes, &context)
            .map(|message| message.into_iter().collect())
            .map_err(|error| Failure::unprocessable(error.to_string())),
        Applied::Order { owes: false, .. } => Ok(Vec::new()),
        Applied::Refused { refusal, .. } => Err(Failure::unprocessable(refusal.to_string())),
        // An order is written before anything is sent about it, so this is not ours.
        Applied::NoSuchOrder => Err(Failure::unprocessable(format!(
            "there is no order {} here; find out which stage sent this before it is sent again",
            id.0
        ))),
    }
}
