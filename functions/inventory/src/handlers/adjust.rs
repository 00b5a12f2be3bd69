//! `POST /api/v1/items/{sku}/adjustments`: units found or lost, for administrators.
//!
//! With an `Idempotency-Key` the adjustment's id follows from administrator, item and key, so that
//! its record is also the deduplication: the same request again is answered as the first time, and
//! another request under the same key is refused. An adjustment that was refused for lack of stock
//! left no record; asked again, it is tried again.

use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{Fields, Problem};
use shared_lambda::{Context, Error, Setup};
use uuid::Uuid;

use super::{admin_only, no_such_item, sku_of};
use crate::domain::{Adjustment, Delta, Reason, Sku};
use crate::store::{Adjusted, InventoryStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdjustBody {
    delta: i64,
    reason: String,
}

#[derive(Serialize)]
struct AdjustmentBody<'a> {
    id: Uuid,
    sku: &'a str,
    delta: i64,
    reason: &'a str,
    created_at: String,
}

/// The table that has the stock.
pub fn wire(setup: &Setup) -> Result<InventoryStore, Error> {
    Ok(InventoryStore::new(
        setup.dynamodb(),
        setup.env("INVENTORY_TABLE")?,
    ))
}

pub async fn handle(
    store: &InventoryStore,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    admin_only(&caller)?;
    let sku = sku_of(&request)?;
    let (key, delta, reason) = request.parse(|body: AdjustBody, fields| {
        let key = fields.take("Idempotency-Key", request.idempotency_key());
        let (delta, reason) = body.parse(fields)?;
        Some((key?, delta, reason))
    })?;
    let id_of = |key: &str| adjustment_id(caller.user_id, &sku, key);
    let formerly = key.as_ref().and_then(|key| key.formerly.as_deref());
    let formerly = formerly.map(id_of);
    let adjustment = Adjustment {
        id: match &key {
            Some(key) => id_of(&key.value),
            None => context.fresh_id,
        },
        sku,
        delta,
        reason,
        made_by: caller.user_id,
        created_at: context.now,
    };
    if let Some(id) = formerly
        && let Some(before) = store.adjustment(&adjustment.sku, id).await?
    {
        return repeated(&adjustment, &before);
    }
    let adjusted = store.adjust(&adjustment, context.fresh_id).await;
    match adjusted.map_err(|error| error.of_write(key.is_some(), how_to_tell(&adjustment.sku)))? {
        Adjusted::Done => Ok(answer(&adjustment)),
        Adjusted::Before(before) => repeated(&adjustment, &before),
        Adjusted::Insufficient { available } => Err(Problem::conflict(
            "insufficient-stock",
            format!(
                "{} units of {} are available, and this would take {}",
                available,
                adjustment.sku,
                adjustment.delta.takes()
            ),
        )),
        Adjusted::NoSuchItem => Err(no_such_item(&adjustment.sku)),
    }
}

fn repeated(adjustment: &Adjustment, before: &Adjustment) -> Result<Response, Problem> {
    if adjustment.is_repeat_of(before) {
        return Ok(answer(before));
    }
    Err(Problem::unprocessable(
        "idempotency-key-reused",
        "this Idempotency-Key came with another adjustment of this item before; take a new key",
    ))
}

fn how_to_tell(sku: &Sku) -> String {
    format!(
        "the adjustment may have been made; compare what GET /api/v1/items/{sku} says is stocked, which \
         orders do not change, before sending it again; with an Idempotency-Key it is safe to send \
         again at any time"
    )
}

fn answer(adjustment: &Adjustment) -> Response {
    let body = AdjustmentBody {
        id: adjustment.id,
        sku: adjustment.sku.as_str(),
        delta: adjustment.delta.get(),
        reason: adjustment.reason.as_str(),
        created_at: format!("{:.3}", adjustment.created_at),
    };
    Response::json(201, &body)
}

/// UUIDv5 within the administrator's own namespace: nobody else's key can meet it.
fn adjustment_id(admin: Uuid, sku: &Sku, key: &str) -> Uuid {
    Uuid::new_v5(&admin, format!("adjustment {sku} {key}").as_bytes())
}

impl AdjustBody {
    fn parse(&self, fields: &mut Fields) -> Option<(Delta, Reason)> {
        let delta = fields.take_number("/delta", self.delta, Delta::parse(self.delta));
        let reason = fields.take("/reason", Reason::parse(&self.reason));
        Some((delta?, reason?))
    }
}
