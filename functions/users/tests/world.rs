//! The users service for tests, with a table, a clock, ids and keys of its own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey, Verifier};
use shared_lambda::http::{Query, Request, Response, authenticate};
use shared_lambda::{Context, Origin, Setup};
use test_support::{Aws, Fault};
use users::domain::{Email, Password, Seed, Session, User, UserName};
use users::handlers::{
    get, list, login, logout, me, password, refresh, register, update, update_me, verify,
};
use users::passwords::{HashedPassword, Salt};
use users::store::{Registered, UserStore};
use users::tokens::RefreshToken;
use uuid::Uuid;

use crate::described::described;

pub const NOW: &str = "2026-11-23T10:00:00.123Z";
pub const PASSWORD: &str = "plum tractor voyage";

pub const REPLIES: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-orders-replies";

/// Free registrations from one source.
pub const REGISTRATIONS: u32 = 20;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
pub const INSTANCE: &str = "urn:waybill:trace:4bf92f3577b34da6a3ce929d0e0e4736";

/// One test's service.
pub struct World {
    pub aws: Aws,
    pub table: String,
    pub store: UserStore,
    pub origin: Origin,
    clock: Arc<AtomicI64>,
    pub issuer: Issuer,
    pub verifier: Verifier,
    seeds: AtomicU64,
    login: login::Login,
    refresh: refresh::Refresh,
    register: register::Register,
    password: password::PasswordChange,
    pub verify: verify::Verify,
}

impl World {
    pub async fn new() -> Self {
        Self::asking(1).await
    }

    /// Its clients make each call up to `attempts` times.
    pub async fn asking(attempts: u32) -> Self {
        let aws = Aws::new();
        let clock = Arc::new(AtomicI64::new(0));
        let table = aws.create_table("users", "UsersTable").await;
        let key = SigningKey::generate();
        let issuer = Issuer::new(&key, "https://auth.test", "waybill-test");
        let jwks = shared_auth::jwks(&[key.public_jwk()]);
        let verifier = Verifier::new(&jwks, "https://auth.test", "waybill-test").unwrap();
        aws.set_parameter("/signing-key", &key.to_pkcs8_base64());
        let variables = [
            ("USERS_TABLE", table.as_str()),
            ("AUTH_SIGNING_KEY_PARAMETER", "/signing-key"),
            ("AUTH_ISSUER", "https://auth.test"),
            ("AUTH_AUDIENCE", "waybill-test"),
            ("REGISTRATIONS_PER_SOURCE", &REGISTRATIONS.to_string()),
            ("ORDERS_REPLIES_QUEUE_URL", REPLIES),
        ];
        let setup = Setup::for_tests(aws.clone(), &variables)
            .with_clients(aws.dynamodb_with_attempts(attempts), aws.sqs());
        let (login, refresh) = (login::wire(&setup).await, refresh::wire(&setup).await);
        aws.clear_calls();
        Self {
            store: me::wire(&setup).unwrap(),
            login: login.unwrap(),
            refresh: refresh.unwrap(),
            register: register::wire(&setup).unwrap(),
            password: password::wire(&setup).unwrap(),
            verify: verify::wire(&setup).unwrap(),
            aws,
            table,
            origin: origin(clock.clone()),
            clock,
            issuer,
            verifier,
            seeds: AtomicU64::new(1),
        }
    }

    /// The first answer to each write is lost after it took effect, and the SDK retries.
    pub async fn that_loses_answers() -> Self {
        let world = Self::asking(2).await;
        let asked_once = Mutex::new(HashSet::new());
        world.aws.on_call(move |call| {
            let request = call.request.to_string();
            let is_first = call.is_write() && {
                let mut asked_once = asked_once.lock().unwrap();
                !asked_once.remove(&request) && asked_once.insert(request)
            };
            std::future::ready(is_first.then_some(Fault::AfterEffect))
        });
        world
    }

    /// The response of the function behind a route, checked against the route's description.
    pub async fn call(&self, route: &str, request: Request) -> Response {
        let query = match route {
            "GET /api/v1/users" => list::QUERY,
            _ => Query::NONE,
        };
        let handle = async |context: Context, request: Request| {
            let caller = || authenticate(&self.verifier, &request, context.now);
            let store = &self.store;
            match route {
                "POST /api/v1/users" => register::handle(&self.register, context, request).await,
                "POST /api/v1/auth/login" => login::handle(&self.login, context, request).await,
                "POST /api/v1/auth/refresh" => {
                    refresh::handle(&self.refresh, context, request).await
                }
                "POST /api/v1/auth/logout" => logout::handle(store, context, request).await,
                "GET /api/v1/users/me" => me::handle(store, caller()?, context, request).await,
                "PATCH /api/v1/users/me" => {
                    update_me::handle(store, caller()?, context, request).await
                }
                "POST /api/v1/users/me/password" => {
                    password::handle(&self.password, caller()?, context, request).await
                }
                "GET /api/v1/users" => list::handle(store, caller()?, context, request).await,
                "GET /api/v1/users/{id}" => get::handle(store, caller()?, context, request).await,
                "PATCH /api/v1/users/{id}" => {
                    update::handle(store, caller()?, context, request).await
                }
                _ => panic!("no function has the route {route}"),
            }
        };
        let request = request.with_header("traceparent", TRACEPARENT);
        let mut response = query.respond(&self.origin, request, handle).await;
        // It differs in each answer, so that equal answers would not be equal.
        response.headers.retain(|(name, _)| *name != "traceparent");
        described(route, response)
    }

    pub async fn register(&self, request: Request) -> Response {
        self.call("POST /api/v1/users", request).await
    }

    pub async fn log_in(&self, request: Request) -> Response {
        self.call("POST /api/v1/auth/login", request).await
    }

    pub async fn log_out(&self, token: &str) -> Response {
        let request = with_body(&json!({"refresh_token": token}));
        self.call("POST /api/v1/auth/logout", request).await
    }

    pub async fn change_password(&self, request: Request) -> Response {
        self.call("POST /api/v1/users/me/password", request).await
    }

    pub async fn me(&self, request: Request) -> Response {
        self.call("GET /api/v1/users/me", request).await
    }

    pub async fn get(&self, request: Request) -> Response {
        self.call("GET /api/v1/users/{id}", request).await
    }

    /// Another seed each time, and the same ones in each run.
    pub fn seed(&self) -> Seed {
        let mut bytes = [0; 32];
        let count = self.seeds.fetch_add(1, Ordering::Relaxed);
        bytes[..8].copy_from_slice(&count.to_be_bytes());
        Seed(bytes)
    }

    /// Plans a fault for the next call of a DynamoDB action.
    pub fn fault(&self, action: &str, fault: Fault) {
        self.aws.fault_on(&format!("dynamodb:{action}"), fault);
    }

    /// Advances the clock.
    pub fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    pub fn now(&self) -> Timestamp {
        now() + SignedDuration::from_secs(self.clock.load(Ordering::Relaxed))
    }

    /// The refresh token of a login with [`PASSWORD`].
    pub async fn session(&self, email: &str) -> String {
        let body = json!({"email": email, "password": PASSWORD});
        let response = self.log_in(with_body(&body)).await;
        assert_eq!(response.status, 200, "{response:?}");
        refresh_token(&response)
    }

    /// A world with the user `id(1)`, ada@example.com, and the refresh token of a session.
    pub async fn logged_in() -> (Self, String) {
        let world = Self::new().await;
        let token = world.quick_login("ada@example.com").await;
        (world, token)
    }

    /// Registers a user with [`PASSWORD`] and starts a session, without the slow hashing; returns the
    /// refresh token.
    pub async fn quick_login(&self, email: &str) -> String {
        static HASH: LazyLock<HashedPassword> = LazyLock::new(|| hashed(PASSWORD));
        let user = user(id(1), email);
        let registered = self.store.register(&user, &HASH, None).await.unwrap();
        assert_eq!(registered, Registered::Done);
        let token = RefreshToken::first(self.seed());
        let session = Session::start(token.session(), user.id, 0, token.hash(), self.now());
        self.store.start_session(&session).await.unwrap();
        token.reveal()
    }

    /// A refresh with this token.
    pub async fn refreshed(&self, token: &str) -> Response {
        let request = with_body(&json!({"refresh_token": token}));
        self.call("POST /api/v1/auth/refresh", request).await
    }

    /// Registers a user with [`PASSWORD`] and returns their id.
    pub async fn registered(&self, email: &str) -> Uuid {
        let body = json!({"email": email, "password": PASSWORD, "name": "Ada Lovelace"});
        let response = self.register(with_body(&body)).await;
        assert_eq!(response.status, 201, "{response:?}");
        body_of(&response)["id"].as_str().unwrap().parse().unwrap()
    }

    /// The credential's row of the only user.
    pub fn email_row(&self) -> Value {
        row(&self.aws, &self.table, "EMAIL")
    }

    /// A request with an access token.
    pub fn request_of(&self, user_id: Uuid, role: Role) -> Request {
        let token = self
            .issuer
            .issue(user_id, role, self.now(), Uuid::nil())
            .token;
        Request::new().with_header("authorization", format!("Bearer {token}"))
    }

    /// Sets an attribute of a user as an operator would.
    pub async fn set(&self, user_id: Uuid, attribute: &str, value: &str) {
        use aws_sdk_dynamodb::types::AttributeValue::S;
        let client = self.aws.dynamodb_with_attempts(2);
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

/// `clock` seconds have passed since [`NOW`], and ids count up.
fn origin(clock: Arc<AtomicI64>) -> Origin {
    let ids = Arc::new(AtomicU64::new(1));
    Origin::new(
        move || now() + SignedDuration::from_secs(clock.load(Ordering::Relaxed)),
        move || id(ids.fetch_add(1, Ordering::Relaxed)),
    )
}

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A UUIDv7 that is easy to recognize in a failure.
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
    HashedPassword::new(&Password::choose(password, None, None).unwrap(), salt())
}

pub fn refresh_token(response: &Response) -> String {
    body_of(response)["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub fn with_body(body: &Value) -> Request {
    Request::new().with_body(body.to_string())
}

pub fn body_of(response: &Response) -> Value {
    serde_json::from_str(response.body.as_deref().unwrap()).unwrap()
}
