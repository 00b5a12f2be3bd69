//! Seeds a new stack with an administrator and a few items. A repeat changes nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::admin;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::keys::{self, Content};
use crate::stack::{Account, Stack};

/// An item; the price is in US cents.
pub struct Item {
    pub sku: &'static str,
    pub name: &'static str,
    pub price: i64,
    pub stock: i64,
}

pub const ITEMS: [Item; 5] = [
    item("espresso-beans-1kg", "Espresso beans, 1 kg", 2_490, 500),
    item("hand-grinder", "Hand grinder", 8_900, 120),
    item("brass-scale", "Brass scale", 5_450, 80),
    item("stoneware-cup", "Stoneware cup", 1_800, 300),
    item("signed-print", "Signed print, one of three", 24_000, 3),
];

const fn item(sku: &'static str, name: &'static str, price: i64, stock: i64) -> Item {
    Item {
        sku,
        name,
        price,
        stock,
    }
}

const ACCOUNT: &str = "/waybill/local/admin";
const SEEDED: &str = "/waybill/local/seeded";

/// The administrator's address and password. The password belongs to this stack and is in its
/// parameter store.
pub fn account(aws: &Aws) -> Result<Account> {
    let known = keys::read(aws, ACCOUNT)?;
    if let Some(account) = known.and_then(|known| serde_json::from_str(&known.value).ok()) {
        return Ok(account);
    }
    let account = new_account();
    let text = serde_json::to_string(&account).context("the demo admin")?;
    keys::overwrite(aws, ACCOUNT, &Content::encrypted(text))?;
    Ok(account)
}

/// An address and a password that no other stack has.
pub fn new_account() -> Account {
    Account {
        email: "admin@waybill.example".to_owned(),
        password: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
    }
}

/// Creates missing seeds; `false` if there were none.
pub fn seed(aws: &Aws, stack: &Stack) -> Result<bool> {
    let wanted = ITEMS.map(|item| item.sku).join(",");
    let done = keys::read(aws, SEEDED)?;
    let http = stack.http();
    if done.is_some_and(|done| done.value == wanted) {
        http.get("/api/v1/items", None)?
            .expect(200, "listing the items")?;
        return Ok(false);
    }
    let admin = administrator(aws, stack)?;
    for item in &ITEMS {
        let body = json!({
            "sku": item.sku,
            "name": item.name,
            "price": {"amount": item.price, "currency": "USD"},
            "stock": item.stock,
        });
        let answer = http.post("/api/v1/items", Some(&admin.token()?), &body)?;
        if ![201, 409].contains(&answer.status) {
            return Err(Error::new(format!(
                "creating {}: {} {}",
                item.sku, answer.status, answer.body
            )));
        }
    }
    keys::overwrite(aws, SEEDED, &Content::open(wanted))?;
    Ok(true)
}

/// Registers the stack's administrator.
pub fn administrator(aws: &Aws, stack: &Stack) -> Result<LoggedIn> {
    let http = stack.http();
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
    Ok(LoggedIn::new(http, stack.admin.clone()))
}

/// An account that logs in again when needed: an administrator's token lasts two minutes.
#[derive(Debug)]
pub struct LoggedIn {
    http: Client,
    account: Account,
    /// The token, and the time until which it is used.
    kept: Mutex<Option<(String, Instant)>>,
}

impl LoggedIn {
    pub fn new(http: Client, account: Account) -> Self {
        Self {
            http,
            account,
            kept: Mutex::new(None),
        }
    }

    /// An access token with at least half of its lifetime left.
    pub fn token(&self) -> Result<String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, until)) = &*kept
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let Account { email, password } = &self.account;
        let body = json!({"email": email, "password": password});
        let answer = self.http.post("/api/v1/auth/login", None, &body)?;
        let answer = answer.expect(200, &format!("logging in as {email}"))?;
        let token = answer["access_token"].as_str();
        let token = token.context("a login without an access token")?.to_owned();
        let lifetime = answer["expires_in"].as_u64();
        let lifetime = Duration::from_secs(lifetime.context("a login without expires_in")?);
        *kept = Some((token.clone(), Instant::now() + lifetime / 2));
        Ok(token)
    }

    /// Drops the token, after a test has ended the session.
    pub fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
