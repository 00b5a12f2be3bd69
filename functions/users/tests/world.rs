//! What the tests stand on: a table of their own, a clock and ids they set, and keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey, Verifier};
use shared_lambda::Origin;
use shared_lambda::http::{Request, Response, authenticate, respond};
use test_support::Aws;
use users::domain::{Email, Password, User, UserName};
use users::handlers::{get, login, me, register};
use users::passwords::{HashedPassword, Salt};
use users::store::UserStore;
use uuid::Uuid;

pub const NOW: &str = "2026-11-23T10:00:00.123Z";
pub const PASSWORD: &str = "plum tractor voyage";

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
pub const INSTANCE: &str = "urn:waybill:trace:4bf92f3577b34da6a3ce929d0e0e4736";

/// One test's service.
pub struct World {
    pub aws: Aws,
    pub table: String,
    pub store: UserStore,
    pub origin: Origin,
    pub key: SigningKey,
    pub issuer: Issuer,
    pub verifier: Verifier,
}

impl World {
    pub async fn new() -> Self {
        let aws = Aws::new();
        let table = aws.create_table("users", "UsersTable").await;
        let key = SigningKey::generate();
        let issuer = Issuer::new(&key, "https://auth.test", "waybill-test");
        let jwks = shared_auth::jwks(&[key.public_jwk()]);
        let verifier = Verifier::new(&jwks, "https://auth.test", "waybill-test").unwrap();
        Self {
            store: UserStore::new(aws.dynamodb(), table.clone()),
            aws,
            table,
            origin: origin(),
            key,
            issuer,
            verifier,
        }
    }

    pub async fn register(&self, request: Request) -> Response {
        let request = traced(request);
        respond(&self.origin, request, |context, request| {
            register::handle(&self.store, salt(), context, request)
        })
        .await
    }

    pub async fn log_in(&self, request: Request) -> Response {
        let request = traced(request);
        respond(&self.origin, request, |context, request| {
            login::handle(&self.store, &self.issuer, context, request)
        })
        .await
    }

    pub async fn me(&self, request: Request) -> Response {
        let request = traced(request);
        respond(&self.origin, request, async |context, request| {
            let caller = authenticate(&self.verifier, &request, context.now)?;
            me::handle(&self.store, caller).await
        })
        .await
    }

    pub async fn get(&self, request: Request) -> Response {
        let request = traced(request);
        respond(&self.origin, request, async |context, request| {
            let caller = authenticate(&self.verifier, &request, context.now)?;
            get::handle(&self.store, caller, request).await
        })
        .await
    }

    /// Somebody registered under an address with [`PASSWORD`]; their id.
    pub async fn registered(&self, email: &str) -> Uuid {
        let body = json!({"email": email, "password": PASSWORD, "name": "Ada Lovelace"});
        let response = self.register(with_body(&body)).await;
        assert_eq!(response.status, 201, "{response:?}");
        body_of(&response)["id"].as_str().unwrap().parse().unwrap()
    }

    /// The row under which the only address there is was registered.
    pub fn email_row(&self) -> Value {
        row(&self.aws, &self.table, "EMAIL")
    }

    /// A request in somebody's name.
    pub fn request_of(&self, user_id: Uuid, role: Role) -> Request {
        let now = NOW.parse().unwrap();
        let token = self.issuer.issue(user_id, role, now, Uuid::nil()).token;
        Request::new().with_header("authorization", format!("Bearer {token}"))
    }

    /// Sets an attribute of a user as an operator would.
    pub async fn set(&self, user_id: Uuid, attribute: &str, value: &str) {
        use aws_sdk_dynamodb::types::AttributeValue::S;
        let client = self.aws.dynamodb();
        client
            .update_item()
            .table_name(&self.table)
            .key("pk", S(format!("USER#{user_id}")))
            .key("sk", S("USER".to_owned()))
            .update_expression("SET #attribute = :value")
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":value", S(value.to_owned()))
            .send()
            .await
            .unwrap();
    }
}

/// The only row of a table that has this sort key.
pub fn row(aws: &Aws, table: &str, sk: &str) -> Value {
    let mut rows = aws.dump(table);
    rows.retain(|row| row["sk"] == sk);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// The time stands still, and ids count up.
pub fn origin() -> Origin {
    let now: Timestamp = NOW.parse().unwrap();
    let ids = Arc::new(AtomicU64::new(1));
    Origin::new(move || now, move || id(ids.fetch_add(1, Ordering::Relaxed)))
}

/// A UUIDv7 that is easy to tell in a failure.
pub fn id(n: u64) -> Uuid {
    Uuid::from_u128(0x01890a5d_ac96_7000_8000_000000000000 + u128::from(n))
}

pub fn salt() -> Salt {
    Salt::fixed([7; 16])
}

pub fn user(id: Uuid, email: &str) -> User {
    let email = Email::parse(email).unwrap();
    let name = UserName::parse("Ada Lovelace").unwrap();
    User::register(id, email, name, NOW.parse().unwrap())
}

pub fn hashed(password: &str) -> HashedPassword {
    HashedPassword::new(&Password::choose(password, None).unwrap(), salt())
}

pub fn with_body(body: &Value) -> Request {
    Request::new().with_body(body.to_string())
}

fn traced(request: Request) -> Request {
    request.with_header("traceparent", TRACEPARENT)
}

pub fn body_of(response: &Response) -> Value {
    serde_json::from_str(response.body.as_deref().unwrap()).unwrap()
}

/// A 400 that names these fields, whole.
pub fn invalid(errors: &[(&str, &str)]) -> Value {
    let detail = match errors {
        [("", detail)] => (*detail).to_owned(),
        [(pointer, detail)] => format!("{pointer} {detail}"),
        _ => format!("{} fields are wrong; see errors", errors.len()),
    };
    let errors: Vec<Value> = errors
        .iter()
        .map(|(pointer, detail)| json!({"pointer": pointer, "detail": detail}))
        .collect();
    json!({
        "type": "urn:waybill:problem:invalid-request",
        "title": "The request is not valid",
        "status": 400,
        "detail": detail,
        "instance": INSTANCE,
        "errors": errors,
    })
}
