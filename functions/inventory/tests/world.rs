//! One test's inventory service with its own table, clock, ids and tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use inventory::handlers::{adjust, commands, create, get, list, update};
use inventory::messages::{Line, ReserveStock};
use inventory::store::InventoryStore;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey, Verifier};
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::http::{Request, Response, authenticate, authenticate_if_sent, respond};
use shared_lambda::sqs::{self, Failure, Outgoing};
use shared_lambda::{Context, Origin, Setup};
use test_support::Aws;
use uuid::Uuid;

/// The start time of every test.
pub const NOON: &str = "2026-11-23T12:00:00.000Z";

pub const COMMANDS: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/inventory-commands";
pub const REPLIES: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/orders-replies";

pub struct World {
    pub aws: Aws,
    pub table: String,
    pub setup: Setup,
    pub store: InventoryStore,
    pub origin: Origin,
    clock: Arc<AtomicI64>,
    verifier: Verifier,
    issuer: Issuer,
}

/// A client's view of a response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    response: Response,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// A problem's status, slug and fields.
    pub fn problem(&self) -> (u16, String, Vec<String>) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let slug = self.body["type"]
            .as_str()
            .and_then(|kind| kind.strip_prefix("/problems/"))
            .unwrap()
            .to_owned();
        let fields = self.body["errors"].as_array().into_iter().flatten();
        let fields = fields.map(|error| {
            let parts = ["pointer", "parameter", "header"];
            let name = parts.iter().find_map(|part| error[*part].as_str());
            name.unwrap().to_owned()
        });
        (self.status, slug, fields.collect())
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with_attempts(1).await
    }

    /// A world whose DynamoDB client makes this many attempts.
    pub async fn with_attempts(attempts: u32) -> Self {
        let aws = Aws::new();
        let table = aws.create_table("inventory", "InventoryTable").await;
        let variables = [
            ("INVENTORY_TABLE", table.as_str()),
            ("ORDERS_REPLIES_QUEUE_URL", REPLIES),
        ];
        let setup = Setup::for_tests(aws.clone(), &variables)
            .with_clients(aws.dynamodb_with_attempts(attempts), aws.sqs());
        let noon: Timestamp = NOON.parse().unwrap();
        let clock = Arc::new(AtomicI64::new(noon.as_millisecond()));
        let time = Arc::clone(&clock);
        let ids = AtomicU64::new(1);
        let origin = Origin::new(
            move || Timestamp::from_millisecond(time.load(Ordering::Relaxed)).unwrap(),
            move || id(1 << 32 | ids.fetch_add(1, Ordering::Relaxed)),
        );
        let key = SigningKey::generate();
        let jwks = shared_auth::jwks(&[key.public_jwk()]);
        Self {
            store: get::wire(&setup).unwrap(),
            setup,
            aws,
            table,
            origin,
            clock,
            verifier: Verifier::new(&jwks, "https://issuer.example", "waybill-api").unwrap(),
            issuer: Issuer::new(&key, "https://issuer.example", "waybill-api"),
        }
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    pub fn context(&self) -> Context {
        self.origin.context(None)
    }

    pub fn admin(&self) -> String {
        self.token(id(1), Role::Admin)
    }

    pub fn customer(&self) -> String {
        self.token(id(2), Role::Customer)
    }

    /// The value of an `Authorization` header.
    pub fn token(&self, user_id: Uuid, role: Role) -> String {
        let context = self.context();
        let issued = self
            .issuer
            .issue(user_id, role, context.now, context.fresh_id);
        format!("Bearer {}", issued.token)
    }

    pub async fn get(&self, request: Request) -> Answer {
        let handle = async |context: Context, request: Request| {
            let caller = authenticate_if_sent(&self.verifier, &request, context.now)?;
            get::handle(&self.store, caller, context, request).await
        };
        answer(respond(&self.origin, request, handle).await)
    }

    pub async fn list(&self, request: Request) -> Answer {
        let handle = async |context: Context, request: Request| {
            let caller = authenticate_if_sent(&self.verifier, &request, context.now)?;
            list::handle(&self.store, caller, context, request).await
        };
        answer(list::QUERY.respond(&self.origin, request, handle).await)
    }

    pub async fn create(&self, request: Request) -> Answer {
        let handle = async |context: Context, request: Request| {
            let caller = authenticate(&self.verifier, &request, context.now)?;
            create::handle(&self.store, caller, context, request).await
        };
        answer(respond(&self.origin, request, handle).await)
    }

    pub async fn update(&self, request: Request) -> Answer {
        let handle = async |context: Context, request: Request| {
            let caller = authenticate(&self.verifier, &request, context.now)?;
            update::handle(&self.store, caller, context, request).await
        };
        answer(respond(&self.origin, request, handle).await)
    }

    pub async fn adjust(&self, request: Request) -> Answer {
        let handle = async |context: Context, request: Request| {
            let caller = authenticate(&self.verifier, &request, context.now)?;
            adjust::handle(&self.store, caller, context, request).await
        };
        answer(respond(&self.origin, request, handle).await)
    }

    /// Puts an item in stock, priced in USD.
    pub async fn stock(&self, sku: &str, amount: i64, units: i64) {
        self.stock_in(sku, amount, "USD", units).await;
    }

    pub async fn stock_in(&self, sku: &str, amount: i64, currency: &str, units: i64) {
        let body = json!({
            "sku": sku, "name": format!("Item {sku}"),
            "price": {"amount": amount, "currency": currency}, "stock": units,
        });
        let created = self.create(self.as_admin().with_body(body.to_string()));
        assert_eq!(created.await.status, 201);
    }

    pub fn as_admin(&self) -> Request {
        Request::new().with_header("authorization", self.admin())
    }

    pub async fn reserve(&self, order: u64, lines: &[(&str, i64)]) -> Value {
        self.command(order, &reserve(lines)).await.unwrap()
    }

    pub async fn release(&self, order: u64) -> Value {
        self.command(order, &inventory::messages::ReleaseStock {})
            .await
            .unwrap()
    }

    /// Handles one command. Returns the reply's type and data.
    pub async fn command(&self, order: u64, command: &impl Payload) -> Result<Value, Failure> {
        let replies = self.handle(&self.envelope(order, command)).await?;
        let [reply] = replies.as_slice() else {
            panic!("one command has one reply: {replies:?}");
        };
        assert_eq!(reply.queue_url(), REPLIES);
        let reply: Value = serde_json::from_str(reply.body()).unwrap();
        assert_eq!(reply["order_id"], json!(id(order)));
        Ok(json!({"type": reply["type"], "data": reply["data"]}))
    }

    /// Handles one command and sends its reply, as the function does. Returns whether the queue
    /// message is acknowledged.
    pub async fn deliver(&self, body: &str) -> bool {
        match self.handle(body).await {
            Ok(replies) => sqs::send(&self.aws.sqs(), replies).await.is_ok(),
            Err(failure) => {
                assert!(failure.is_retried(), "{failure:?}");
                false
            }
        }
    }

    pub fn commands(&self) -> commands::Commands {
        commands::wire(&self.setup).unwrap()
    }

    pub async fn handle(&self, body: &str) -> Result<Vec<Outgoing>, Failure> {
        let command = Envelope::parse(body)?;
        commands::handle(&self.commands(), self.context(), command).await
    }

    pub fn envelope(&self, order: u64, command: &impl Payload) -> String {
        let message = Outgoing::new(COMMANDS, id(order), command, &self.context());
        message.body().to_owned()
    }

    pub fn dump(&self) -> Vec<Value> {
        self.aws.dump(&self.table)
    }

    fn rows(&self, kind: &str) -> Vec<Value> {
        let is_kind = |row: &Value| row["sk"].as_str().unwrap().starts_with(kind);
        self.dump().into_iter().filter(is_kind).collect()
    }

    /// Stocked, available, held.
    pub fn levels(&self, sku: &str) -> (i64, i64, i64) {
        let items = self.rows("ITEM");
        let item = items.iter().find(|item| item["sku"] == sku).unwrap();
        let units = |name: &str| item[name].as_i64().unwrap();
        (units("stocked"), units("available"), units("held"))
    }

    /// Checks the rows: no number is negative, stocked is the initial stock plus all adjustments, and
    /// held is the sum of the reservations.
    pub fn check_books(&self, initial: i64) {
        let adjustments = self.rows("ADJUSTMENT#");
        let reservations = self.rows("RESERVATION");
        for item in self.rows("ITEM") {
            let sku = item["sku"].as_str().unwrap();
            let (stocked, available, held) = self.levels(sku);
            assert!(available >= 0 && held >= 0, "{item}");
            assert_eq!(stocked, available + held, "{item}");
            let of_sku = |row: &&Value| row["sku"] == sku;
            let adjusted = adjustments
                .iter()
                .filter(of_sku)
                .map(|row| row["delta"].as_i64().unwrap());
            assert_eq!(stocked, initial + adjusted.sum::<i64>(), "{item}");
            let reserved = reservations
                .iter()
                .filter(|row| row["status"] == "RESERVED")
                .flat_map(|row| row["lines"].as_array().unwrap())
                .filter(of_sku)
                .map(|line| line["quantity"].as_i64().unwrap());
            assert_eq!(held, reserved.sum::<i64>(), "{item}");
        }
    }
}

fn answer(response: Response) -> Answer {
    let body = response.body.as_deref().unwrap_or("null");
    Answer {
        status: response.status,
        body: serde_json::from_str(body).unwrap(),
        response,
    }
}

pub fn id(number: u64) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number))
}

pub fn reserve(lines: &[(&str, i64)]) -> ReserveStock {
    let line = |(sku, quantity): &(&str, i64)| Line {
        sku: (*sku).to_owned(),
        quantity: *quantity,
    };
    ReserveStock {
        lines: lines.iter().map(line).collect(),
    }
}

/// The reply for these reserved lines.
pub fn reserved(lines: &[(&str, i64, i64)]) -> Value {
    let line = |(sku, quantity, amount): &(&str, i64, i64)| {
        json!({"sku": sku, "name": format!("Item {sku}"), "quantity": quantity,
               "unit_price": {"amount": amount, "currency": "USD"}})
    };
    let lines: Vec<Value> = lines.iter().map(line).collect();
    json!({"type": "StockReserved", "data": {"lines": lines}})
}

/// The code of a refusal, or the type of another reply.
pub fn refusal(reply: &Value) -> &str {
    let code = (reply["type"] == "StockRefused").then(|| reply["data"]["code"].as_str());
    code.flatten().or(reply["type"].as_str()).unwrap()
}
