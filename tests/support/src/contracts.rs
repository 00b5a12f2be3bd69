//! The message contracts of a service: JSON Schemas, and checks against them.

use crate::template::{Template, workspace_root};
use serde_json::Value;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".schema.json";

/// The message types a service has a contract for, sorted.
pub fn types(service: &str) -> Vec<String> {
    let folder = folder(service);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("functions/{service}/contracts cannot be read: {error}"));
    let mut types: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("a folder that opened can be listed")
                .file_name()
        })
        .filter_map(|name| Some(name.to_str()?.strip_suffix(SUFFIX)?.to_owned()))
        .collect();
    types.sort();
    types
}

/// `functions/<service>/contracts/<message_type>.schema.json`.
pub fn schema(service: &str, message_type: &str) -> Value {
    read(&folder(service), message_type)
}

/// Panics with all violations if a message's `data` breaks its contract.
pub fn assert_valid(service: &str, message_type: &str, data: &Value) {
    let violations = violations(&folder(service), message_type, data);
    assert!(
        violations.is_empty(),
        "{service}'s contract for {message_type} does not hold:\n  {}\nin {data:#}",
        violations.join("\n  ")
    );
}

/// Panics with all violations if a message breaks the envelope in a service's `asyncapi.yaml`.
pub fn assert_enveloped(service: &str, message: &Value) {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&envelope(service))
        .unwrap_or_else(|error| panic!("{service}'s envelope is not a schema: {error}"));
    let violations: Vec<String> = validator
        .iter_errors(message)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        violations.is_empty(),
        "{service}'s envelope does not hold:\n  {}\nin {message:#}",
        violations.join("\n  ")
    );
}

/// The envelope's schema in `functions/<service>/asyncapi.yaml`.
pub fn envelope(service: &str) -> Value {
    let name = format!("functions/{service}/asyncapi.yaml");
    let text = std::fs::read_to_string(workspace_root().join(&name))
        .unwrap_or_else(|error| panic!("{name} cannot be read: {error}"));
    let document = Template::parse(&name, &text);
    document.document()["components"]["schemas"]["Envelope"].clone()
}

/// Whether a message's `data` keeps its contract.
pub fn is_valid(service: &str, message_type: &str, data: &Value) -> bool {
    violations(&folder(service), message_type, data).is_empty()
}

/// The violations of a schema in a folder, each with its place. Formats (`uuid`, `date-time`) are
/// checked too.
pub fn violations(folder: &Path, message_type: &str, data: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .with_retriever(Neighbours(folder.to_owned()))
        .build(&read(folder, message_type))
        .unwrap_or_else(|error| panic!("the schema of {message_type} is not one: {error}"));
    validator
        .iter_errors(data)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// `functions/<service>/contracts`.
pub fn folder(service: &str) -> PathBuf {
    workspace_root()
        .join("functions")
        .join(service)
        .join("contracts")
}

fn read(folder: &Path, message_type: &str) -> Value {
    let path = folder.join(format!("{message_type}{SUFFIX}"));
    let name = path.display();
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{name} cannot be read: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name} is not JSON: {error}"))
}

/// Resolves a `$ref` to a file in the same folder, without a download.
struct Neighbours(PathBuf);

impl jsonschema::Retrieve for Neighbours {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let file = uri.path().as_str().rsplit('/').next().unwrap_or_default();
        let text = std::fs::read_to_string(self.0.join(file))?;
        Ok(serde_json::from_str(&text)?)
    }
}
