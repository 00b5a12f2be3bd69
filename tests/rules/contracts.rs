//! The written contracts are the messages that are sent.

use std::collections::BTreeSet;

use shared_lambda::rehearsal::Fault;
use test_support::contracts;

use crate::{read, services, yaml};

/// The participants, each with the message types on its contract.
const TYPES: [(&str, &[&str]); 3] = [
    ("users", &["UserRefused", "UserVerified", "VerifyUser"]),
    (
        "inventory",
        &[
            "ReleaseStock",
            "ReserveStock",
            "StockRefused",
            "StockReleased",
            "StockReserved",
        ],
    ),
    (
        "payments",
        &[
            "ChargePayment",
            "PaymentCharged",
            "PaymentDeclined",
            "PaymentRefunded",
            "RefundPayment",
        ],
    ),
];

#[test]
fn every_message_has_a_contract_and_both_sides_have_a_type_for_it() {
    let services = services();
    let orders = services.iter().find(|s| s.name == "orders").unwrap();
    let orders_source = read(&orders.folder.join("src/messages.rs"));
    for (name, types) in TYPES {
        let written: BTreeSet<String> = contracts::types(name).into_iter().collect();
        let expected: BTreeSet<String> = types.iter().map(|&kind| kind.to_owned()).collect();
        assert_eq!(written, expected, "{name}");
        let service = services.iter().find(|s| s.name == name).unwrap();
        let own_source = read(&service.folder.join("src/messages.rs"));
        for kind in types {
            let declared = format!("struct {kind}");
            assert!(orders_source.contains(&declared), "orders has no {kind}");
            assert!(own_source.contains(&declared), "{name} has no {kind}");
        }
    }
}

#[test]
fn every_service_describes_its_queues() {
    for service in services() {
        let document = yaml(&service.folder.join("asyncapi.yaml"));
        let version = document["asyncapi"].as_str().unwrap();
        assert!(version.starts_with("3.0"), "{}", service.name);
    }
}

#[test]
fn every_service_describes_the_faults_a_command_can_carry() {
    let known: Vec<&str> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
    for service in services() {
        let envelope = contracts::envelope(service.name);
        assert_eq!(
            envelope["properties"]["fault"]["enum"],
            serde_json::json!(known),
            "{}",
            service.name
        );
        let required = envelope["required"].as_array().unwrap();
        assert!(!required.iter().any(|name| name == "fault"));
    }
}
