//! `POST /api/v1/items/{sku}/adjustments`: units found or lost, for administrators.
//!
//! With an `Idempotency-Key` the adjustment's id follows from administrator, item and key, so that
//! its record is also the deduplication: the same request again is answered as the first time, and
//! another request under the same key is refused. An adjustment that was refused for lack of stock
//! left no record; asked again, it is tried again.

use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::Context;
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::{Fields, Problem};
use shared_lambda::table::TableError;
use uuid::Uuid;

use super::{admin_only, no_such_item, sku_of};
use crate::domain::{Adjustment, Delta, Reason, Sku};
use crate::store::{Adjusted, InventoryStore};

const MAX_KEY_CHARS: usize = 255;

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

pub async fn handle(
    store: &InventoryStore,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    admin_only(&caller)?;
    let sku = sku_of(&request)?;
    let key = idempotency_key(&request)?;
    let (delta, reason) = request.json::<AdjustBody>()?.parse()?;
    let adjustment = Adjustment {
        id: key.map_or(context.fresh_id, |key| {
            adjustment_id(caller.user_id, &sku, key)
        }),
        sku,
        delta,
        reason,
        made_by: caller.user_id,
        created_at: context.now,
    };
    let adjusted = store.adjust(&adjustment, context.fresh_id).await;
    match adjusted.map_err(|error| not_adjusted(error, &adjustment, key.is_some()))? {
        Adjusted::Done => Ok(answer(&adjustment)),
        Adjusted::Before(before) if adjustment.is_repeat_of(&before) => Ok(answer(&before)),
        Adjusted::Before(_) => Err(Problem::unprocessable(
            "idempotency-key-reused",
            "this Idempotency-Key came with another adjustment of this item before; take a new key",
        )),
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

/// A write without an answer may have been made. With a key the same request again is the same
/// adjustment; without one it would count a second time, so nobody is told to just try again.
fn not_adjusted(error: TableError, adjustment: &Adjustment, has_key: bool) -> Problem {
    if has_key || !error.is_unknown_outcome() {
        return error.into();
    }
    Problem::outcome_unknown(
        format!(
            "the adjustment may have been made; compare what GET /api/v1/items/{} says is stocked, which \
             orders do not change, before sending it again; with an Idempotency-Key it is safe to send \
             again at any time",
            adjustment.sku
        ),
        error,
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

fn idempotency_key(request: &Request) -> Result<Option<&str>, Problem> {
    let Some(key) = request.header("idempotency-key") else {
        return Ok(None);
    };
    let well_formed =
        (1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if well_formed {
        Ok(Some(key))
    } else {
        Err(Problem::invalid_field(
            "Idempotency-Key",
            format!("is not 1 to {MAX_KEY_CHARS} visible ASCII characters"),
        ))
    }
}

/// UUIDv5 within the administrator's own namespace: nobody else's key can meet it.
fn adjustment_id(admin: Uuid, sku: &Sku, key: &str) -> Uuid {
    Uuid::new_v5(&admin, format!("adjustment {sku} {key}").as_bytes())
}

impl AdjustBody {
    fn parse(&self) -> Result<(Delta, Reason), Problem> {
        let mut fields = Fields::default();
        let delta = fields.take("/delta", Delta::parse(self.delta));
        let reason = fields.take("/reason", Reason::parse(&self.reason));
        match (delta, reason) {
            (Some(delta), Some(reason)) => Ok((delta, reason)),
            _ => Err(fields.into_problem()),
        }
    }
}
