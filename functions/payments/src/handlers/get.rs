//! `GET /api/v1/payments/{order_id}`: an order's payment, for its owner and for administrators.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup};

use super::{PaymentBody, no_such_payment};
use crate::domain::OrderId;
use crate::store::PaymentStore;

/// The table that payments are read from.
pub fn wire(setup: &Setup) -> Result<PaymentStore, Error> {
    Ok(PaymentStore::new(
        setup.dynamodb(),
        setup.env("PAYMENTS_TABLE")?,
    ))
}

pub async fn handle(
    store: &PaymentStore,
    caller: Caller,
    _context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let order_id = OrderId(request.uuid("order_id")?);
    let payment = store.find(order_id).await?.ok_or_else(no_such_payment)?;
    if !caller.is_admin() && payment.user_id.0 != caller.user_id {
        return Err(no_such_payment());
    }
    Ok(Response::json(200, &PaymentBody::from(&payment)))
}
