//! Every response in the tests must match `openapi.yaml`.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::Value;
use shared_lambda::http::Response;
use test_support::template::workspace_root;

static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    let path = workspace_root().join("functions/users/openapi.yaml");
    serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// Returns the response if its status, type, headers and body match the route's description.
pub fn described(route: &str, response: Response) -> Response {
    let (method, path) = route.split_once(' ').unwrap();
    let operation = &OPENAPI["paths"][path][method.to_lowercase()];
    let description = resolved(&operation["responses"][response.status.to_string()]);
    let answer = format!("{route} {}", response.status);
    assert!(!description.is_null(), "{answer} is not described");
    for name in headers(description) {
        assert!(response.header(name).is_some(), "{answer} has no {name}");
    }
    match &response.body {
        None => assert!(description["content"].is_null(), "{answer} has no body"),
        Some(body) => {
            let kind = response.header("content-type").unwrap();
            let schema = &description["content"][kind]["schema"];
            assert!(!schema.is_null(), "{answer} is not described as {kind}");
            let body = serde_json::from_str(body).unwrap();
            let mut validators = VALIDATORS.lock().unwrap();
            let validator = validators
                .entry(answer.clone())
                .or_insert_with(|| validator(schema));
            let errors: Vec<String> = validator
                .iter_errors(&body)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{answer}: {errors:#?}\n{body:#}");
        }
    }
    response
}

/// Whether the document allows a value of a request.
pub fn allows(pointer: &str, value: &str) -> bool {
    validator(OPENAPI.pointer(pointer).unwrap()).is_valid(&value.into())
}

/// The headers that every such answer has.
fn headers(description: &'static Value) -> impl Iterator<Item = &'static String> {
    let headers = description["headers"].as_object().into_iter().flatten();
    let required = headers.filter(|(_, header)| resolved(header)["required"] != false);
    required.map(|(name, _)| name)
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        None => value,
        Some(reference) => OPENAPI
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap_or_else(|| panic!("{reference} is not there")),
    }
}

fn validator(schema: &Value) -> Validator {
    let mut root = schema.clone();
    root["components"] = OPENAPI["components"].clone();
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&root)
        .unwrap()
}
