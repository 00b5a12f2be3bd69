//! `PATCH /api/v1/items/{sku}`: a new name or price, for administrators.
//!
//! Reserved units keep the price that their reservation recorded.

use serde::Deserialize;
use shared_auth::Caller;
use shared_lambda::http::{Object, Request, Response, not_null};
use shared_lambda::problem::{FieldError, Fields, Problem};
use shared_lambda::{Context, Error, Setup};

use super::{ItemBody, MoneyBody, Viewer, admin_only, no_such_item, sku_of};
use crate::domain::{ItemChange, ItemName};
use crate::store::{ChangedItem, InventoryStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    #[serde(default, deserialize_with = "not_null")]
    name: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    price: Option<Object<MoneyBody>>,
}

/// The table that items are changed in.
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
    let (change, sku) = request.parse(fields, |body: UpdateBody, fields| {
        Some((body.parse(fields)?, sku?))
    })?;
    let conditions = request.conditions();
    let before = if conditions.are_given() {
        let item = store.item(&sku).await?.ok_or_else(|| no_such_item(&sku))?;
        conditions.permit(&ItemBody::respond(200, &item, Viewer::Admin))?;
        Some(item)
    } else {
        None
    };
    let changed = store.change(
        &sku,
        &change,
        before.as_ref(),
        context.now,
        context.fresh_id,
    );
    match changed.await? {
        ChangedItem::Done(item) => Ok(ItemBody::respond(200, &item, Viewer::Admin)),
        ChangedItem::Overtaken => Err(Problem::precondition_failed()),
        ChangedItem::NoSuchItem => Err(no_such_item(&sku)),
    }
}

impl UpdateBody {
    fn parse(&self, fields: &mut Fields) -> Option<ItemChange> {
        let name = self
            .name
            .as_deref()
            .and_then(|name| fields.take("/name", ItemName::parse(name)));
        let price = self.price.as_ref().and_then(|price| price.parse(fields));
        if self.name.is_none() && self.price.is_none() {
            let detail = "there is nothing to change; send a name or a price";
            fields.push(FieldError::new("", detail));
        }
        ItemChange::new(name, price)
    }
}
