//! `GET /api/v1/items/{sku}`: one item.

use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup, conditional};

use super::{ItemBody, Viewer, no_such_item, sku_of};
use crate::store::InventoryStore;

/// The table that items are read from.
pub fn wire(setup: &Setup) -> Result<InventoryStore, Error> {
    Ok(InventoryStore::new(
        setup.dynamodb(),
        setup.env("INVENTORY_TABLE")?,
    ))
}

pub async fn handle(
    store: &InventoryStore,
    caller: Option<Caller>,
    _context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let viewer = Viewer::of(caller.as_ref());
    let sku = sku_of(&request)?;
    let item = store.item(&sku).await?.ok_or_else(|| no_such_item(&sku))?;
    conditional::answer(request.conditions(), ItemBody::respond(200, &item, viewer))
}
