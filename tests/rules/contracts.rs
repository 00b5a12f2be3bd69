//! The written contracts are the messages that are sent.

use std::collections::BTreeSet;

use shared_lambda::fault::Fault;
use test_support::contracts;

use crate::{Service, files, read, services, yaml};

#[test]
fn a_message_has_a_type_in_its_service_and_in_another() {
    let services = services();
    let declares = |service: &Service, kind: &str| {
        let source = service.folder.join("src/messages.rs");
        source.is_file() && read(&source).contains(&format!("struct {kind}"))
    };
    let contracts = |service: &&Service| service.folder.join("contracts").is_dir();
    let mut seen = 0;
    for service in services.iter().filter(contracts) {
        let types = contracts::types(&service.name);
        seen += types.len();
        for kind in types {
            assert!(declares(service, &kind), "{} has no {kind}", service.name);
            let mut others = services.iter().filter(|other| other.name != service.name);
            let another = others.any(|other| declares(other, &kind));
            assert!(another, "only {} has a {kind}", service.name);
        }
    }
    assert!(seen >= 13, "{seen} contracts");
}

#[test]
fn a_service_with_a_queue_describes_it() {
    for service in services().iter().filter(|service| service.has_queue()) {
        let document = yaml(&service.folder.join("asyncapi.yaml"));
        let version = document["asyncapi"].as_str().unwrap();
        assert!(version.starts_with("3.0"), "{}", service.name);
    }
}

#[test]
fn asyncapi_has_every_message_with_its_contract() {
    let contracts = |service: &&Service| service.folder.join("contracts").is_dir();
    for service in services().iter().filter(contracts) {
        let document = yaml(&service.folder.join("asyncapi.yaml"));
        let described = document["components"]["messages"].as_object().unwrap();
        let names: BTreeSet<&String> = described.keys().collect();
        let types = contracts::types(&service.name);
        assert_eq!(names, types.iter().collect(), "{}", service.name);
        for (kind, message) in described {
            let payload = &message["payload"]["allOf"][1]["properties"];
            assert_eq!(payload["type"]["const"], *kind);
            let contract = payload["data"]["$ref"].as_str().unwrap();
            let contract = contract.trim_start_matches("./");
            assert_eq!(contract, format!("contracts/{kind}.schema.json"));
        }
    }
}

#[test]
fn a_service_with_a_queue_describes_the_faults_of_commands() {
    let known = Fault::ALL.map(|(name, ..)| name);
    for service in services().iter().filter(|service| service.has_queue()) {
        let envelope = contracts::envelope(&service.name);
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
fn operations(service: &Service) -> Vec<(String, serde_json::Value)> {
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
fn every_operation_describes_its_refusals() {
    for service in services() {
        for (route, operation) in operations(&service) {
            let answers = &operation["responses"];
            assert!(
                !answers["400"].is_null() && !answers["500"].is_null(),
                "{route}"
            );
            let has_body = !operation["requestBody"].is_null();
            for status in ["413", "415"] {
                assert_eq!(!answers[status].is_null(), has_body, "{route} {status}");
            }
        }
    }
}

/// The matrix of the system tests takes from here who may use a route.
#[test]
fn an_operation_describes_the_refusals_of_its_security() {
    for service in services() {
        for (route, operation) in operations(&service) {
            let security = &operation["security"];
            let required = security.as_array().expect(&route);
            let described = |status: &str| !operation["responses"][status].is_null();
            let for_admins = security.to_string().contains("[\"admin\"]");
            let optional = required.iter().any(|one| one == &serde_json::json!({}));
            // A password, too, is refused with 401.
            assert!(required.is_empty() || described("401"), "{route} 401");
            assert!(!for_admins || described("403") && !optional, "{route} 403");
        }
    }
}

#[test]
fn a_route_takes_the_query_parameters_it_describes() {
    for service in services() {
        let document = yaml(&service.folder.join("openapi.yaml"));
        let described = operations(&service).into_iter().map(|(_, operation)| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_query = parameters
                .map(|parameter| match parameter["$ref"].as_str() {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => parameter,
                })
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
