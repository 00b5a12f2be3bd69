//! `GET /api/v1/items`: the catalogue, page by page in the order of SKUs.

use serde::{Deserialize, Serialize};
use shared_auth::Verifier;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, cursor};

use super::{ItemBody, Viewer};
use crate::domain::Sku;
use crate::store::InventoryStore;

/// Where a page begins.
#[derive(Serialize, Deserialize)]
struct Position {
    after: String,
}

#[derive(Serialize)]
struct ListBody<'a> {
    items: Vec<ItemBody<'a>>,
    next_cursor: Option<String>,
}

pub async fn handle(
    store: &InventoryStore,
    verifier: &Verifier,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let viewer = Viewer::of(verifier, &context, &request)?;
    let page = request.page()?;
    let after = page.cursor.as_deref().map(position).transpose()?;
    let listed = store
        .page(after.as_ref(), page.limit, context.fresh_id)
        .await?;
    let body = ListBody {
        items: listed
            .items
            .iter()
            .map(|item| ItemBody::new(item, viewer))
            .collect(),
        next_cursor: listed.next.map(|sku| {
            cursor::encode(&Position {
                after: sku.as_str().to_owned(),
            })
        }),
    };
    Ok(Response::json(200, &body))
}

fn position(text: &str) -> Result<Sku, Problem> {
    let position: Position = cursor::decode(text)?;
    Sku::parse(&position.after)
        .map_err(|_| Problem::invalid_field("cursor", "is not a cursor of this list"))
}
