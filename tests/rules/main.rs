//! The architecture's rules, each held by a test: what may depend on what, and that templates,
//! binaries, variables, permissions, routes and contracts agree.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod alarms;
mod aws;
mod contracts;
mod dependencies;
mod documents;
mod documents_api;
mod licences;
mod lines;
mod messages;
mod openapi;
mod pages;
mod permissions;
mod pipelines;
mod reference;
mod released;
mod stages;
mod templates;
mod words;

use std::path::{Path, PathBuf};

use test_support::template::{Template, workspace_root};

/// A service's template with what the rules ask of it.
pub struct Service {
    pub name: String,
    pub template: Template,
    pub folder: PathBuf,
}

pub fn services() -> Vec<Service> {
    test_support::services()
        .into_iter()
        .map(|name| Service {
            template: Template::of_service(&name),
            folder: workspace_root().join("functions").join(&name),
            name,
        })
        .collect()
}

impl Service {
    /// The resources of a type, by logical id, with references resolved.
    pub fn resources(&self, kind: &str) -> Vec<(String, serde_json::Value)> {
        self.template.document()["Resources"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(id, _)| (id.clone(), self.template.properties(id, kind)))
            .collect()
    }

    /// Whether it stores rows.
    pub fn has_table(&self) -> bool {
        !self.resources("AWS::DynamoDB::Table").is_empty()
    }

    /// Whether it has a queue.
    pub fn has_queue(&self) -> bool {
        !self.resources("AWS::SQS::Queue").is_empty()
    }

    /// A resource's properties as they are written.
    pub fn written(&self, id: &str) -> &serde_json::Value {
        &self.template.document()["Resources"][id]["Properties"]
    }

    /// The consumers of its queues: the function's id, the queue's, and the mapping as written.
    pub fn triggers(&self) -> Vec<(String, String, &serde_json::Value)> {
        let triggers = self.resources("AWS::Lambda::EventSourceMapping");
        let ids = |(id, trigger): (String, serde_json::Value)| {
            let function = served(&trigger["FunctionName"]).to_owned();
            let queue = owner(&trigger["EventSourceArn"]).to_owned();
            (function, queue, self.written(&id))
        };
        triggers.into_iter().map(ids).collect()
    }

    /// The functions' names without the prefix: the binaries'.
    pub fn functions(&self) -> Vec<(String, String, serde_json::Value)> {
        self.resources("AWS::Serverless::Function")
            .into_iter()
            .map(|(id, properties)| {
                let name = properties["FunctionName"].as_str().unwrap();
                let binary = name.strip_prefix("waybill-").unwrap().to_owned();
                (id, binary, properties)
            })
            .collect()
    }

    pub fn binaries(&self) -> Vec<String> {
        let mut names: Vec<String> = files(&self.folder.join("src/bin"))
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// A binary and the module that wires its handler, which is named after it.
    pub fn binary_source(&self, binary: &str) -> String {
        let handler = binary.split_once('-').unwrap().1.replace('-', "_");
        let sources = [
            format!("src/bin/{binary}.rs"),
            format!("src/handlers/{handler}.rs"),
        ];
        sources
            .map(|source| read(&self.folder.join(source)))
            .concat()
    }
}

pub fn template(location: &str) -> Template {
    Template::parse(location, &read(&workspace_root().join(location)))
}

/// The logical id in `Id.Arn`.
pub fn owner(arn: &serde_json::Value) -> &str {
    let arn = arn.as_str().expect("an ARN");
    arn.strip_suffix(".Arn").expect("an ARN of this template")
}

/// The logical id in `Id.Alias`.
pub fn served(alias: &serde_json::Value) -> &str {
    let id = alias
        .as_str()
        .and_then(|alias| alias.strip_suffix(".Alias"));
    id.unwrap_or_else(|| panic!("{alias} is not a function's alias; write !Ref Id.Alias"))
}

/// A value on a condition, else nothing.
pub fn only_if(condition: &str, value: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]})
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn yaml(path: &Path) -> serde_json::Value {
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
