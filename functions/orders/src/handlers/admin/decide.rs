//! An operator's decision about one order: retry or abandon.

use serde_json::json;
use shared_lambda::table::TableError;
use shared_lambda::{Context, sqs, telemetry};

use super::report::Report;
use super::{Answer, Outcome};
use crate::advance::{Applied, Saga};
use crate::domain::{Event, Order, OrderId, abandonment};
use crate::messages::owed_message;

/// Applies an operator's decision and sends the command the order then owes. After a crash in between,
/// the sweeper or a repeated call sends it. A failed send is an answer, because the decision stands.
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
        // The decision was not recorded, so a failed send does not matter to this operator.
        (Some(outcome), _) => outcome,
        (None, Some(_)) if written => Outcome::RecordedNotSent,
        (None, Some(_)) => Outcome::NotSent,
        (None, None) if is_owed => Outcome::Sent,
        (None, None) => Outcome::NothingOwed,
    };
    tracing::warn!(
        event = "operated",
        order = %order.id.0,
        outcome = json!(outcome).as_str(),
        state = ?order.state,
        cause = failure,
        trace = context.trace_id(),
        "{}",
        match written {
            true => "an operator changed the order; its timeline names the operator and the reason",
            false => "an operator's request did not change the order",
        }
    );
    Ok(Answer {
        outcome,
        detail: failure,
        order: Some(Report::whole(&order, context.now)),
    })
}

/// The outcome of a decision to abandon a step; none for other decisions.
fn abandoned(order: &Order, event: &Event) -> Option<Outcome> {
    let Event::Abandoned { step, reason, by } = event else {
        return None;
    };
    let (_, undo) = step.declared();
    let mut timeline = order.timeline.iter();
    Some(match timeline.find(|entry| entry.event == undo.abandoned) {
        Some(entry) if entry.detail.as_ref() == Some(&abandonment(by, reason)) => {
            Outcome::Abandoned
        }
        Some(_) => Outcome::AbandonedBefore,
        None => {
            let was_asked = |event| event == undo.action.requested || event == undo.action.done;
            match order.timeline.iter().any(|entry| was_asked(entry.event)) {
                true => Outcome::Answered,
                false => Outcome::NeverAsked,
            }
        }
    })
}
