//! `POST /api/v1/items`: a new item in the catalogue, for administrators.

use jiff::Timestamp;
use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::http::{Object, Request, Response};
use shared_lambda::problem::{Fields, Problem};
use shared_lambda::problems::IDEMPOTENCY_KEY_REUSED;
use shared_lambda::{Context, Error, Setup};
use uuid::Uuid;

use super::{ItemBody, MoneyBody, Viewer, admin_only};
use crate::domain::{CreationKey, InitialStock, Item, ItemName, Levels, Sku};
use crate::problems::SKU_TAKEN;
use crate::store::{Created, InventoryStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    sku: String,
    name: String,
    price: Object<MoneyBody>,
    stock: i64,
}

/// The table that items are added to.
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
    let key = fields.take_header("Idempotency-Key", request.idempotency_key());
    let (item, key) = request.parse(fields, |body: CreateBody, fields| {
        Some((body.parse(context.now, fields)?, key?))
    })?;
    let created = match key {
        Some(key) => {
            let key = creation_key(caller.user_id, &key.value, &item);
            store.create_once(&item, &key, context.fresh_id).await?
        }
        None => store.create(&item, context.fresh_id).await?,
    };
    let (item, is_repeat) = match created {
        Created::Done => (item, false),
        Created::Before(item) => (item, true),
        Created::KeyReused => {
            return Err(Problem::new(
                &IDEMPOTENCY_KEY_REUSED,
                "this Idempotency-Key belongs to another new item; send a new key",
            ));
        }
        Created::Taken => {
            return Err(Problem::new(
                &SKU_TAKEN,
                format!("there is an item {} already", item.sku),
            ));
        }
    };
    let location = format!("/api/v1/items/{}", item.sku);
    let response = ItemBody::respond(201, &item, Viewer::Admin).with_header("location", location);
    Ok(response.replayed(is_repeat))
}

/// UUIDv5s in the administrator's namespace, as those of adjustments.
fn creation_key(admin: Uuid, key: &str, item: &Item) -> CreationKey {
    let (name, price, stock) = (item.name.as_str(), &item.price, item.levels.stocked);
    let (amount, currency) = (price.amount.get(), price.currency.as_str());
    // No name has a line break.
    let request = format!("item {}\n{name}\n{amount} {currency} {stock}", item.sku);
    CreationKey {
        id: Uuid::new_v5(&admin, format!("item {key}").as_bytes()),
        fingerprint: Uuid::new_v5(&admin, request.as_bytes()),
    }
}

impl CreateBody {
    fn parse(&self, now: Timestamp, fields: &mut Fields) -> Option<Item> {
        let sku = fields.take("/sku", Sku::parse(&self.sku));
        let name = fields.take("/name", ItemName::parse(&self.name));
        let price = self.price.parse(fields);
        let stock = fields.take_number("/stock", self.stock, InitialStock::parse(self.stock));
        Some(Item {
            sku: sku?,
            name: name?,
            price: price?,
            levels: Levels::initial(stock?),
            created_at: now,
            updated_at: now,
        })
    }
}
