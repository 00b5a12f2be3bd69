//! What a new stack begins with: an administrator and a few things to order. Safe to repeat.

use serde_json::json;
use uuid::Uuid;

use crate::admin;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::stack::{Account, Stack};

/// One thing to order; the price is in US cents.
pub struct Item {
    pub sku: &'static str,
    pub name: &'static str,
    pub price: i64,
    pub stock: i64,
}

pub const ITEMS: [Item; 5] = [
    Item {
        sku: "espresso-beans-1kg",
        name: "Espresso beans, 1 kg",
        price: 2_490,
        stock: 500,
    },
    Item {
        sku: "hand-grinder",
        name: "Hand grinder",
        price: 8_900,
        stock: 120,
    },
    Item {
        sku: "brass-scale",
        name: "Brass scale",
        price: 5_450,
        stock: 80,
    },
    Item {
        sku: "stoneware-cup",
        name: "Stoneware cup",
        price: 1_800,
        stock: 300,
    },
    Item {
        sku: "signed-print",
        name: "Signed print, one of three",
        price: 24_000,
        stock: 3,
    },
];

const ACCOUNT: &str = "/waybill/local/admin";
const SEEDED: &str = "/waybill/local/seeded";

/// The administrator's address and password. The password belongs to this
/// stack alone and is kept in its own parameter store.
pub fn account(aws: &Aws) -> Result<Account> {
    let known = aws
        .find(
            "ssm",
            "GetParameter",
            json!({"Name": ACCOUNT, "WithDecryption": true}),
            "ParameterNotFound",
        )
        .context("reading the demo admin's password")?;
    if let Some(account) =
        known.and_then(|answer| serde_json::from_str(answer["Parameter"]["Value"].as_str()?).ok())
    {
        return Ok(account);
    }
    let account = Account {
        email: "admin@waybill.example".to_owned(),
        password: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
    };
    put(
        aws,
        ACCOUNT,
        "SecureString",
        &serde_json::to_string(&account).context("the demo admin")?,
    )?;
    Ok(account)
}

/// Brings in what is missing. Says whether anything was.
pub fn seed(aws: &Aws, stack: &Stack) -> Result<bool> {
    let wanted = ITEMS.map(|item| item.sku).join(",");
    let done = aws
        .find(
            "ssm",
            "GetParameter",
            json!({"Name": SEEDED}),
            "ParameterNotFound",
        )
        .context("reading what is seeded")?;
    let http = stack.http();
    if done.is_some_and(|answer| answer["Parameter"]["Value"] == wanted.as_str()) {
        http.get("/api/v1/items", None)?
            .expect(200, "listing the items")?;
        return Ok(false);
    }
    let Account { email, password } = &stack.admin;
    let registration = json!({"email": email, "password": password, "name": "Demo admin"});
    let answer = http.post("/api/v1/users", None, &registration)?;
    if ![201, 409].contains(&answer.status) {
        return Err(Error::new(format!(
            "registering the demo admin: {} {}",
            answer.status, answer.body
        )));
    }
    admin::grant(aws, &stack.prefix, email)?;
    let token = login(&http, email, password)?;
    for item in &ITEMS {
        let body = json!({
            "sku": item.sku,
            "name": item.name,
            "price": {"amount": item.price, "currency": "USD"},
            "stock": item.stock,
        });
        let answer = http.post("/api/v1/items", Some(&token), &body)?;
        if ![201, 409].contains(&answer.status) {
            return Err(Error::new(format!(
                "creating {}: {} {}",
                item.sku, answer.status, answer.body
            )));
        }
    }
    put(aws, SEEDED, "String", &wanted)?;
    Ok(true)
}

/// An access token.
pub fn login(http: &Client, email: &str, password: &str) -> Result<String> {
    http.post(
        "/api/v1/auth/login",
        None,
        &json!({"email": email, "password": password}),
    )?
    .expect(200, &format!("logging in as {email}"))?["access_token"]
        .as_str()
        .map(str::to_owned)
        .context("a login without an access token")
}

fn put(aws: &Aws, name: &str, kind: &str, value: &str) -> Result<()> {
    aws.call(
        "ssm",
        "PutParameter",
        json!({"Name": name, "Type": kind, "Value": value, "Overwrite": true}),
    )
    .context(format!("writing the parameter {name}"))?;
    Ok(())
}
