//! Checks data against schemas, their references and formats.

use serde_json::json;
use std::path::Path;
use test_support::contracts;

fn violations(data: serde_json::Value) -> Vec<String> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts");
    contracts::violations(&fixtures, "Reserve", &data)
}

#[test]
fn valid_data_has_no_violations_and_may_have_more_members() {
    let data = json!({
        "user_id": "018f4e5a-7c3b-7d2e-9f10-3a5b6c7d8e9f",
        "total": { "amount": 1999, "currency": "USD" },
    });
    assert_eq!(violations(data), [""; 0]);
}

#[test]
fn every_violation_has_its_place() {
    let data = json!({ "user_id": "not-an-id", "total": { "amount": "1999" } });
    let expected = [
        r#"/total/amount: "1999" is not of type "integer""#,
        r#"/user_id: "not-an-id" is not a "uuid""#,
    ];
    let mut violations = violations(data);
    violations.sort();
    assert_eq!(violations, expected);
}

#[test]
#[should_panic(expected = "Ship.schema.json cannot be read")]
fn a_missing_contract_is_named() {
    contracts::schema("shipping", "Ship");
}

#[test]
#[should_panic(expected = "functions/shipping/contracts cannot be read")]
fn a_service_without_contracts_is_named() {
    contracts::types("shipping");
}
