//! Entity tags and conditions (RFC 9110 §13).

use serde_json::json;
use shared_lambda::Context;
use shared_lambda::conditional::answer;
use shared_lambda::http::{Query, Request, Response, respond};

use crate::origin;

fn cup() -> Response {
    Response::json(200, &json!({"sku": "CUP", "available": 3})).with_header("retry-after", "1")
}

fn tag() -> String {
    cup().tagged().header("etag").unwrap().to_owned()
}

fn with(name: &str, value: &str) -> Request {
    Request::new().with_header(name, value)
}

/// The status of a change of the cup under these conditions.
async fn change(request: Request) -> u16 {
    let handler = async |_: Context, request: Request| {
        request.fields().finish(Some(()))?;
        request.conditions().permit(&cup())?;
        Ok(cup().tagged())
    };
    respond(&origin(), request, handler).await.status
}

/// The answer to a `GET` of the cup.
async fn read(request: Request) -> Response {
    let handler = async |_: Context, request: Request| answer(request.conditions(), cup());
    let mut response = respond(&origin(), request, handler).await;
    response.headers.retain(|(name, _)| *name != "traceparent");
    response
}

/// A request with this method.
fn sent(method: &str, name: &str, value: &str) -> Request {
    let event = json!({
        "requestContext": {"http": {"method": method}},
        "headers": {name: value},
    });
    Request::of_event(event).unwrap()
}

#[test]
fn a_tag_is_strong_and_differs_with_every_body() {
    let tag = tag();
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    assert!(inner.unwrap().bytes().all(is_plain), "{tag}");
    let other = Response::json(200, &json!({"sku": "CUP", "available": 2})).tagged();
    assert_ne!(other.header("etag"), Some(tag.as_str()));
    assert_eq!(cup().tagged().header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn a_known_representation_is_not_sent_again() {
    let tag = tag();
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"a,b\" ,, {tag}"),
        "*".to_owned(),
    ] {
        let response = read(with("if-none-match", &known)).await;
        assert_eq!((response.status, &response.body), (304, &None), "{known}");
        assert_eq!(response.header("etag"), Some(tag.as_str()));
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("content-type"), None);
    }
    for request in [Request::new(), with("if-none-match", "\"a\"")] {
        assert_eq!(read(request).await, cup().tagged());
    }
}

#[tokio::test]
async fn a_get_with_another_tag_is_refused() {
    let tag = tag();
    for (value, status) in [
        (tag.as_str(), 200),
        ("*", 200),
        ("\"a\"", 412),
        (&format!("W/{tag}"), 412),
    ] {
        let request = with("if-match", value);
        assert_eq!(read(request.clone()).await.status, status, "{value}");
        // §13.2.2: If-Match comes first.
        let known = read(request.with_header("if-none-match", "*")).await;
        assert_eq!(known.status, if status == 200 { 304 } else { 412 });
    }
}

#[tokio::test]
async fn a_condition_that_nothing_evaluates_is_refused() {
    let untagged = async |_: Context, _: Request| Ok(Response::json(200, &json!({})));
    for (method, name, status) in [
        ("POST", "if-match", 400),
        ("POST", "if-none-match", 400),
        ("GET", "if-match", 400),
        // No tag is known.
        ("GET", "if-none-match", 200),
        // RFC 9110 §13.2.1.
        ("OPTIONS", "if-match", 200),
    ] {
        let request = sent(method, name, "\"a\"");
        let response = Query::ANY.respond(&origin(), request, untagged).await;
        assert_eq!(response.status, status, "{method} {name}");
    }
}

#[tokio::test]
async fn a_change_needs_the_tag_that_it_names() {
    let tag = tag();
    for (name, value, status) in [
        ("if-match", tag.clone(), 200),
        ("if-match", format!("\"a\", {tag}"), 200),
        ("if-match", "*".to_owned(), 200),
        ("if-match", "\"a\"".to_owned(), 412),
        // The comparison is strong (§13.1.1).
        ("if-match", format!("W/{tag}"), 412),
        ("if-none-match", "\"a\"".to_owned(), 200),
        ("if-none-match", tag.clone(), 412),
        ("if-none-match", format!("W/{tag}"), 412),
        ("if-none-match", "*".to_owned(), 412),
        ("if-unmodified-since", "never".to_owned(), 200),
    ] {
        assert_eq!(change(with(name, &value)).await, status, "{name}: {value}");
    }
    let both = with("if-match", &tag).with_header("if-none-match", tag.clone());
    assert_eq!(change(both).await, 412);
}

#[tokio::test]
async fn a_malformed_condition_is_refused() {
    for value in [
        "",
        " ",
        ",",
        "7",
        "\"a",
        "a\"",
        "\"a\" \"b\"",
        "\"a b\"",
        "*, \"a\"",
        "w/\"a\"",
        "\"a\\\"b\"",
    ] {
        for name in ["if-match", "if-none-match"] {
            assert_eq!(change(with(name, value)).await, 400, "{name}: {value}");
            assert_eq!(read(with(name, value)).await.status, 400, "{name}: {value}");
        }
    }
}
