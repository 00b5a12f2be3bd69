//! `POST /api/v1/items`: a new item in the catalogue, for administrators.

use jiff::Timestamp;
use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::http::{Object, Request, Response};
use shared_lambda::problem::{Fields, Problem};
use shared_lambda::{Context, Error, Setup};

use super::{ItemBody, MoneyBody, Viewer, admin_only};
use crate::domain::{InitialStock, Item, ItemName, Levels, Sku};
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
    let item = request.parse(|body: CreateBody, fields| body.parse(context.now, fields))?;
    match store.create(&item, context.fresh_id).await? {
        Created::Done => Ok(Response::json(201, &ItemBody::new(&item, Viewer::Admin))
            .with_header("location", format!("/api/v1/items/{}", item.sku))),
        Created::Taken => Err(Problem::new(
            &SKU_TAKEN,
            format!("there is an item {} already", item.sku),
        )),
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
