//! The events an HTTP API sends with payload format 2.0, made after AWS's documentation: one for each
//! way in which they differ. The emulator differs from it, for example by a blank after each comma.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::template::workspace_root;

/// The events in which a good request is a good one; what differs is how it is wrapped.
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

/// Every event, with its name.
pub fn all() -> Vec<(String, Value)> {
    let folder = workspace_root().join("tests/support/events");
    let files = std::fs::read_dir(folder).expect("the events are in the repository");
    let names = files.map(|file| {
        let path = file.expect("the folder is readable").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        name.expect("an event's file has a plain name").to_owned()
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    let event = |name: String| {
        let event = named(&name);
        (name, event)
    };
    names.into_iter().map(event).collect()
}

pub fn named(name: &str) -> Value {
    let path = workspace_root().join(format!("tests/support/events/{name}.json"));
    let text = std::fs::read_to_string(path).expect("there is such an event");
    serde_json::from_str(&text).expect("an event is JSON")
}

/// A wrapping around a body.
pub fn carrying(wrapping: &str, body: &Value) -> Value {
    let mut event = named(wrapping);
    let body = body.to_string();
    event["body"] = match event["isBase64Encoded"] {
        Value::Bool(true) => STANDARD.encode(body).into(),
        _ => body.into(),
    };
    event
}
