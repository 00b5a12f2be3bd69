//! One AsyncAPI document: that of orders, which names every queue, with the parts of other files that it
//! refers to.

use std::path::Path;

use serde_yaml_ng::Value as Yaml;
use test_support::template::workspace_root;

use crate::openapi::{Schemas, insert, list, members, target, text};
use crate::read;

/// The document. It refers to no other file.
pub fn bundled() -> Yaml {
    let path = workspace_root().join("functions/orders/asyncapi.yaml");
    let mut bundle = Bundle {
        components: Yaml::Null,
    };
    let mut whole = bundle.taken(&path, &parsed(&path));
    for (section, components) in members(&bundle.components) {
        for (name, component) in members(components) {
            insert(&mut whole, &["components", section, name], component);
        }
    }
    whole
}

fn parsed(path: &Path) -> Yaml {
    serde_yaml_ng::from_str(&read(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Bundle {
    components: Yaml,
}

impl Bundle {
    /// The value with its references to other files turned into references to components.
    fn taken(&mut self, file: &Path, value: &Yaml) -> Yaml {
        if let Some(reference) = value["$ref"].as_str() {
            return self.referred(file, reference);
        }
        match value {
            Yaml::Mapping(members) => {
                let members = members.iter();
                let members = members.map(|(name, value)| (name.clone(), self.taken(file, value)));
                Yaml::Mapping(members.collect())
            }
            Yaml::Sequence(values) => values.iter().map(|value| self.taken(file, value)).collect(),
            other => other.clone(),
        }
    }

    fn referred(&mut self, file: &Path, reference: &str) -> Yaml {
        let (other, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = match other {
            "" => file.to_owned(),
            other => file.parent().unwrap().join(other),
        };
        let document = parsed(&file);
        match pointer.split('/').collect::<Vec<_>>()[..] {
            [""] => {
                let name = file.file_name().unwrap().to_str().unwrap();
                let name = name.trim_end_matches(".schema.json");
                let mut contract = document;
                // An `$id` would change the base of the references within.
                for extra in ["$schema", "$id", "$defs"] {
                    contract.as_mapping_mut().unwrap().remove(extra);
                }
                self.component(&file, "schemas", name, &contract)
            }
            [_, "components", section, name] => {
                let component = target(&document, &format!("#{pointer}"));
                self.component(&file, section, name, component)
            }
            [_, "$defs", name] => self.component(&file, "schemas", name, &document["$defs"][name]),
            [_, "channels", ..] if other.is_empty() => {
                serde_yaml_ng::from_str(&format!("$ref: \"#{pointer}\"")).unwrap()
            }
            _ => self.taken(&file, target(&document, &format!("#{pointer}"))),
        }
    }

    /// A reference to the component, which has one meaning in all files.
    fn component(&mut self, file: &Path, section: &str, name: &str, component: &Yaml) -> Yaml {
        let mut component = self.taken(file, component);
        if section == "messages" {
            let example = self.example(&component);
            insert(
                &mut component,
                &["examples"],
                &Yaml::Sequence(vec![example]),
            );
        }
        let known = &self.components[section][name];
        assert!(
            known.is_null() || *known == component,
            "{section}/{name} has two meanings"
        );
        insert(&mut self.components, &[section, name], &component);
        serde_yaml_ng::from_str(&format!("$ref: \"#/components/{section}/{name}\"")).unwrap()
    }

    /// The envelope's example with the data of the contract's first example.
    fn example(&self, message: &Yaml) -> Yaml {
        let mut parts = list(&message["payload"]["allOf"]);
        let (envelope, own) = (parts.next().unwrap(), &parts.next().unwrap()["properties"]);
        let first = |schema: &Yaml| {
            let name = text(&schema["$ref"]).rsplit('/').next().unwrap();
            self.components["schemas"][name]["examples"][0].clone()
        };
        let mut payload = first(envelope);
        insert(&mut payload, &["type"], &own["type"]["const"]);
        insert(&mut payload, &["data"], &first(&own["data"]));
        Yaml::Mapping([("payload".into(), payload)].into_iter().collect())
    }
}

#[test]
fn every_message_has_an_example_that_is_valid() {
    let document = serde_json::to_value(bundled()).unwrap();
    let mut schemas = Schemas::of(&document);
    let messages = document["components"]["messages"].as_object().unwrap();
    assert!(messages.len() >= 13, "{}", messages.len());
    for (name, message) in messages {
        let violations =
            schemas.violations(&message["payload"], &message["examples"][0]["payload"]);
        assert!(violations.is_empty(), "{name}: {violations:?}");
    }
}
