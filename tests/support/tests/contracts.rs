//! The contract helpers fail clearly where there is nothing to hold data against.

use test_support::contracts;

#[test]
#[should_panic(expected = "functions/shipping/contracts/Ship.schema.json cannot be read")]
fn a_missing_contract_is_named() {
    contracts::schema("shipping", "Ship");
}

#[test]
#[should_panic(expected = "functions/shipping/contracts cannot be read")]
fn a_service_without_contracts_is_named() {
    contracts::types("shipping");
}

#[test]
fn every_contract_of_every_service_is_a_schema_that_refuses_a_bare_string() {
    for service in ["users", "inventory", "payments", "orders"] {
        for message_type in contracts::types(service) {
            let violations = contracts::violations(service, &message_type, &"text".into());
            assert!(!violations.is_empty(), "{service}: {message_type}");
        }
    }
}
