//! An object within a body is an object.

use serde::Deserialize;
use serde_json::json;
use shared_lambda::http::{Object, Request};
use shared_lambda::problem::FieldError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    lines: Vec<Object<Line>>,
    gift: Option<Object<Line>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sku: String,
    quantity: i64,
}

fn read(body: &serde_json::Value) -> Result<Body, Vec<FieldError>> {
    Request::new()
        .with_body(body.to_string())
        .json()
        .map_err(|problem| problem.errors().to_vec())
}

#[test]
fn an_object_is_read_as_its_struct() {
    let tea = json!({"sku": "tea", "quantity": 2});
    let body = read(&json!({"lines": [tea], "gift": tea})).unwrap();
    assert_eq!(
        (body.lines[0].sku.as_str(), body.lines[0].quantity),
        ("tea", 2)
    );
    assert_eq!(body.gift.unwrap().sku, "tea");
    assert!(
        read(&json!({"lines": [], "gift": null}))
            .unwrap()
            .gift
            .is_none()
    );
}

#[test]
fn an_array_of_field_values_is_not_an_object() {
    for (value, what) in [
        (json!(["tea", 2]), "an array"),
        (json!([]), "an array"),
        (json!("tea"), "a string"),
        (json!(2), "a number"),
    ] {
        let detail = format!("is {what}, not an object");
        let wrong = |pointer: &str| vec![FieldError::new(pointer, detail.clone())];
        assert_eq!(
            read(&json!({"lines": [value]})).unwrap_err(),
            wrong("/lines/0")
        );
        let gift = json!({"lines": [], "gift": value});
        assert_eq!(read(&gift).unwrap_err(), wrong("/gift"));
    }
}

#[test]
fn a_mistake_within_an_object_is_named() {
    let body = json!({"lines": [{"sku": "tea", "quantity": "2"}]});
    assert_eq!(read(&body).unwrap_err()[0].name, "/lines/0/quantity");
    let body = json!({"lines": [{"sku": "tea", "quantity": 2, "colour": "red"}]});
    assert_eq!(read(&body).unwrap_err()[0].name, "/lines/0/colour");
    let body = json!({"lines": [{"sku": "tea"}]});
    assert_eq!(read(&body).unwrap_err()[0].name, "/lines/0/quantity");
}
