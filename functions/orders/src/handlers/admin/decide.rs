//! An operator's decision about one order: retry or abandon.

use serde_json::json;
use shared_lambda::table::TableError;
use shared_lambda::{Context, sqs, telemetry};

use super::report::Report;
use super::{Answer, Outcome};
use crate::advance::{Applied, Saga};
use crate::domain::{Event, Order, OrderId, abandonment};
use crate::messages::owed_message;

/// Carries an operator's decision through and sends what the order then owes. Dying in between
/// leaves it to the sweeper, or to the operator asking again; so does a send that fails, which is an
/// answer, because the decision stands.
pub async fn advance(
    saga: &Saga,
    id: OrderId,
    event: &Event,
    context: &Context,
) -> Result<Answer, TableError> {
    let (order, owes, written) = match saga.advance(id, event, context).await? {
        Applied::Advanced(order) => (order, true, true),
        Applied::Repeated(order) => (order, true, false),
        Applied::Overtaken(order) => (order, false, false),
        Applied::Refused(order, refusal) => {
            return Ok(Answer {
                outcome: Outcome::Refused,
                detail: Some(refusal.to_string()),
                order: Some(Report::whole(&order, context.now)),
            });
        }
        Applied::NotFound => return Ok(Outcome::NoSuchOrder.alone()),
    };
    let message = if owes {
        owed_message(&order, &saga.routes, context)
    } else {
        Ok(None)
    };
    let is_owed = !matches!(message, Ok(None));
    let failure = match message {
        Ok(message) => {
            let sent = sqs::send(&saga.queues, message.into_iter().collect()).await;
            sent.err().map(|error| telemetry::chain(&error))
        }
        Err(error) => Some(error.to_string()),
    };
    let outcome = match (abandoned(&order, event), &failure) {
        (Some(Outcome::Abandoned), Some(_)) => Outcome::RecordedNotSent,
        // What is owed is not theirs to send where nothing was recorded of what they wanted.
        (Some(outcome), _) => outcome,
        (None, Some(_)) if written => Outcome::RecordedNotSent,
        (None, Some(_)) => Outcome::NotSent,
        (None, None) if is_owed => Outcome::Sent,
        (None, None) => Outcome::NothingOwed,
    };
    tracing::warn!(
        event = "operated",
        order_id = %order.id.0,
        outcome = json!(outcome).as_str(),
        state = ?order.state,
        cause = failure,
        trace_id = context.trace_id(),
        "{}",
        match written {
            true => "an operator stepped in; the order's timeline says who and why",
            false => "an operator stepped in, and there was nothing to record",
        }
    );
    Ok(Answer {
        outcome,
        detail: failure,
        order: Some(Report::whole(&order, context.now)),
    })
}

/// What became of the decision to abandon a step, if that is what it was.
fn abandoned(order: &Order, event: &Event) -> Option<Outcome> {
    let Event::Abandoned { step, reason, by } = event else {
        return None;
    };
    let (_, undo) = step.declared();
    let mut timeline = order.timeline.iter();
    Some(match timeline.find(|entry| entry.what == undo.abandoned) {
        Some(entry) if entry.detail.as_ref() == Some(&abandonment(by, reason)) => {
            Outcome::Abandoned
        }
        Some(_) => Outcome::AbandonedBefore,
        None => {
            let was_asked = |what| what == undo.action.requested || what == undo.action.done;
            match order.timeline.iter().any(|entry| was_asked(entry.what)) {
                true => Outcome::Answered,
                false => Outcome::NeverAsked,
            }
        }
    })
}
