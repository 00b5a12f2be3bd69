//! `GET /api/v1/orders/{id}/timeline`: the events of an order, oldest first.

use serde::Serialize;
use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

use super::view::visible_order;
use crate::domain::Entry;
use crate::store::OrderStore;

#[derive(Serialize)]
struct Body {
    items: Vec<EntryBody>,
    /// Always null: a timeline is one page, because the saga bounds its length.
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct EntryBody {
    at: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Needs only the orders table.
pub fn wire(setup: &Setup) -> Result<OrderStore, Error> {
    Ok(OrderStore::new(
        setup.dynamodb(),
        setup.env("ORDERS_TABLE")?,
    ))
}

pub async fn handle(
    orders: &OrderStore,
    caller: Caller,
    _context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let order = visible_order(orders, &caller, request.uuid("id")?).await?;
    let entry = |mut entry: Entry| {
        if entry.event.is_by_operator() && !caller.is_admin() {
            entry.detail = None;
        }
        EntryBody::from(entry)
    };
    let body = Body {
        items: order.timeline.into_iter().map(entry).collect(),
        next_cursor: None,
    };
    Ok(Response::json(200, &body))
}

impl From<Entry> for EntryBody {
    fn from(entry: Entry) -> Self {
        Self {
            at: format!("{:.3}", entry.at),
            event: entry.event.as_str(),
            attempt: entry.attempt,
            detail: entry.detail,
        }
    }
}
