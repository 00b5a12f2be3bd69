//! docs/api.md names the endpoints, problem types, states and codes that the code has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use test_support::template::workspace_root;
use xtask::problem_types::{ProblemType, all};

use crate::{read, services, yaml};

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

/// `UPDATE_EXPECT=1` writes the table.
#[test]
fn the_api_page_has_the_table_of_problem_types() {
    const HEAD: &str =
        "| status | type | title | when | what to do |\n| --- | --- | --- | --- | --- |\n";
    let document = document();
    let (before, rest) = document.split_once(HEAD).expect("the head of the table");
    let (table, after) = rest.split_once("\n\n").expect("the end of the table");
    let rows = all(&workspace_root()).unwrap().into_iter().map(|kind| {
        let (status, slug, title) = (kind.status, kind.slug, kind.title);
        format!(
            "| {status} | `{slug}` | {title} | {} | {} |",
            kind.when, kind.remedy
        )
    });
    let rows = rows.collect::<Vec<_>>().join("\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let text = format!("{before}{HEAD}{rows}\n\n{after}");
        std::fs::write(workspace_root().join("docs/api.md"), text).unwrap();
    } else {
        assert_eq!(table, rows, "docs/api.md beside the problems.rs");
    }
}

#[test]
fn a_problem_type_has_its_own_slug_and_an_error_status() {
    let mut slugs = BTreeSet::new();
    for kind in all(&workspace_root()).unwrap() {
        assert!((400..=599).contains(&kind.status), "{kind:?}");
        let is_slug = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(kind.slug.chars().all(is_slug), "{kind:?}");
        assert!(
            slugs.insert(kind.slug.clone()),
            "{} is there twice",
            kind.slug
        );
    }
}

#[test]
fn a_described_problem_has_the_title_of_its_type() {
    let mut kinds: BTreeMap<String, ProblemType> = BTreeMap::new();
    for kind in all(&workspace_root()).unwrap() {
        kinds.insert(format!("/problems/{}", kind.slug), kind);
    }
    let mut described = String::new();
    for service in services() {
        let path = service.folder.join("openapi.yaml");
        described.push_str(&read(&path));
        for example in problems(&yaml(&path)) {
            let kind = example["type"].as_str().unwrap();
            let kind = kinds
                .get(kind)
                .unwrap_or_else(|| panic!("{example} has no type"));
            let urn = format!("urn:waybill:problem:{}", kind.slug);
            assert_eq!(
                [&example["status"], &example["title"], &example["urn"]],
                [&json!(kind.status), &json!(kind.title), &json!(urn)]
            );
        }
    }
    for kind in kinds.values() {
        assert!(
            described.contains(&kind.slug),
            "no openapi.yaml names {}",
            kind.slug
        );
    }
}

/// The problems among the examples of a document.
fn problems(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(members) if members.contains_key("instance") && value["type"].is_string() => {
            vec![value]
        }
        Value::Object(members) => members.values().flat_map(problems).collect(),
        Value::Array(elements) => elements.iter().flat_map(problems).collect(),
        _ => Vec::new(),
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
