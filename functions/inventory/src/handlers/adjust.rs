//! `POST /api/v1/items/{sku}/adjustments`: units found or lost, for administrators.
//!
//! With an `Idempotency-Key`, the adjustment's id derives from administrator, item and key. The
//! record then recognises repeats: the same request gets the first answer, another one is refused. An
//! adjustment refused for lack of stock leaves no record; a repeat tries again.

use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{Fields, Problem};
use shared_lambda::problems::IDEMPOTENCY_KEY_REUSED;
use shared_lambda::{Context, Error, Setup};
use uuid::Uuid;

use super::{admin_only, no_such_item, sku_of};
use crate::domain::{Adjustment, Delta, Reason, Sku};
use crate::problems::INSUFFICIENT_STOCK;
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
    let mut fields = request.fields();
    let sku = fields.add(sku_of(&request));
    let key = fields.take_header("Idempotency-Key", request.idempotency_key());
    let (sku, key, delta, reason) = request.parse(fields, |body: AdjustBody, fields| {
        let (delta, reason) = body.parse(fields)?;
        Some((sku?, key?, delta, reason))
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
        Adjusted::Insufficient { available } => Err(Problem::new(
            &INSUFFICIENT_STOCK,
            format!(
                "only {} units of {} are available; this adjustment removes {}",
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
        return Ok(answer(before).replayed(true));
    }
    Err(Problem::new(
        &IDEMPOTENCY_KEY_REUSED,
        "this Idempotency-Key belongs to another adjustment of this item; send a new key",
    ))
}

fn how_to_tell(sku: &Sku) -> String {
    format!(
        "the adjustment may have been made; before a retry, check `stocked` in GET /api/v1/items/{sku}, \
         which orders do not change; with an Idempotency-Key, a retry is always safe"
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

/// A UUIDv5 in the administrator's namespace: other administrators' keys cannot collide with it.
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
