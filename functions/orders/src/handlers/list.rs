//! `GET /api/v1/orders`: the caller's orders, newest first; an administrator may name another user.

use serde::Serialize;
use shared_auth::Caller;
use shared_lambda::http::{Query, Request, Response, parse_uuid};
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
    let mut fields = request.fields();
    let user_id = request.query("user_id").map(parse_uuid).transpose();
    let user_id = fields.take_parameter("user_id", user_id);
    let status = fields.add(request.query("status").map(status).transpose());
    let page = fields.add(request.page());
    let (Some(user_id), Some(status), Some(page)) = (user_id, status, page) else {
        return Err(fields.into_problem());
    };
    let user = requested_user(&caller, user_id)?;
    let found = orders.list(user, status, page.limit, page.after).await?;
    let body = Body {
        items: found.orders.iter().map(OrderBody::from).collect(),
        next_cursor: found.next.map(|next| cursor::encode(&next)),
    };
    Ok(Response::json(200, &body))
}

fn requested_user(caller: &Caller, user_id: Option<Uuid>) -> Result<UserId, Problem> {
    let user_id = user_id.unwrap_or(caller.user_id);
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
        Problem::invalid_parameter("status", format!("is not one of {known}"))
    })
}
