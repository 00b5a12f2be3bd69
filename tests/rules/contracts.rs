//! The written contracts are the messages that are sent.

use std::collections::BTreeSet;

use shared_lambda::rehearsal::Fault;
use test_support::contracts;

use crate::{files, read, services, yaml};

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

/// Every operation that a service describes, with its route.
fn operations(service: &crate::Service) -> Vec<(String, serde_json::Value)> {
    let document = yaml(&service.folder.join("openapi.yaml"));
    let paths = document["paths"].as_object().unwrap().clone();
    let operations = paths.into_iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().clone().into_iter();
        methods
            .filter(|(method, _)| method != "parameters")
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    operations.collect()
}

#[test]
fn every_operation_says_what_a_request_is_refused_for() {
    for service in services() {
        for (route, operation) in operations(&service) {
            let answers = &operation["responses"];
            assert!(!answers["400"].is_null(), "{route}");
            let has_body = !operation["requestBody"].is_null();
            for status in ["413", "415"] {
                assert_eq!(!answers[status].is_null(), has_body, "{route} {status}");
            }
        }
    }
}

#[test]
fn a_route_takes_the_query_parameters_it_describes() {
    for service in services() {
        let described = operations(&service).into_iter().map(|(_, operation)| {
            let parameters = operation["parameters"].as_array().cloned();
            let in_query = parameters
                .unwrap_or_default()
                .into_iter()
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned());
            in_query.collect::<BTreeSet<String>>()
        });
        let described: Vec<_> = described.filter(|names| !names.is_empty()).collect();
        let taken = files(&service.folder.join("src/handlers")).into_iter();
        let taken = taken.filter_map(|file| {
            let source = read(&file);
            let (_, names) = source.split_once("Query = Query(&[")?;
            let names = names.split_once(']').unwrap().0.split(", ");
            let names = names.map(|name| name.trim_matches('"').to_owned());
            Some(names.collect::<BTreeSet<String>>())
        });
        assert_eq!(taken.collect::<Vec<_>>(), described, "{}", service.name);
    }
}
