//! `GET /api/v1/items`: the catalogue, page by page in the order of SKUs.

use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::{Query, Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, Error, Setup, cursor};

use super::{ItemBody, Viewer};
use crate::store::InventoryStore;

pub const QUERY: Query = Query(&["limit", "cursor"]);

/// The start of a page: after a SKU that the index can hold.
#[derive(Serialize, Deserialize)]
struct Position {
    #[serde(deserialize_with = "cursor::sort_key")]
    after: String,
}

#[derive(Serialize)]
struct ListBody<'a> {
    items: Vec<ItemBody<'a>>,
    next_cursor: Option<String>,
}

/// The table that items are listed from.
pub fn wire(setup: &Setup) -> Result<InventoryStore, Error> {
    Ok(InventoryStore::new(
        setup.dynamodb(),
        setup.env("INVENTORY_TABLE")?,
    ))
}

pub async fn handle(
    store: &InventoryStore,
    caller: Option<Caller>,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let viewer = Viewer::of(caller.as_ref());
    let page = request.page::<Position>()?;
    let after = page.after.map(|position| position.after);
    let listed = store
        .page(after.as_deref(), page.limit, context.fresh_id)
        .await?;
    let body = ListBody {
        items: listed
            .items
            .iter()
            .map(|item| ItemBody::new(item, viewer))
            .collect(),
        next_cursor: listed.next.map(|after| cursor::encode(&Position { after })),
    };
    Ok(Response::json(200, &body))
}
