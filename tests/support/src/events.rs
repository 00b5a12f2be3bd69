//! Events of an HTTP API with payload format 2.0, after AWS's documentation. Each shows one
//! difference; the emulator sends only some of them.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::template::workspace_root;

/// The events that wrap a good request in different ways.
pub const WRAPPINGS: [&str; 8] = [
    "base64",
    "cookies",
    "decoded_path",
    "joined_headers",
    "least",
    "named_stage",
    "nulls",
    "plain",
];

/// The events in `tests/support/events`.
const FILES: [&str; 4] = ["documented", "least", "plain", "without_body"];

/// The events that differ from `plain` in the values at these JSON pointers.
fn variants() -> [(&'static str, Value); 9] {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let adjust = "POST /api/v1/items/{sku}/adjustments";
    let path = "/api/v1/items/tea grün/adjustments";
    let text = "limit=5&cursor=a%2Bb%3D&note=one+two%2Cthree&limit=7&empty=";
    let query = json!({"cursor": "a+b=", "empty": "", "limit": "5,7", "note": "one two,three"});
    [
        ("base64", json!({"/body": "e30=", "/isBase64Encoded": true})),
        (
            "compressed",
            json!({
                "/headers/content-encoding": "gzip",
                "/body": "H4sIAP8=", "/isBase64Encoded": true,
            }),
        ),
        (
            "contradicting_headers",
            json!({"/headers/idempotency-key": "k,l"}),
        ),
        (
            "cookies",
            json!({"/cookies": ["theme=dark", "session=a b; c"]}),
        ),
        (
            "decoded_path",
            json!({
                "/routeKey": adjust, "/requestContext/routeKey": adjust,
                "/rawPath": path, "/requestContext/http/path": path,
                "/pathParameters": {"sku": "tea grün"},
            }),
        ),
        (
            "joined_headers",
            json!({
                "/headers/accept": "application/json,*/*",
                "/headers/content-type": "application/json,application/json",
                "/headers/x-forwarded-for": "198.51.100.1,203.0.113.7",
                "/headers/idempotency-key": "k,k",
                "/headers/traceparent": format!("{TRACE},{TRACE}"),
            }),
        ),
        (
            "named_stage",
            json!({
                "/rawPath": "/prod/api/v1/orders", "/requestContext/stage": "prod",
                "/requestContext/http/path": "/prod/api/v1/orders",
            }),
        ),
        (
            "nulls",
            json!({
                "/cookies": null, "/queryStringParameters": null,
                "/pathParameters": null, "/stageVariables": null,
            }),
        ),
        (
            "query",
            json!({"/rawQueryString": text, "/queryStringParameters": query}),
        ),
    ]
}

/// Every event, with its name.
pub fn all() -> Vec<(String, Value)> {
    let variants = variants().into_iter().map(|(name, _)| name);
    let names = FILES.into_iter().chain(variants);
    names.map(|name| (name.to_owned(), named(name))).collect()
}

pub fn named(name: &str) -> Value {
    let variant = variants().into_iter().find(|(known, _)| *known == name);
    let file = variant.as_ref().map_or(name, |_| "plain");
    let path = workspace_root().join(format!("tests/support/events/{file}.json"));
    let text = std::fs::read_to_string(path).expect("an event of this name exists");
    let mut event: Value = serde_json::from_str(&text).expect("an event is JSON");
    for (pointer, value) in variant
        .iter()
        .filter_map(|(_, set)| set.as_object())
        .flatten()
    {
        let (parent, member) = pointer.rsplit_once('/').expect("it is a JSON pointer");
        event.pointer_mut(parent).expect("its parent exists")[member] = value.clone();
    }
    event
}

/// An event with this body.
pub fn carrying(wrapping: &str, body: &Value) -> Value {
    let mut event = named(wrapping);
    let body = body.to_string();
    event["body"] = match event["isBase64Encoded"] {
        Value::Bool(true) => STANDARD.encode(body).into(),
        _ => body.into(),
    };
    event
}
