//! The services' OpenAPI documents fit together: shared components are the same in all, names are unique,
//! references lead somewhere, and every body and answer has an example that follows its schema.

use std::collections::HashMap;

use expect_test::expect_file;
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;
use test_support::template::workspace_root;
use xtask::openapi::completed;

use crate::{read, services};

/// The head of the one document, with the components that services share.
const HEAD: &str = "contracts/openapi.yaml";

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn services_repeat_the_shared_components() {
    for name in ["openapi.yaml", "asyncapi.yaml"] {
        let shared = read(&workspace_root().join("contracts").join(name));
        let paths = services()
            .into_iter()
            .map(|service| service.folder.join(name));
        for path in paths.filter(|path| path.is_file()) {
            let text = completed(&read(&path), &shared);
            expect_file![path].assert_eq(&text);
        }
    }
}

/// The services' documents in the order of the root's stacks, in which a new client uses them.
fn documents() -> Vec<(String, Yaml)> {
    let root = read(&workspace_root().join("template.yaml"));
    let mut services = services();
    services.sort_by_key(|service| root.find(&format!("functions/{}/", service.name)));
    let parsed = services.into_iter().map(|service| {
        let text = read(&service.folder.join("openapi.yaml"));
        (service.name, serde_yaml_ng::from_str(&text).unwrap())
    });
    parsed.collect()
}

/// The one document of the API.
pub fn joined() -> Yaml {
    let head = read(&workspace_root().join(HEAD));
    let head = serde_yaml_ng::from_str(&head).unwrap();
    join(head, &documents()).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

/// Adds the services' documents to the head, or returns everything that keeps them apart.
fn join(mut whole: Yaml, documents: &[(String, Yaml)]) -> Result<Yaml, Vec<String>> {
    let mut faults = Vec::new();
    let mut owners: HashMap<String, &str> = HashMap::new();
    for (service, document) in documents {
        let mut claim = |what: String| {
            if let Some(other) = owners.insert(what.clone(), service) {
                faults.push(format!("{what} is in {other} and in {service}"));
            }
        };
        for tag in list(&document["tags"]) {
            claim(format!("tag {}", text(&tag["name"])));
        }
        for (path, item) in members(&document["paths"]) {
            claim(format!("path {path}"));
            for (_, operation) in operations_of(item) {
                let id = text(&operation["operationId"]);
                claim(format!("operation {id}"));
            }
        }
        for reference in dangling(document) {
            faults.push(format!("{reference} leads nowhere in {service}"));
        }
        let mut used = Vec::new();
        references(document, &mut used);
        for (section, components) in members(&document["components"]) {
            for (name, component) in members(components) {
                let reference = format!("#/components/{section}/{name}");
                // Operations name security schemes without a reference.
                if section != "securitySchemes" && !used.contains(&reference.as_str()) {
                    faults.push(format!("{section}/{name} has no use in {service}"));
                }
                let known = &whole["components"][section][name];
                let what = format!("{section}/{name}");
                let owner = owners.entry(what.clone());
                let owner = *owner.or_insert(if known.is_null() { service } else { HEAD });
                if !known.is_null() && known != component {
                    faults.push(format!(
                        "{what} has one meaning in {owner} and another in {service}"
                    ));
                }
                insert(&mut whole, &["components", section, name], component);
            }
        }
        for (path, item) in members(&document["paths"]) {
            insert(&mut whole, &["paths", path], item);
        }
        let mut tags: Vec<Yaml> = list(&document["tags"]).cloned().collect();
        // The prose of the service stands where its operations begin.
        if let Some(first) = tags.first_mut() {
            let about = [&first["description"], &document["info"]["description"]];
            let about = about.map(|part| text(part).trim()).join("\n\n");
            insert(first, &["description"], &Yaml::String(about));
        }
        let tags = list(&whole["tags"]).cloned().chain(tags).collect();
        insert(&mut whole, &["tags"], &Yaml::Sequence(tags));
    }
    if faults.is_empty() {
        Ok(whole)
    } else {
        Err(faults)
    }
}

/// Sets the value at a path, whose parts need not be there.
pub fn insert(document: &mut Yaml, path: &[&str], value: &Yaml) {
    let place = path.iter().fold(document, |place, name| {
        if place.is_null() {
            *place = Yaml::Mapping(serde_yaml_ng::Mapping::new());
        }
        let place = place.as_mapping_mut().unwrap();
        place.entry(Yaml::from(*name)).or_insert(Yaml::Null)
    });
    *place = value.clone();
}

pub fn text(value: &Yaml) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn list(value: &Yaml) -> impl Iterator<Item = &Yaml> {
    value.as_sequence().into_iter().flatten()
}

pub fn members(value: &Yaml) -> impl Iterator<Item = (&str, &Yaml)> {
    let members = value.as_mapping().into_iter().flatten();
    members.map(|(name, value)| (text(name), value))
}

pub fn operations_of(item: &Yaml) -> impl Iterator<Item = (&str, &Yaml)> {
    members(item).filter(|(method, _)| METHODS.contains(method))
}

/// The target of a `$ref`, or the value itself.
pub fn resolved<'a>(document: &'a Yaml, value: &'a Yaml) -> &'a Yaml {
    match value["$ref"].as_str() {
        None => value,
        Some(reference) => target(document, reference),
    }
}

pub fn target<'a>(document: &'a Yaml, reference: &str) -> &'a Yaml {
    let parts = reference.strip_prefix("#/").unwrap_or("another file");
    parts.split('/').fold(document, |place, part| &place[part])
}

/// All references of a value.
fn references<'a>(value: &'a Yaml, found: &mut Vec<&'a str>) {
    for (name, value) in members(value) {
        match value.as_str() {
            Some(reference) if name == "$ref" => found.push(reference),
            _ => references(value, found),
        }
    }
    list(value).for_each(|value| references(value, found));
}

/// The references that lead nowhere.
fn dangling(document: &Yaml) -> Vec<String> {
    let mut found = Vec::new();
    references(document, &mut found);
    let is_dangling = |reference: &&str| target(document, reference).is_null();
    found
        .into_iter()
        .filter(is_dangling)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_documents_join_and_conflicts_are_named() {
    joined();
    let part = |name: &str, text: &str| {
        (
            name.to_owned(),
            serde_yaml_ng::from_str::<Yaml>(text).unwrap(),
        )
    };
    let first = "{tags: [{name: t}], components: {schemas: {A: {type: string}, B: {$ref: '#/components/schemas/A'}}},
        paths: {/a: {get: {operationId: a}}}}";
    let second = "{tags: [{name: t}], components: {schemas: {A: {type: integer}, C: {$ref: '#/components/schemas/B'}}},
        paths: {/a: {post: {operationId: a}}}}";
    let faults = join(Yaml::Null, &[part("a", first), part("b", second)]).unwrap_err();
    expect_test::expect![[r#"
        schemas/B has no use in a
        tag t is in a and in b
        path /a is in a and in b
        operation a is in a and in b
        #/components/schemas/B leads nowhere in b
        schemas/A has no use in b
        schemas/A has one meaning in a and another in b
        schemas/C has no use in b"#]]
    .assert_eq(&faults.join("\n"));
}

/// Validators of schemas within one document.
pub struct Schemas {
    components: Value,
    validators: HashMap<String, jsonschema::Validator>,
}

impl Schemas {
    pub fn of(document: &Value) -> Self {
        let components = document["components"].clone();
        Self {
            components,
            validators: HashMap::new(),
        }
    }

    /// The example's violations of a schema.
    pub fn violations(&mut self, schema: &Value, example: &Value) -> Vec<String> {
        let validator = self
            .validators
            .entry(schema.to_string())
            .or_insert_with(|| {
                let mut root = schema.clone();
                root["components"] = self.components.clone();
                let options = jsonschema::draft202012::options().should_validate_formats(true);
                options
                    .build(&root)
                    .unwrap_or_else(|error| panic!("{schema}: {error}"))
            });
        let errors = validator.iter_errors(example);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    /// Follows the examples of bodies, answers, parameters, headers and schemas below `value`.
    fn check(&mut self, document: &Value, place: &str, value: &Value, faults: &mut Vec<String>) {
        let (schema, examples) = match value.get("schema") {
            Some(schema) => {
                let named = value["examples"].as_object().into_iter().flatten();
                let named = named.map(|(_, example)| match example["$ref"].as_str() {
                    Some(reference) => &document.pointer(&reference[1..]).unwrap()["value"],
                    None => &example["value"],
                });
                (
                    schema,
                    named.chain(value.get("example")).collect::<Vec<_>>(),
                )
            }
            None => (
                value,
                value["examples"].as_array().into_iter().flatten().collect(),
            ),
        };
        if value.get("schema").is_some() && examples.is_empty() {
            faults.push(format!("{place} has no example"));
        }
        for example in examples {
            let violations = self.violations(schema, example);
            faults.extend(
                violations
                    .iter()
                    .map(|fault| format!("{place}: {fault} in {example}")),
            );
        }
        let below = value.as_object().into_iter().flatten();
        for (name, value) in
            below.filter(|(name, _)| !["example", "examples"].contains(&name.as_str()))
        {
            self.check(document, &format!("{place}/{name}"), value, faults);
        }
        for (at, value) in value.as_array().into_iter().flatten().enumerate() {
            self.check(document, &format!("{place}/{at}"), value, faults);
        }
    }
}

#[test]
fn every_body_and_answer_has_an_example_that_is_valid() {
    let document = serde_json::to_value(joined()).unwrap();
    let mut schemas = Schemas::of(&document);
    let mut faults = Vec::new();
    for part in ["paths", "components"] {
        schemas.check(&document, part, &document[part], &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An answer with its status, and its example if it is a problem.
#[test]
fn problems_have_the_status_of_their_answer() {
    let document = joined();
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in operations_of(item) {
            for (status, answer) in members(&operation["responses"]) {
                let place = format!("{method} {path} {status}");
                for (kind, media) in members(&resolved(&document, answer)["content"]) {
                    let is_problem = kind == "application/problem+json";
                    assert_eq!(is_problem, status.starts_with(['4', '5']), "{place}");
                    for example in examples(&document, media).filter(|_| is_problem) {
                        assert_eq!(example["status"].as_u64(), status.parse().ok(), "{place}");
                    }
                }
            }
        }
    }
}

/// The examples of a body, an answer, a parameter or a header.
pub fn examples<'a>(document: &'a Yaml, holder: &'a Yaml) -> impl Iterator<Item = &'a Yaml> {
    let named = members(&holder["examples"]);
    let named = named.map(|(_, example)| &resolved(document, example)["value"]);
    named.chain(holder.get("example"))
}
