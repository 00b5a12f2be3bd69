//! Nothing secret is in any log line of the whole test run.
//!
//! Tests are started in the order of their names and this module's comes last, and it waits until
//! it is alone: so it reads what all the others left behind, besides what it plants itself.

use serde_json::{Value, json};
use shared_auth::SigningKey;
use test_support::template::workspace_root;
use uuid::Uuid;
use xtask::http::Response;
use xtask::project::Project;
use xtask::state::Home;

use crate::world::{Customer, World, eventually, world};

/// The beginning of every password in the system tests.
const PASSWORDS: &str = "pass phrase ";

/// Where the addresses of all system tests are.
const ADDRESSES: &str = "@customers.example";

/// How kept passwords begin (PHC string format).
const HASHES: &str = "$argon2";

/// From this length on a word that could be base64 is taken for key material. Our refresh tokens
/// have 64 characters; hexadecimal ids, traces and hashes have another alphabet.
const LONG: usize = 60;

#[test]
fn nothing_secret_is_in_any_log_line_of_the_whole_run() {
    this_module_comes_last();
    let world = world();
    let _alone = world.alone();
    let mut secrets = vec![
        ("the admin's password", world.stack.admin.password.clone()),
        ("the admin's token", world.admin()),
        ("a password of the tests", PASSWORDS.to_owned()),
        ("an address of the tests", ADDRESSES.to_owned()),
        ("a password's hash", HASHES.to_owned()),
    ];
    secrets.extend(private_keys(world));
    let (user_id, planted) = plant(world);
    secrets.extend(planted);

    // A printed line shows up a moment later. Of a retired token there has to be a word, so there
    // is something in the logs for a secret to be found in.
    let lines = eventually("the use of a retired token is logged", || {
        let lines = lines(world);
        lines
            .iter()
            .any(|(_, line)| line.contains(&user_id) && line.contains("retired refresh token"))
            .then_some(lines)
    });
    let mut found = Vec::new();
    for (source, line) in &lines {
        for (what, secret) in &secrets {
            if line.contains(secret.as_str()) {
                found.push(format!("{what} in {source}: {line}"));
            }
        }
        if let Some(word) = token_like(line) {
            found.push(format!("{word:?}, a token or key, in {source}: {line}"));
        }
    }
    println!(
        "{} log lines hold none of {} secrets, and nothing like a token or key",
        lines.len(),
        secrets.len()
    );
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Tests are started by name, so what a later module's tests did would not be seen.
fn this_module_comes_last() {
    let folder = workspace_root().join("tests/system");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name > "secrets" && name != "world" {
            let source = std::fs::read_to_string(&path).unwrap();
            assert!(
                !source.contains("world"),
                "{name} uses the stack after its logs were read; give it an earlier name"
            );
        }
    }
}

/// Every private key the stack keeps, whole and in parts, as text and as a secret of its parameter.
fn private_keys(world: &World) -> Vec<(&'static str, String)> {
    let described = world
        .aws
        .call("ssm", "DescribeParameters", json!({}))
        .unwrap();
    let names = described["Parameters"].as_array().unwrap().iter();
    let mut keys = Vec::new();
    for parameter in names.filter(|parameter| parameter["Type"] == "SecureString") {
        let name = parameter["Name"].as_str().unwrap();
        let kept = world
            .aws
            .call(
                "ssm",
                "GetParameter",
                json!({"Name": name, "WithDecryption": true}),
            )
            .unwrap();
        let value = kept["Parameter"]["Value"].as_str().unwrap().to_owned();
        if name.contains("/auth/") {
            // PKCS #8 of a P-256 key: the scalar is the 32 bytes from the 37th on, which are the
            // characters from the 49th to the 91st.
            if let Some(scalar) = value.get(49..90) {
                keys.push(("a private key's scalar", scalar.to_owned()));
            }
        }
        keys.push(("a secret parameter", value));
    }
    assert!(!keys.is_empty(), "the stack has a signing key");
    keys
}

/// Sends secrets everywhere they belong and everywhere they do not. Says which they were, and whose
/// retired token was used.
fn plant(world: &World) -> (String, Vec<(&'static str, String)>) {
    let http = &world.http;
    let secret = || format!("planted{}", Uuid::new_v4().simple());
    let customer = Customer::new();
    let token = customer.token.clone();
    let (password, refresh, card, header, query, path) =
        (secret(), secret(), secret(), secret(), secret(), secret());

    // Bodies: right, wrong, with members too many, of other types, cut off, no JSON at all.
    let email = format!("{}@customers.example", secret());
    let registration = json!({"email": email, "password": password, "name": "Some Body"});
    let bodies: [(&str, Vec<Value>); 9] = [
        (
            "/api/v1/users",
            vec![
                registration.clone(),
                registration,
                json!({"email": password, "password": password, "name": password}),
                json!({"email": email, "password": [password], "name": "Some Body"}),
                json!({"email": email, "password": {"is": password}, "name": "Some Body"}),
                json!({"email": email, "name": "Some Body", "secret": password}),
                json!({password.as_str(): 1}),
                json!(password),
            ],
        ),
        (
            "/api/v1/auth/login",
            vec![
                json!({"email": customer.email, "password": password}),
                json!({"email": password, "password": password}),
                json!({"email": email, "password": [password]}),
                json!({"email": email, "password": password, "refresh_token": refresh}),
                json!([email, password]),
            ],
        ),
        (
            "/api/v1/auth/refresh",
            vec![
                json!({"refresh_token": refresh}),
                json!({"refresh_token": [refresh]}),
                json!({"refresh_token": token}),
                json!({refresh.as_str(): refresh}),
            ],
        ),
        (
            "/api/v1/auth/logout",
            vec![json!({"refresh_token": refresh})],
        ),
        (
            "/api/v1/users/me/password",
            vec![
                json!({"current_password": password, "new_password": password}),
                json!({"current_password": [password], "new_password": 1}),
            ],
        ),
        (
            "/api/v1/users/me",
            vec![json!({"password": password}), json!({"name": [password]})],
        ),
        (
            "/api/v1/orders",
            vec![
                json!({"lines": [{"sku": "tea", "quantity": 1}], "payment_method": card}),
                json!({"lines": [{"sku": card, "quantity": 1}], "payment_method": [card]}),
                json!({"lines": card, "payment_method": card}),
            ],
        ),
        ("/api/v1/items", vec![json!({"sku": card, "name": [card]})]),
        (
            "/api/v1/items/tea/adjustments",
            vec![json!({"delta": card, "reason": [card]})],
        ),
    ];
    for (to, values) in &bodies {
        let method = if to.ends_with("/me") { "PATCH" } else { "POST" };
        for value in values {
            let text = value.to_string();
            for body in [text.as_bytes(), &text.as_bytes()[..text.len() - 1]] {
                for as_whom in [&token, &world.admin()] {
                    http.send(method, to, Some(as_whom), &[], Some(body))
                        .unwrap();
                }
            }
        }
    }

    // Everywhere else in a request: its credentials, its headers, its query, its path.
    let cut_off = &token[..token.len() - 1];
    let traced = format!("00-{header}-00f067aa0ba902b7-01");
    for authorization in [
        format!("Bearer {cut_off}"),
        format!("Bearer {header}"),
        format!("Basic {header}"),
        header.clone(),
        format!("Bearer {token} {header}"),
    ] {
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", header.as_str()),
            ("traceparent", traced.as_str()),
            ("x-request-id", header.as_str()),
            ("user-agent", header.as_str()),
        ];
        for to in ["/api/v1/users/me", "/api/v1/orders", "/api/v1/items"] {
            http.send("GET", to, None, &headers, None).unwrap();
        }
        http.send("POST", "/api/v1/orders", None, &headers, Some(b"{"))
            .unwrap();
    }
    for to in [
        format!("/api/v1/orders?access_token={token}&cursor={query}"),
        format!("/api/v1/orders?user_id={query}"),
        format!("/api/v1/items?cursor={query}&limit={query}"),
        format!("/api/v1/users/{path}"),
        format!("/api/v1/orders/{path}"),
        format!("/api/v1/orders/{path}/timeline"),
        format!("/api/v1/payments/{path}"),
        format!("/api/v1/items/{path}"),
    ] {
        http.get(&to, Some(&token)).unwrap();
    }
    // Tokens as they are meant to be used, and one that is used once too often.
    let body = json!({"email": customer.email, "password": customer.password});
    let answer = http.post("/api/v1/auth/login", None, &body).unwrap();
    let mut tokens = vec![tokens_of(&answer)];
    for turn in 0..2 {
        let body = json!({"refresh_token": tokens[turn][1]});
        let answer = http.post("/api/v1/auth/refresh", None, &body).unwrap();
        tokens.push(tokens_of(&answer));
    }
    let retired = json!({"refresh_token": tokens[0][1]});
    let answer = http.post("/api/v1/auth/refresh", None, &retired).unwrap();
    assert_eq!(answer.status, 401, "{}", answer.body);

    let mut secrets = vec![
        ("a planted password", password),
        ("a planted refresh token", refresh),
        ("a planted payment method", card),
        ("a planted header", header),
        ("a planted query", query),
        ("a planted path", path),
        ("an access token", token),
        ("a registered password", customer.password),
        ("a registered address", customer.email),
    ];
    secrets.extend(
        tokens
            .into_iter()
            .flatten()
            .map(|token| ("an issued token", token)),
    );
    (customer.id, secrets)
}

/// The access token and the refresh token.
fn tokens_of(answer: &Response) -> [String; 2] {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.value();
    ["access_token", "refresh_token"].map(|name| body[name].as_str().unwrap().to_owned())
}

/// Every line the functions printed, and every line the emulator wrote about them.
fn lines(world: &World) -> Vec<(String, String)> {
    let groups = world
        .aws
        .call(
            "logs",
            "DescribeLogGroups",
            json!({"logGroupNamePrefix": format!("/aws/lambda/{}", world.stack.name(""))}),
        )
        .unwrap();
    let mut lines = Vec::new();
    for group in groups["logGroups"].as_array().unwrap() {
        let name = group["logGroupName"].as_str().unwrap();
        let mut params = json!({"logGroupName": name});
        loop {
            let page = world
                .aws
                .call("logs", "FilterLogEvents", params.clone())
                .unwrap();
            for event in page["events"].as_array().unwrap() {
                let message = event["message"].as_str().unwrap_or_default();
                lines.push((name.to_owned(), message.to_owned()));
            }
            match &page["nextToken"] {
                Value::String(token) => params["nextToken"] = json!(token),
                _ => break,
            }
        }
    }
    let emulator = emulator_log();
    lines.extend(
        emulator
            .lines()
            .map(|line| ("the emulator".to_owned(), line.to_owned())),
    );
    lines
}

fn emulator_log() -> String {
    let path = Home::current(&Project::find().unwrap()).emulator_log();
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first word of a line that looks like a JWT or like bytes in either alphabet of base64.
fn token_like(line: &str) -> Option<&str> {
    let url_safe = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let standard = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
    let jwt = line
        .split(|letter| !url_safe(letter) && letter != '.')
        // `eyJ` is `{"` in base64: a header, a dot, and claims.
        .find(|word| word.starts_with("eyJ") && word.contains(".eyJ"));
    let chance = |word: &&str| {
        word.len() >= LONG
            && word.contains(|letter: char| letter.is_ascii_uppercase())
            && word.contains(|letter: char| letter.is_ascii_lowercase())
            && word.contains(|letter: char| letter.is_ascii_digit())
    };
    jwt.or_else(|| line.split(|letter| !url_safe(letter)).find(chance))
        .or_else(|| line.split(|letter| !standard(letter)).find(chance))
}

#[test]
fn the_search_finds_texts_like_tokens_and_keys() {
    let customer = Customer::new();
    assert!(token_like(&format!("token={}", customer.token)).is_some());
    assert!(token_like(&format!("{{\"cause\":\"bad {}\"}}", customer.token)).is_some());
    let key = SigningKey::generate().to_pkcs8_base64();
    assert!(token_like(&format!("cannot read {key}: no key")).is_some());
    let refresh = "q8ZQ0v-T1sXk3nWbY5cJ7dLr9mGh2aEf4uPi6oKtHyBzNxCvMsRwQeAjSlDgFpU_";
    assert!(token_like(&format!("no session {refresh}")).is_some());
    for harmless in [
        "START RequestId: 8f507c6a-5c3e-4f47-8d0c-2b9a51e0d2aa Version: $LATEST",
        "trace_id 4bf92f3577b34da6a3ce929d0e0e4736",
        "/aws/lambda/waybill-users-register/2026/11/23",
        "the sha256 is 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ] {
        assert_eq!(token_like(harmless), None, "{harmless}");
    }
}
