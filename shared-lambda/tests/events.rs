//! Each documented event of an HTTP API becomes a request.

use serde_json::Value;
use shared_lambda::http::{Query, Request, Response};
use test_support::events;

use crate::{TRACE_ID, origin};

fn request(name: &str) -> Request {
    Request::of_event(events::named(name)).unwrap()
}

/// The mistakes that the runner reports before it calls the handler.
async fn refused(query: Query, request: Request) -> Vec<String> {
    let handler = async |_, _| Ok(Response::empty(204));
    let response = query.respond(&origin(), request, handler).await;
    let body: Value = serde_json::from_str(response.body.as_deref().unwrap_or("{}")).unwrap();
    let errors = body["errors"].as_array().into_iter().flatten();
    errors
        .map(|error| crate::http::name(error).as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_body_is_read_in_every_wrapping() {
    for name in events::WRAPPINGS {
        let request = request(name);
        assert_eq!(request.json::<Value>().unwrap(), serde_json::json!({}));
        assert_eq!(refused(Query::NONE, request).await, [""; 0], "{name}");
    }
}

#[tokio::test]
async fn every_event_is_a_request() {
    for (name, event) in events::all() {
        let request = Request::of_event(event).unwrap();
        assert!(request.source_address().is_some(), "{name}");
    }
    let foreign = serde_json::json!({"httpMethod": "GET", "path": "/", "version": "1.0"});
    assert!(Request::of_event(foreign).is_err());
}

#[test]
fn joined_headers_are_separated() {
    let request = request("joined_headers");
    let key = request.idempotency_key().unwrap().unwrap();
    assert_eq!(key.value, "k");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept"), Some("application/json,*/*"));
    assert_eq!(request.source_address(), Some("203.0.113.7"));
    let context = origin().context(request.header("traceparent"));
    assert_ne!(context.trace_id(), TRACE_ID);
}

#[tokio::test]
async fn contradicting_headers_are_refused() {
    let request = request("contradicting_headers");
    assert_eq!(refused(Query::NONE, request).await, ["Idempotency-Key"]);
}

#[test]
fn a_path_parameter_arrives_decoded() {
    assert_eq!(request("decoded_path").path_parameter("sku"), "tea grün");
}

#[tokio::test]
async fn a_query_is_read_from_its_raw_text() {
    const ALL: Query = Query(&["limit", "cursor", "note", "empty"]);
    let request = request("query");
    assert_eq!(request.query("note"), Some("one two,three"));
    assert_eq!(request.query("cursor"), Some("a+b="));
    assert_eq!(request.query("empty"), Some(""));
    assert_eq!(refused(ALL, request).await, ["limit"]);
}

#[tokio::test]
async fn a_compressed_body_is_415_and_an_empty_one_is_400() {
    let compressed = request("compressed");
    assert_eq!(compressed.body(), b"\x1f\x8b\x08\x00\xff");
    assert_eq!(compressed.json::<Value>().unwrap_err().status(), 415);
    let empty = request("without_body");
    assert_eq!(empty.json::<Value>().unwrap_err().status(), 400);
    assert_eq!(refused(Query::NONE, empty).await, [""; 0]);
}

#[tokio::test]
async fn the_example_of_the_documentation_is_read() {
    let request = request("documented");
    assert_eq!(request.path_parameter("parameter1"), "value1");
    assert_eq!(request.query("parameter2"), Some("value"));
    assert_eq!(request.header("header2"), Some("value1,value2"));
    assert_eq!(request.body(), b"a text");
    const KNOWN: Query = Query(&["parameter1", "parameter2"]);
    assert_eq!(refused(KNOWN, request).await, ["parameter1"]);
}
