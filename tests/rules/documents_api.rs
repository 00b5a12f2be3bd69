//! docs/api.md names the endpoints, problem types, states and codes that the code has.

use std::collections::BTreeSet;

use test_support::template::workspace_root;

use crate::{files, read, services, yaml};

/// The constructors of a problem that take its type, and the status each answers with.
const CONSTRUCTORS: [(&str, u16); 17] = [
    ("Problem::not_authenticated(", 401),
    ("Problem::forbidden(", 403),
    ("Problem::conflict(", 409),
    ("Problem::unprocessable(", 422),
    ("Problem::too_many(", 429),
    ("Self::too_many(", 429),
    ("Status::BadRequest,", 400),
    ("Status::Unauthorized,", 401),
    ("Status::Forbidden,", 403),
    ("Status::NotFound,", 404),
    ("Status::MethodNotAllowed,", 405),
    ("Status::Conflict,", 409),
    ("Status::PayloadTooLarge,", 413),
    ("Status::UnsupportedMediaType,", 415),
    ("Status::UnprocessableContent,", 422),
    ("Status::Internal,", 500),
    ("Status::Unavailable,", 503),
];

fn document() -> String {
    read(&workspace_root().join("docs/api.md"))
}

/// The rows of the tables whose first column has this heading.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let heading = format!("| {heading} |");
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(&heading) {
            let table = lines.by_ref().skip(1);
            let table = table.take_while(|line| line.starts_with('|'));
            found.extend(
                table.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()),
            );
        }
    }
    found
}

fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn the_api_page_lists_every_problem_type() {
    let document = document();
    let rows = rows(&document, "status");
    let listed: BTreeSet<(u16, String)> = rows
        .iter()
        .map(|row| (row[0].parse().unwrap(), code(row[1]).to_owned()))
        .collect();
    assert_eq!(rows.len(), listed.len(), "a problem type is listed twice");

    let mut sources = files(&workspace_root().join("shared-lambda/src"));
    let services = services();
    for service in &services {
        sources.extend(files(&service.folder.join("src")));
    }
    let mut used = BTreeSet::new();
    for source in &sources {
        let source = read(source);
        for (constructor, status) in CONSTRUCTORS {
            for call in source.split(constructor).skip(1) {
                let literal = call.trim_start().strip_prefix('"');
                let kind = literal.and_then(|literal| literal.split_once('"'));
                used.extend(kind.map(|(kind, _)| (status, kind.to_owned())));
            }
        }
    }
    assert_eq!(listed, used, "docs/api.md beside the code");

    let described: String = services
        .iter()
        .map(|service| read(&service.folder.join("openapi.yaml")))
        .collect();
    for (_, kind) in listed {
        assert!(described.contains(&kind), "no openapi.yaml names {kind}");
    }
}

#[test]
fn the_api_page_lists_every_endpoint() {
    let document = document();
    let listed: BTreeSet<String> = rows(&document, "endpoint")
        .iter()
        .map(|row| code(row[0]).to_owned())
        .collect();
    let mut described = BTreeSet::new();
    for service in services() {
        let openapi = yaml(&service.folder.join("openapi.yaml"));
        for (path, item) in openapi["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys();
            let methods = methods.filter(|name| *name != "parameters");
            described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
        }
    }
    assert_eq!(listed, described, "docs/api.md beside openapi.yaml");
}

#[test]
fn the_api_page_names_every_status_event_and_failure_code() {
    let document = document();
    let openapi = yaml(&workspace_root().join("functions/orders/openapi.yaml"));
    let schemas = &openapi["components"]["schemas"];
    let events = &schemas["Timeline"]["properties"]["items"]["items"]["properties"]["event"];
    let payments = yaml(&workspace_root().join("functions/payments/openapi.yaml"));
    let payment = &payments["components"]["schemas"]["Payment"]["properties"]["status"];
    for values in [&schemas["Status"], events, payment] {
        for value in values["enum"].as_array().unwrap() {
            let value = value.as_str().unwrap();
            assert!(
                document.contains(&format!("`{value}`")),
                "docs/api.md lacks {value}"
            );
        }
    }

    let failure = &schemas["Order"]["properties"]["failure"]["properties"]["code"];
    let described = failure["description"].as_str().unwrap();
    let described: BTreeSet<&str> = described.split('`').skip(1).step_by(2).collect();
    let rows = rows(&document, "`failure.code`");
    let listed: BTreeSet<&str> = rows.iter().map(|row| code(row[0])).collect();
    assert_eq!(listed, described, "docs/api.md beside openapi.yaml");
}
