//! The authorization matrix: every route of every template, called by every kind of caller.
//!
//! A flawed token is an administrator's token in all other respects, signed with the stack's real
//! key. So only the one flaw keeps it out.
//!
//! An access token stays valid for its lifetime, 15 minutes or an administrator's 2, although its user
//! may be deactivated meanwhile. `deactivated` is what that user may then still do: read their own
//! data and cancel their orders. They get no new token, and place no order after
//! [`PERMISSION_LIFETIME`]. `deactivated_admin` adds the catalogue, its stock and all orders and
//! payments. Requests about users read the table, and allow such an administrator only their own.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey};
use test_support::template::workspace_root;
use uuid::Uuid;
use xtask::http::Response;

use crate::world::{Customer, World, order_body, world};

/// For how long orders believes that a user may order, once users said so.
const PERMISSION_LIFETIME: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// There is no token.
    Anonymous,
    Expired,
    WrongAudience,
    WrongIssuer,
    /// A customer wrote `admin` into their own token.
    Tampered,
    UnknownKey,
    /// A customer's refresh token stands where an access token belongs.
    RefreshToken,
    /// The one to whom belongs what the route is about.
    Owner,
    OtherCustomer,
    Admin,
    /// An owner as well, deactivated after their token was issued.
    Deactivated,
    /// An administrator, deactivated after their token was issued.
    DeactivatedAdmin,
}

const CALLERS: [Who; 12] = [
    Who::Anonymous,
    Who::Expired,
    Who::WrongAudience,
    Who::WrongIssuer,
    Who::Tampered,
    Who::UnknownKey,
    Who::RefreshToken,
    Who::Owner,
    Who::OtherCustomer,
    Who::Admin,
    Who::Deactivated,
    Who::DeactivatedAdmin,
];

/// The statuses a route answers with.
#[derive(Clone, Copy)]
struct Rule {
    anonymous: u16,
    /// Every token that is not a good one.
    flawed: u16,
    owner: u16,
    other: u16,
    admin: u16,
    deactivated: u16,
    deactivated_admin: u16,
}

impl Rule {
    /// A route as its `openapi.yaml` describes it. A requirement of `[admin]` names a role, as
    /// OpenAPI 3.1 allows for bearer tokens.
    fn described(path: &str, security: &Value, done: u16) -> Self {
        let public = Self {
            anonymous: done,
            flawed: done,
            owner: done,
            other: done,
            admin: done,
            deactivated: done,
            deactivated_admin: done,
        };
        let required = security.as_array().unwrap();
        let Some(first) = required.first() else {
            return public;
        };
        // A token that is sent must be good, even where none is asked for.
        let optional = Self {
            flawed: 401,
            ..public
        };
        if required.contains(&json!({})) {
            return optional;
        }
        let own = Self {
            anonymous: 401,
            ..optional
        };
        let roles = first.as_object().unwrap().values().next().unwrap();
        if *roles == json!(["admin"]) {
            // By the token alone: a deactivated administrator keeps the role until it expires.
            return Self {
                owner: 403,
                other: 403,
                deactivated: 403,
                ..own
            };
        }
        assert_eq!(*roles, json!([]), "the matrix knows no role but admin");
        // For other customers, what belongs to an owner does not exist.
        let other = if path.contains('{') { 404 } else { done };
        Self { other, ..own }
    }

    fn status(self, who: Who) -> u16 {
        match who {
            Who::Anonymous => self.anonymous,
            Who::Expired
            | Who::WrongAudience
            | Who::WrongIssuer
            | Who::Tampered
            | Who::UnknownKey
            | Who::RefreshToken => self.flawed,
            Who::Owner => self.owner,
            Who::OtherCustomer => self.other,
            Who::Admin => self.admin,
            Who::Deactivated => self.deactivated,
            Who::DeactivatedAdmin => self.deactivated_admin,
        }
    }
}

/// The request without its token.
struct Ask {
    path: String,
    body: Option<Value>,
}

/// One line of the matrix: a route as its template names it, its rule, and whether it takes a body.
struct Row {
    route: String,
    rule: Rule,
    has_body: bool,
}

/// A row for each route of each `openapi.yaml`.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for service in test_support::services() {
        let name = format!("functions/{service}/openapi.yaml");
        let text = std::fs::read_to_string(workspace_root().join(&name)).unwrap();
        let document: Value = serde_yaml_ng::from_str(&text).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let security = operation.get("security").unwrap_or(&document["security"]);
                // Where an ended order gets 200, one under way gets 202.
                let answers = operation["responses"].as_object().unwrap().keys();
                let done = answers
                    .filter(|status| status.starts_with('2'))
                    .max()
                    .unwrap();
                let route = format!("{} {path}", method.to_uppercase());
                let mut rule = Rule::described(path, security, done.parse().unwrap());
                for (_, of_both, of_admin) in DEACTIVATED.iter().filter(|row| row.0 == route) {
                    rule.deactivated = of_both.unwrap_or(rule.deactivated);
                    rule.deactivated_admin = of_both.or(*of_admin).expect("one of the two");
                }
                rows.push(Row {
                    route,
                    rule,
                    has_body: operation["requestBody"].is_object(),
                });
            }
        }
    }
    // Logins come before the change of passwords, and what waits comes last.
    let late = ["POST /api/v1/users/me/password", "POST /api/v1/orders"];
    rows.sort_by_key(|row| late.contains(&row.route.as_str()));
    rows
}

/// Where a deactivated user is answered otherwise than an active one: both the customer and the
/// administrator, or the administrator alone, because the table is asked about the role.
const DEACTIVATED: [(&str, Option<u16>, Option<u16>); 8] = [
    ("POST /api/v1/auth/login", Some(401), None),
    ("POST /api/v1/auth/refresh", Some(401), None),
    ("PATCH /api/v1/users/me", Some(403), None),
    ("POST /api/v1/users/me/password", Some(403), None),
    ("GET /api/v1/users/{id}", None, Some(404)),
    ("GET /api/v1/users", None, Some(403)),
    ("PATCH /api/v1/users/{id}", None, Some(403)),
    ("POST /api/v1/orders", Some(403), None),
];

/// A request that is right in everything but, perhaps, who makes it.
fn ask(row: &Row, cast: &Cast, who: Who) -> Ask {
    let (_, path) = row.route.split_once(' ').unwrap();
    let id = match path.split('/').nth(3).unwrap_or_default() {
        "users" => cast.owner(who).id.to_string(),
        "orders" if path.ends_with("/cancel") => match who {
            Who::Owner | Who::Deactivated => cast.order(who).cancelled.clone(),
            Who::Admin => cast.cancelled_by_admin.clone(),
            Who::DeactivatedAdmin => cast.cancelled_by_deactivated_admin.clone(),
            _ => cast.order(who).read.clone(),
        },
        "orders" | "payments" => cast.order(who).read.clone(),
        "items" => cast.sku.clone(),
        _ => Uuid::new_v4().to_string(),
    };
    let path = path.split('/').map(|part| match part.strip_prefix('{') {
        Some(_) => id.as_str(),
        None => part,
    });
    let path = path.collect::<Vec<_>>().join("/");
    if !row.has_body {
        return Ask { path, body: None };
    }
    let body = match row.route.as_str() {
        "POST /api/v1/users" => {
            let email = format!("{}@customers.example", Uuid::new_v4().simple());
            json!({"email": email, "password": new_password(), "name": "Some Body"})
        }
        "POST /api/v1/auth/login" => {
            let person = cast.logging_in(who);
            json!({"email": person.email, "password": person.password})
        }
        // RFC 7009 §2.2: a token that is worth nothing already is logged out all the same.
        "POST /api/v1/auth/refresh" | "POST /api/v1/auth/logout" => {
            json!({"refresh_token": cast.session(who)})
        }
        "PATCH /api/v1/users/me" => json!({"name": "Another Name"}),
        "POST /api/v1/users/me/password" => {
            let current = &cast.person(who).password;
            json!({"current_password": current, "new_password": new_password()})
        }
        // No user can become administrator or active again by themselves.
        "PATCH /api/v1/users/{id}" if who == Who::Admin => json!({"status": "active"}),
        "PATCH /api/v1/users/{id}" => json!({"status": "active", "role": "admin"}),
        "POST /api/v1/items" => {
            let sku = format!("test-{}", Uuid::new_v4().simple());
            json!({"sku": sku, "name": "Under test", "stock": 1,
                   "price": {"amount": 100, "currency": "USD"}})
        }
        "PATCH /api/v1/items/{sku}" => json!({"name": format!("Named by {who:?}")}),
        "POST /api/v1/items/{sku}/adjustments" => json!({"delta": 1, "reason": "found one more"}),
        "POST /api/v1/orders" => order_body(&cast.sku, 1, "pm_card_visa"),
        route => panic!("what is sent to {route}? Give it a body here"),
    };
    Ask {
        path,
        body: Some(body),
    }
}

/// A user with both tokens.
struct Person {
    id: Uuid,
    email: String,
    password: String,
    access: String,
    refresh: String,
}

/// One customer's orders: one to be read, and one to be cancelled.
struct Orders {
    read: String,
    cancelled: String,
}

/// The matrix's users and their orders.
struct Cast {
    owner: Person,
    other: Person,
    admin: Person,
    deactivated: Person,
    deactivated_admin: Person,
    /// Logs in for callers without an account.
    spare: Person,
    owners: Orders,
    deactivateds: Orders,
    cancelled_by_admin: String,
    cancelled_by_deactivated_admin: String,
    sku: String,
    /// Tokens that were made a moment ago.
    made: Vec<(Who, String)>,
    /// Since when the deactivated ones are that.
    since: Instant,
}

fn new_password() -> String {
    format!("pass phrase {}", Uuid::new_v4().simple())
}

impl Person {
    /// Registers a user; an administrator if `admin`.
    fn new(world: &World, admin: bool) -> Self {
        let customer = Customer::new();
        if admin {
            xtask::admin::grant(&world.aws, &world.stack.prefix, &customer.email).unwrap();
        }
        let (access, refresh) = log_in(world, &customer.email, &customer.password);
        Self {
            id: customer.id.parse().unwrap(),
            email: customer.email,
            password: customer.password,
            access,
            refresh,
        }
    }

    fn customer(&self) -> Customer {
        Customer {
            id: self.id.to_string(),
            token: self.access.clone(),
            email: self.email.clone(),
            password: self.password.clone(),
        }
    }
}

/// An access token and a refresh token.
fn log_in(world: &World, email: &str, password: &str) -> (String, String) {
    let body = json!({"email": email, "password": password});
    let answer = world
        .http
        .post("/api/v1/auth/login", None, &body)
        .unwrap()
        .expect(200, "logging in")
        .unwrap();
    let token = |name: &str| answer[name].as_str().unwrap().to_owned();
    (token("access_token"), token("refresh_token"))
}

impl Cast {
    fn new(world: &World) -> Self {
        let sku = world.item(50, 700);
        let [owner, other, deactivated, spare] = [(); 4].map(|()| Person::new(world, false));
        let [admin, deactivated_admin] = [(); 2].map(|()| Person::new(world, true));

        let place = |person: &Person| person.customer().place(&sku, 1, "pm_card_visa");
        let [
            read,
            cancelled,
            cancelled_by_admin,
            cancelled_by_deactivated_admin,
        ] = [(); 4].map(|()| place(&owner));
        let owners = Orders { read, cancelled };
        let [read, cancelled] = [(); 2].map(|()| place(&deactivated));
        let deactivateds = Orders { read, cancelled };
        for order in [
            &owners.read,
            &owners.cancelled,
            &cancelled_by_admin,
            &cancelled_by_deactivated_admin,
        ] {
            owner.customer().ends(order, "CONFIRMED");
        }
        for order in [&deactivateds.read, &deactivateds.cancelled] {
            deactivated.customer().ends(order, "CONFIRMED");
        }

        for person in [&deactivated, &deactivated_admin] {
            world
                .http
                .patch(
                    &format!("/api/v1/users/{}", person.id),
                    Some(&admin.access),
                    &json!({"status": "deactivated"}),
                )
                .unwrap()
                .expect(200, "deactivating")
                .unwrap();
        }
        Self {
            owner,
            other,
            admin,
            deactivated,
            deactivated_admin,
            spare,
            owners,
            deactivateds,
            cancelled_by_admin,
            cancelled_by_deactivated_admin,
            sku,
            made: Vec::new(),
            since: Instant::now(),
        }
    }

    /// An administrator's token is good for two minutes, and what is to be refused must be refused for
    /// its one flaw.
    fn renew_tokens(&mut self, world: &World) {
        self.made = made(world, &self.admin, &self.owner, &self.deactivated_admin);
    }

    /// Who is behind a token that is good.
    fn person(&self, who: Who) -> &Person {
        match who {
            Who::OtherCustomer => &self.other,
            Who::Admin => &self.admin,
            Who::Deactivated => &self.deactivated,
            Who::DeactivatedAdmin => &self.deactivated_admin,
            _ => &self.owner,
        }
    }

    /// The owner of the resource that is asked for.
    fn owner(&self, who: Who) -> &Person {
        match who {
            Who::Deactivated => &self.deactivated,
            _ => &self.owner,
        }
    }

    fn order(&self, who: Who) -> &Orders {
        match who {
            Who::Deactivated => &self.deactivateds,
            _ => &self.owners,
        }
    }

    /// Accounts for logins where the token does not matter: enough to stay below the login limits.
    fn logging_in(&self, who: Who) -> &Person {
        match who {
            Who::Owner
            | Who::OtherCustomer
            | Who::Admin
            | Who::Deactivated
            | Who::DeactivatedAdmin => self.person(who),
            _ => &self.spare,
        }
    }

    /// A refresh token: a new session's, or the one that deactivating ended.
    fn session(&self, who: Who) -> String {
        let person = self.logging_in(who);
        match who {
            Who::Deactivated | Who::DeactivatedAdmin => person.refresh.clone(),
            _ => log_in(world(), &person.email, &person.password).1,
        }
    }

    fn token(&self, who: Who) -> Option<&str> {
        match who {
            Who::Anonymous => None,
            Who::RefreshToken => Some(&self.owner.refresh),
            Who::Owner | Who::OtherCustomer | Who::Deactivated => Some(&self.person(who).access),
            Who::Admin
            | Who::DeactivatedAdmin
            | Who::Expired
            | Who::WrongAudience
            | Who::WrongIssuer
            | Who::Tampered
            | Who::UnknownKey => {
                let mut made = self.made.iter();
                made.find(|(whose, _)| *whose == who)
                    .map(|(_, token)| token.as_str())
            }
        }
    }
}

/// Tokens of the administrators, as if they had just logged in, and tokens in the active one's name
/// with one flaw each: all by the stack's own key and names.
fn made(
    world: &World,
    admin: &Person,
    customer: &Person,
    deactivated: &Person,
) -> Vec<(Who, String)> {
    let function = json!({"FunctionName": world.stack.name("users-login")});
    let login = world
        .aws
        .call("lambda", "GetFunctionConfiguration", function)
        .unwrap();
    let variable = |name: &str| {
        let value = &login["Environment"]["Variables"][name];
        value.as_str().unwrap().to_owned()
    };
    let (issuer, audience) = (variable("AUTH_ISSUER"), variable("AUTH_AUDIENCE"));
    let kept = world
        .aws
        .call(
            "ssm",
            "GetParameter",
            json!({"Name": variable("AUTH_SIGNING_KEY_PARAMETER"), "WithDecryption": true}),
        )
        .unwrap();
    let key = SigningKey::from_pkcs8_base64(kept["Parameter"]["Value"].as_str().unwrap()).unwrap();
    let now = Timestamp::now();
    let token = |key: &SigningKey, issuer: &str, audience: &str, at: Timestamp| {
        Issuer::new(key, issuer, audience)
            .issue(admin.id, Role::Admin, at, Uuid::new_v4())
            .token
    };

    // Without a flaw it is a good one, or the flaws below would prove nothing.
    let good = token(&key, &issuer, &audience, now);
    let seen = world.http.get("/api/v1/users/me", Some(&good)).unwrap();
    assert_eq!(seen.status, 200, "{}", seen.body);
    let long_ago = now - SignedDuration::from_secs(Role::Admin.token_lifetime());
    let before = Issuer::new(&key, &issuer, &audience).issue(
        deactivated.id,
        Role::Admin,
        now,
        Uuid::new_v4(),
    );
    vec![
        (Who::Admin, good),
        (Who::DeactivatedAdmin, before.token),
        (Who::Expired, token(&key, &issuer, &audience, long_ago)),
        (Who::WrongAudience, token(&key, &issuer, "other-api", now)),
        (
            Who::WrongIssuer,
            token(&key, "https://other.example", &audience, now),
        ),
        (Who::Tampered, climbing(&customer.access)),
        (
            Who::UnknownKey,
            token(&SigningKey::generate(), &issuer, &audience, now),
        ),
    ]
}

/// A customer's own token that says `admin`, its signature left as it was.
fn climbing(token: &str) -> String {
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("an access token has three parts");
    };
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["role"], "customer");
    claims["role"] = json!("admin");
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{header}.{claims}.{signature}")
}

/// A route's answer to one caller.
struct Cell {
    route: String,
    who: Who,
    expected: u16,
    /// The difference from the expected answer, if any.
    wrong: Option<String>,
}

#[test]
fn every_route_answers_every_caller_as_the_matrix_says() {
    let world = world();
    let _shared = world.shared();
    let mut cast = Cast::new(world);
    let begun = Instant::now();

    let rows = rows();
    let cells: Vec<Cell> = rows
        .iter()
        .flat_map(|row| {
            cast.renew_tokens(world);
            every_caller_asks(world, &cast, row)
        })
        .collect();

    println!(
        "authorization matrix: {} cells, {} routes by {} kinds of callers, in {:.0} s",
        cells.len(),
        rows.len(),
        CALLERS.len(),
        begun.elapsed().as_secs_f64()
    );
    let wrong: Vec<String> = cells
        .iter()
        .filter_map(|cell| {
            let wrong = cell.wrong.as_ref()?;
            Some(format!(
                "{} by {:?}, expected {}: {wrong}",
                cell.route, cell.who, cell.expected
            ))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cells.len(), rows.len() * CALLERS.len());

    // And what was refused was not done.
    let order = cast.owner.customer().order(&cast.owners.read);
    assert_eq!(order["status"], "CONFIRMED", "{order}");
    let item = world
        .http
        .get(&format!("/api/v1/items/{}", cast.sku), Some(&world.admin()))
        .unwrap()
        .value();
    let names = ["Named by Admin", "Named by DeactivatedAdmin"];
    assert!(names.map(Value::from).contains(&item["name"]), "{item}");
    assert_eq!(item["stocked"], 52);
    for person in [&cast.owner, &cast.deactivated] {
        let user = world
            .http
            .get(
                &format!("/api/v1/users/{}", person.id),
                Some(&world.admin()),
            )
            .unwrap()
            .value();
        assert_eq!(user["role"], "customer", "{user}");
    }
}

#[test]
fn every_exception_for_deactivated_users_names_a_route() {
    let rows = rows();
    for (route, ..) in DEACTIVATED {
        assert!(
            rows.iter().any(|row| row.route == route),
            "no such route: {route}"
        );
    }
}

/// One row, all callers at once: no answer depends on another.
fn every_caller_asks(world: &World, cast: &Cast, row: &Row) -> Vec<Cell> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = CALLERS
            .into_iter()
            .map(|who| scope.spawn(move || asks(world, cast, row, who)))
            .collect();
        asking
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    })
}

fn asks(world: &World, cast: &Cast, row: &Row, who: Who) -> Cell {
    let expected = row.rule.status(who);
    let (method, _) = row.route.split_once(' ').unwrap();
    let answer = || {
        let Ask { path, body } = ask(row, cast, who);
        let token = cast.token(who);
        match &body {
            Some(body) => world.http.json(method, &path, token, &[], body),
            None => world.http.send(method, &path, token, &[], None),
        }
        .unwrap()
    };
    let answer = match who {
        Who::Deactivated | Who::DeactivatedAdmin if row.route == "POST /api/v1/orders" => {
            after_the_permission(cast, who, answer)
        }
        _ => answer(),
    };
    Cell {
        route: row.route.clone(),
        who,
        expected,
        wrong: judge(&answer, expected, who).err(),
    }
}

/// The answer to a deactivated user's order, once the remembered permission has expired. If users does
/// not answer in time, the order is taken and the saga rejects it.
fn after_the_permission(cast: &Cast, who: Who, answer: impl Fn() -> Response) -> Response {
    while cast.since.elapsed() <= PERMISSION_LIFETIME {
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut last = answer();
    for _ in 0..5 {
        if last.status != 202 {
            break;
        }
        let id = last.value()["id"].as_str().unwrap().to_owned();
        let order = cast.person(who).customer().ends(&id, "REJECTED");
        assert_eq!(order["failure"]["code"], "user_not_allowed", "{order}");
        last = answer();
    }
    last
}

/// The status, and what has to come with it.
fn judge(answer: &Response, expected: u16, who: Who) -> Result<(), String> {
    let told = || format!("{} {}", answer.status, answer.body);
    if answer.status != expected {
        return Err(told());
    }
    if expected < 400 {
        return Ok(());
    }
    let problem = answer.value();
    let kind = problem["type"].as_str().unwrap_or_default();
    if problem["status"] != expected || !kind.starts_with("/problems/") {
        return Err(format!("not in the service's own words: {}", told()));
    }
    // RFC 6750 §3: a client that sent no token is told what is wanted, one that did what is wrong.
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    let challenged = match who {
        _ if expected != 401 => true,
        Who::Anonymous => challenge.starts_with("Bearer") && !challenge.contains("error="),
        Who::Deactivated | Who::DeactivatedAdmin => challenge.starts_with("Bearer"),
        _ => challenge.starts_with("Bearer") && challenge.contains(r#"error="invalid_token""#),
    };
    if challenged {
        Ok(())
    } else {
        Err(format!("www-authenticate: {challenge:?}"))
    }
}
