//! The quick checks, for one service or for the packages with uncommitted changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::process;
use crate::project::Project;
use crate::test;
use crate::ui::say;

/// Checks the format, the lints, the rules between templates, contracts and code, and the tests of
/// the changed packages.
pub fn run(project: &Project, service: Option<&str>) -> Result<()> {
    let packages = match service {
        Some(service) => BTreeSet::from([known(project, service)?]),
        None => changed_packages(project)?,
    };
    let cargo = |arguments: &[&str]| process::run(project.cargo().args(arguments));
    cargo(&["fmt", "--all", "--check"])?;
    test::lint(project, process::run)?;
    cargo(&[
        "test",
        "--quiet",
        "--package",
        "system-tests",
        "--test",
        "rules",
    ])?;
    let named = packages.iter().flat_map(|name| ["--package", name]);
    if !packages.is_empty() {
        process::run(project.cargo().args(["test", "--quiet"]).args(named))?;
    }
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    say(match names.join(", ").as_str() {
        "" => "no package has uncommitted changes; format, lints and rules hold".to_owned(),
        names => format!("{names}: checked; cargo xtask test checks everything"),
    });
    Ok(())
}

fn known(project: &Project, service: &str) -> Result<String> {
    let names: Vec<String> = project
        .services()?
        .into_iter()
        .map(|service| service.name)
        .collect();
    match names.iter().any(|name| name == service) {
        true => Ok(service.to_owned()),
        false => Err(Error::new(format!(
            "there is no service {service}; the services are {}",
            names.join(", ")
        ))),
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

fn changed_packages(project: &Project) -> Result<BTreeSet<String>> {
    let metadata = "metadata --no-deps --offline --format-version 1".split(' ');
    let metadata = process::capture(project.cargo().args(metadata))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let folder = |package: &Package| {
        let folder = package
            .manifest_path
            .parent()?
            .strip_prefix(project.root())
            .ok()?;
        Some((folder.to_owned(), package.name.clone()))
    };
    let packages: BTreeMap<PathBuf, String> = metadata.packages.iter().filter_map(folder).collect();
    let status = "status --porcelain --untracked-files=all --no-renames -z".split(' ');
    let status = process::capture(Command::new("git").current_dir(project.root()).args(status))?;
    Ok(owners(&packages, status.split('\0')))
}

/// The packages of the files that `git status --porcelain -z` lists.
fn owners<'a>(
    packages: &BTreeMap<PathBuf, String>,
    status: impl Iterator<Item = &'a str>,
) -> BTreeSet<String> {
    let files = status.filter_map(|line| line.get(3..));
    let owner = |file: &str| {
        Path::new(file)
            .ancestors()
            .find_map(|folder| packages.get(folder))
    };
    files.filter_map(owner).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_belongs_to_the_nearest_package() {
        let package = |folder: &str, name: &str| (PathBuf::from(folder), name.to_owned());
        let packages = BTreeMap::from([
            package("functions/orders", "orders"),
            package("tests", "system-tests"),
            package("tests/model", "saga-model"),
        ]);
        let status = " M functions/orders/src/store.rs\0?? tests/model/src/new.rs\0 M README.md\0";
        let changed = owners(&packages, status.split('\0'));
        assert_eq!(
            changed,
            BTreeSet::from(["orders".to_owned(), "saga-model".to_owned()])
        );
    }
}
