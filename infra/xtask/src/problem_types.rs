//! The problem types of the API, as each `problems.rs` declares them.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Context, Result};

/// One type. `shared_lambda::problems::ProblemType` explains the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemType {
    pub slug: String,
    pub status: u16,
    pub title: String,
    pub when: String,
    pub remedy: String,
}

/// All types, by status: the shared ones before those of the services.
pub fn all(root: &Path) -> Result<Vec<ProblemType>> {
    let mut folders = vec![root.join("shared-lambda")];
    let services = fs::read_dir(root.join("functions")).context("functions")?;
    folders.extend(services.filter_map(|entry| Some(entry.ok()?.path())));
    folders[1..].sort();
    let mut found = Vec::new();
    for folder in folders {
        let path = folder.join("src/problems.rs");
        // A service without types of its own has no such file.
        let text = fs::read_to_string(&path).unwrap_or_default();
        for declared in text.split(": ProblemType = ProblemType {").skip(1) {
            found.push(read(declared).context(path.display())?);
        }
    }
    found.sort_by_key(|kind| kind.status);
    Ok(found)
}

fn read(declared: &str) -> Result<ProblemType> {
    Ok(ProblemType {
        slug: field(declared, "slug")?,
        status: field(declared, "status")?,
        title: field(declared, "title")?,
        when: field(declared, "when")?,
        remedy: field(declared, "remedy")?,
    })
}

/// A literal of the declared type: a number, or a string in JSON's form.
fn field<T: DeserializeOwned>(declared: &str, name: &str) -> Result<T> {
    let (_, rest) = declared
        .split_once(&format!("\n    {name}:"))
        .context(format!("a problem type has no {name}"))?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter();
    let value = values.next().and_then(|value| value.ok());
    value.context(format!("the {name} of a problem type is not one literal"))
}
