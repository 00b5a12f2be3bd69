//! `GET /api/v1/items`: the catalogue, page by page in the order of SKUs.

use serde::{Deserialize, Serialize};
use shared_auth::Verifier;
use shared_lambda::http::{Query, Request, Response};
use shared_lambda::problem::Problem;
use shared_lambda::{Context, cursor};

use super::{ItemBody, Viewer};
use crate::store::InventoryStore;

pub const QUERY: Query = Query(&["limit", "cursor"]);

/// The longest sort key (DynamoDB developer guide, "Constraints").
const MAX_KEY_BYTES: usize = 1024;

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

/// Any SKU that the index can hold.
fn position(text: &str) -> Result<String, Problem> {
    let Position { after } = cursor::decode(text)?;
    if (1..=MAX_KEY_BYTES).contains(&after.len()) {
        Ok(after)
    } else {
        Err(Problem::invalid_field(
            "cursor",
            "is not a cursor of this list",
        ))
    }
}
