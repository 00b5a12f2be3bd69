//! `GET /api/v1/orders/{id}`: one order, for its owner or an administrator.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;

use super::{OrderBody, visible_order};
use crate::store::OrderStore;

pub async fn handle(
    orders: &OrderStore,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let order = visible_order(orders, &caller, &request).await?;
    Ok(Response::json(200, &OrderBody::from(&order)))
}
