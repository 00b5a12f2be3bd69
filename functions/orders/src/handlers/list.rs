//! `GET /api/v1/orders`: the caller's orders, newest first; an administrator may name another user.

use serde::Serialize;
use shared_auth::Caller;
use shared_lambda::http::{Query, Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::problems::ADMIN_ONLY;
use shared_lambda::{Context, Error, Setup, cursor};
use uuid::Uuid;

use super::view::OrderBody;
use crate::domain::{Status, UserId};
use crate::store::OrderStore;

pub const QUERY: Query = Query(&["status", "user_id", "limit", "cursor"]);

#[derive(Serialize)]
struct Body {
    items: Vec<OrderBody>,
    next_cursor: Option<String>,
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
    let user = requested_user(&caller, &request)?;
    let status = request.query("status").map(status).transpose()?;
    let page = request.page()?;
    let after = page.cursor.as_deref().map(cursor::decode).transpose()?;
    let found = orders.list(user, status, page.limit, after).await?;
    let body = Body {
        items: found.orders.iter().map(OrderBody::from).collect(),
        next_cursor: found.next.map(|next| cursor::encode(&next)),
    };
    Ok(Response::json(200, &body))
}

fn requested_user(caller: &Caller, request: &Request) -> Result<UserId, Problem> {
    let Some(text) = request.query("user_id") else {
        return Ok(UserId(caller.user_id));
    };
    let user_id =
        Uuid::try_parse(text).map_err(|_| Problem::invalid_field("user_id", "is not a UUID"))?;
    if user_id == caller.user_id || caller.is_admin() {
        Ok(UserId(user_id))
    } else {
        Err(Problem::new(
            &ADMIN_ONLY,
            "only an administrator may list another user's orders; leave user_id out to list your own",
        ))
    }
}

fn status(text: &str) -> Result<Status, Problem> {
    Status::parse(text).ok_or_else(|| {
        let known = Status::ALL.map(Status::as_str).join(", ");
        Problem::invalid_field("status", format!("is not one of {known}"))
    })
}
