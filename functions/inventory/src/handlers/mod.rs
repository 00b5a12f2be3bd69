//! One module per function, and the parts that the endpoints share.

pub mod adjust;
pub mod commands;
pub mod create;
pub mod get;
pub mod list;
pub mod migrate;
pub mod update;

use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::{Request, Response, require_admin};
use shared_lambda::problem::{Fields, Problem};

use crate::domain::{Currency, Item, Price, PriceAmount, Sku};

/// Money as clients send and receive it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyBody {
    amount: i64,
    currency: String,
}

impl MoneyBody {
    fn new(price: &Price) -> Self {
        Self {
            amount: price.amount.get(),
            currency: price.currency.as_str().to_owned(),
        }
    }

    /// The price. Mistakes are reported under `/price`.
    fn parse(&self, fields: &mut Fields) -> Option<Price> {
        let amount = fields.take_number(
            "/price/amount",
            self.amount,
            PriceAmount::parse(self.amount),
        );
        let currency = fields.take("/price/currency", Currency::parse(&self.currency));
        Some(Price {
            amount: amount?,
            currency: currency?,
        })
    }
}

/// An item as clients see it.
#[derive(Serialize)]
struct ItemBody<'a> {
    sku: &'a str,
    name: &'a str,
    price: MoneyBody,
    available: i64,
    /// For administrators only, like `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stocked: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<i64>,
    created_at: String,
    updated_at: String,
}

impl<'a> ItemBody<'a> {
    /// An answer with an item.
    fn respond(status: u16, item: &'a Item, viewer: Viewer) -> Response {
        Response::json(status, &Self::new(item, viewer)).tagged()
    }

    fn new(item: &'a Item, viewer: Viewer) -> Self {
        let for_admins = |units| (viewer == Viewer::Admin).then_some(units);
        Self {
            sku: item.sku.as_str(),
            name: item.name.as_str(),
            price: MoneyBody::new(&item.price),
            available: item.levels.available,
            stocked: for_admins(item.levels.stocked),
            held: for_admins(item.levels.held),
            created_at: format!("{:.3}", item.created_at),
            updated_at: format!("{:.3}", item.updated_at),
        }
    }
}

/// The reader of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Viewer {
    Public,
    Admin,
}

impl Viewer {
    fn of(caller: Option<&Caller>) -> Self {
        match caller {
            Some(caller) if caller.is_admin() => Self::Admin,
            Some(_) | None => Self::Public,
        }
    }
}

fn admin_only(caller: &Caller) -> Result<(), Problem> {
    require_admin(
        caller,
        "only administrators manage the catalogue and its stock",
    )
}

fn sku_of(request: &Request) -> Result<Sku, Problem> {
    let mut fields = request.fields();
    let sku = fields.take_parameter("sku", Sku::stored(request.path_parameter("sku")));
    fields.finish(sku)
}

fn no_such_item(sku: &Sku) -> Problem {
    Problem::not_found(format!("there is no item {sku}"))
}
