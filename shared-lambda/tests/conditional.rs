//! Entity tags and conditions (RFC 9110 §13).

use serde_json::json;
use shared_lambda::conditional::{Conditions, answer};
use shared_lambda::http::{Request, Response};
use shared_lambda::problem::Fields;

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
fn change(request: &Request) -> u16 {
    let mut fields = Fields::default();
    let conditions = Conditions::of(request, &mut fields);
    let permitted = fields
        .finish()
        .and_then(|()| conditions.unwrap().permit(&cup()));
    permitted.map_or_else(|problem| problem.status(), |()| 200)
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

#[test]
fn a_known_representation_is_not_sent_again() {
    let tag = tag();
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"a,b\" ,, {tag}"),
        "*".to_owned(),
    ] {
        let response = answer(&with("if-none-match", &known), cup()).unwrap();
        assert_eq!((response.status, &response.body), (304, &None), "{known}");
        assert_eq!(response.header("etag"), Some(tag.as_str()));
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("content-type"), None);
    }
    for request in [Request::new(), with("if-none-match", "\"a\"")] {
        assert_eq!(answer(&request, cup()).unwrap(), cup().tagged());
    }
}

#[test]
fn a_change_needs_the_tag_that_it_names() {
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
        assert_eq!(change(&with(name, &value)), status, "{name}: {value}");
    }
    let both = with("if-match", &tag).with_header("if-none-match", tag.clone());
    assert_eq!(change(&both), 412);
}

#[test]
fn a_malformed_condition_is_refused() {
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
            assert_eq!(change(&with(name, value)), 400, "{name}: {value}");
        }
        let problem = answer(&with("if-none-match", value), cup()).unwrap_err();
        assert_eq!(problem.errors().len(), 1, "{value}");
    }
}
