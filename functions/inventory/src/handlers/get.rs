//! `GET /api/v1/items/{sku}`: one item.

use shared_auth::Verifier;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;

use super::{ItemBody, Viewer, no_such_item, sku_of};
use crate::store::InventoryStore;

pub async fn handle(
    store: &InventoryStore,
    verifier: &Verifier,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let viewer = Viewer::of(verifier, &context, &request)?;
    let sku = sku_of(&request)?;
    let item = store.item(&sku).await?.ok_or_else(|| no_such_item(&sku))?;
    Ok(Response::json(200, &ItemBody::new(&item, viewer)))
}
