//! The operators' actions on orders that have not ended: list and show them, retry or abandon a step.
//! There is no route. Operators invoke the function by name (`waybill saga`) with their own AWS
//! credentials.
//!
//! A call names its operator (`by`) for the timeline, because AWS does not tell a function who called
//! it. CloudTrail records the true caller.

mod decide;
mod list;
mod report;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup, telemetry};
use uuid::Uuid;

use crate::advance::Saga;
use crate::domain::{Compensation, Event, OrderId};
use crate::messages::Routes;
use report::Report;

pub use report::OVERDUE;

const MAX_REASON_CHARACTERS: usize = 500;
const MAX_NAME_CHARACTERS: usize = 100;

/// Operators may retry any step, so there is a route to every participant.
pub fn wire(setup: &Setup) -> Result<Saga, Error> {
    let routes = Routes::default()
        .users(setup.env("USERS_COMMANDS_QUEUE_URL")?)
        .inventory(setup.env("INVENTORY_COMMANDS_QUEUE_URL")?)
        .payments(setup.env("PAYMENTS_COMMANDS_QUEUE_URL")?);
    Saga::wire(setup, routes)
}

#[derive(Deserialize)]
#[serde(
    tag = "action",
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
enum Request {
    /// The orders that have not ended, or only the stuck ones.
    List {
        #[serde(default)]
        stuck: bool,
        /// The `next_cursor` of the previous page.
        #[serde(default)]
        cursor: Option<list::Cursor>,
    },
    Show {
        order_id: Uuid,
    },
    Retry {
        order_id: Uuid,
        by: String,
    },
    Abandon {
        order_id: Uuid,
        #[serde(deserialize_with = "compensation")]
        step: Compensation,
        reason: String,
        by: String,
    },
}

/// A valid request.
enum Call {
    List { stuck: bool, from: list::Cursor },
    Show(OrderId),
    Advance(OrderId, Event),
}

#[derive(Serialize)]
struct Answer {
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Report>,
}

/// The outcome of an operator's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Invalid,
    NoSuchOrder,
    Unreadable,
    Found,
    Refused,
    Sent,
    NothingOwed,
    Abandoned,
    /// An earlier decision about the same step stands; this one is not recorded.
    AbandonedBefore,
    /// The step's answer came before the decision.
    Answered,
    NeverAsked,
    RecordedNotSent,
    /// The send failed, and the order's row needed no change.
    NotSent,
}

impl Outcome {
    fn alone(self) -> Answer {
        Answer {
            outcome: self,
            detail: None,
            order: None,
        }
    }
}

/// Handles one call. A wrong request is an answer and raises no alarm; after an error the operator may
/// call again. Every action is idempotent.
pub async fn handle(saga: &Saga, context: Context, request: Value) -> Result<Value, Error> {
    let answer = match parse(request) {
        Ok(Call::List { stuck, from }) => return list::list(saga, stuck, from, &context).await,
        Ok(Call::Show(id)) => show(saga, id, &context).await,
        Ok(Call::Advance(id, event)) => decide::advance(saga, id, &event, &context).await,
        Err(detail) => Ok(Answer {
            detail: Some(detail),
            ..Outcome::Invalid.alone()
        }),
    };
    match answer {
        Ok(answer) => Ok(json!(answer)),
        Err(error) if error.is_corrupt() => Ok(json!(Answer {
            detail: Some(telemetry::chain(&error)),
            ..Outcome::Unreadable.alone()
        })),
        Err(error) => Err(error.into()),
    }
}

fn parse(request: Value) -> Result<Call, String> {
    let request: Request =
        serde_json::from_value(request).map_err(|error| format!("the request: {error}"))?;
    Ok(match request {
        Request::List { stuck, cursor } => Call::List {
            stuck,
            from: cursor.unwrap_or_default(),
        },
        Request::Show { order_id } => Call::Show(OrderId(order_id)),
        Request::Retry { order_id, by } => {
            let event = Event::RetryRequested { by: name(&by)? };
            Call::Advance(OrderId(order_id), event)
        }
        Request::Abandon {
            order_id,
            step,
            reason,
            by,
        } => {
            let event = Event::Abandoned {
                step,
                reason: line("reason", &reason, MAX_REASON_CHARACTERS)?,
                by: name(&by)?,
            };
            Call::Advance(OrderId(order_id), event)
        }
    })
}

fn compensation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Compensation, D::Error> {
    let name = String::deserialize(deserializer)?;
    Compensation::parse(&name)
        .ok_or_else(|| D::Error::custom(format!("step is {name}; send refund or release")))
}

fn name(text: &str) -> Result<String, String> {
    line("by", text, MAX_NAME_CHARACTERS)
}

/// Checks a line of text for the timeline.
fn line(field: &str, text: &str, limit: usize) -> Result<String, String> {
    let text = text.trim();
    if (1..=limit).contains(&text.chars().count()) && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "the request: {field} is not one line of 1 to {limit} characters"
        ))
    }
}

async fn show(saga: &Saga, id: OrderId, context: &Context) -> Result<Answer, TableError> {
    Ok(match saga.orders.get(id).await? {
        None => Outcome::NoSuchOrder.alone(),
        Some(order) => Answer {
            order: Some(Report::whole(&order, context.now)),
            ..Outcome::Found.alone()
        },
    })
}
