//! `GET /api/v1/orders/{id}`: one order, for its owner or an administrator.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup, conditional};

use super::view::{MAX_WAIT, answered, visible_order};
use crate::store::OrderStore;

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
    let wait = request.wait(MAX_WAIT);
    let order = visible_order(orders, &caller, request.uuid("id")?).await?;
    let response = answered(orders, order, wait, 200).await;
    conditional::answer(request.conditions(), response)
}
