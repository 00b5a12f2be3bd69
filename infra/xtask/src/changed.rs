//! The packages and services that changed files concern, from Cargo's manifests and the contracts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::{Context, Result};
use crate::process;
use crate::project::{GATEWAY, Project};

/// The packages of the workspace, and which services each one concerns.
pub struct Workspace {
    /// The names by the folders, from the project's root.
    folders: BTreeMap<PathBuf, String>,
    /// The packages that a service is built and tested from, itself included.
    services: BTreeMap<String, BTreeSet<String>>,
    /// The services that use another one's contracts, by the owner's name.
    consumers: BTreeMap<String, BTreeSet<String>>,
    /// Cargo's options for the tests of each package.
    tests: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    /// Whether `cargo test` runs it.
    test: bool,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Dependencies from a registry have none.
    path: Option<PathBuf>,
}

impl Workspace {
    pub fn read(project: &Project) -> Result<Self> {
        let metadata = "metadata --no-deps --offline --format-version 1".split(' ');
        let metadata = process::capture(project.cargo().args(metadata))?;
        let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
        let folder = |package: &Package| {
            let folder = package.manifest_path.parent()?;
            let folder = folder.strip_prefix(project.root()).ok()?;
            Some((folder.to_owned(), package.name.clone()))
        };
        let names: Vec<String> = project.services()?.into_iter().map(|s| s.name).collect();
        let mut consumers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for consumer in &names {
            let messages = project
                .root()
                .join(format!("functions/{consumer}/asyncapi.yaml"));
            let messages = std::fs::read_to_string(messages).unwrap_or_default();
            for owner in &names {
                if messages.contains(&format!("../{owner}/")) {
                    consumers
                        .entry(owner.clone())
                        .or_default()
                        .insert(consumer.clone());
                }
            }
        }
        let tests = |package: &Package| {
            let tests = package.targets.iter().filter(|target| target.test);
            let options = tests.filter_map(|target| match target.kind.first()?.as_str() {
                "test" => Some(format!("--test={}", target.name)),
                "lib" => Some("--lib".to_owned()),
                _ => None,
            });
            (package.name.clone(), options.collect())
        };
        Ok(Self {
            tests: metadata.packages.iter().map(tests).collect(),
            folders: metadata.packages.iter().filter_map(folder).collect(),
            services: names
                .into_iter()
                .map(|name| (name.clone(), closure(&metadata.packages, name)))
                .collect(),
            consumers,
        })
    }

    /// The package that a file belongs to.
    pub fn owner(&self, file: &str) -> Option<&String> {
        let mut folders = Path::new(file).ancestors();
        folders.find_map(|folder| self.folders.get(folder))
    }

    /// Cargo's options for the tests of these packages. `--lib` runs those of every library.
    pub fn tests(&self, packages: &BTreeSet<String>) -> BTreeSet<&String> {
        let tests = packages.iter().filter_map(|name| self.tests.get(name));
        tests.flatten().collect()
    }

    /// Every service, and the gateway.
    pub fn all(&self) -> BTreeSet<String> {
        let services = self.services.keys().cloned();
        services.chain([GATEWAY.to_owned()]).collect()
    }

    pub fn consumers(&self, service: &str) -> BTreeSet<String> {
        self.consumers.get(service).cloned().unwrap_or_default()
    }

    /// The services that a changed file concerns. A document concerns none. A file of a package concerns
    /// the services that are built or tested from it, and a contract its users too. Any other file (the
    /// lock file, the gateway, a workflow) concerns all.
    pub fn concerned(&self, file: &str) -> BTreeSet<String> {
        if file.ends_with(".md") || file.starts_with("docs/") || file == "LICENSE" {
            return BTreeSet::new();
        }
        let Some(owner) = self.owner(file) else {
            return self.all();
        };
        let is_built_from = |(_, packages): &(&String, &BTreeSet<String>)| packages.contains(owner);
        let services = self.services.iter().filter(is_built_from);
        let mut concerned: BTreeSet<String> = services.map(|(name, _)| name.clone()).collect();
        let part = file.strip_prefix(&format!("functions/{owner}/"));
        if part.is_some_and(|part| {
            part.starts_with("contracts/") || ["openapi.yaml", "asyncapi.yaml"].contains(&part)
        }) {
            concerned.extend(self.consumers(owner));
        }
        concerned
    }
}

/// A package and all that it depends on by path, also for its tests.
fn closure(packages: &[Package], name: String) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        let package = packages.iter().find(|package| package.name == name);
        if found.insert(name) {
            let dependencies = package
                .into_iter()
                .flat_map(|package| &package.dependencies);
            let local = dependencies.filter(|dependency| dependency.path.is_some());
            open.extend(local.map(|dependency| dependency.name.clone()));
        }
    }
    found
}

/// The services that the changes since `base` concern. Without a commit to compare with, that is all.
pub fn since(project: &Project, base: &str) -> Result<BTreeSet<String>> {
    let workspace = Workspace::read(project)?;
    // A workflow has no base when it is started by hand; a new branch has zeros.
    if base.bytes().all(|digit| digit == b'0') {
        return Ok(workspace.all());
    }
    let mut git = Command::new("git");
    git.current_dir(project.root())
        .args(["diff", "--name-only", "--no-renames", "-z"])
        .arg(format!("{base}...HEAD"));
    let files = process::capture(&mut git).context(format!("comparing with {base}"))?;
    let files = files.split('\0').filter(|file| !file.is_empty());
    Ok(files.flat_map(|file| workspace.concerned(file)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        let project = Project::find().expect("tests run inside the project");
        Workspace::read(&project).expect("the workspace is readable")
    }

    #[test]
    fn a_change_concerns_the_services_built_from_it() {
        let workspace = workspace();
        let all = "gateway inventory orders payments site users";
        let every_service = "inventory orders payments site users";
        for (files, services) in [
            ("functions/payments/src/store.rs", "payments"),
            ("functions/payments/template.yaml", "payments"),
            ("functions/orders/tests/sweep.rs", "orders"),
            ("functions/orders/contracts/new.schema.json", "orders"),
            // Orders uses the contracts of the others.
            (
                "functions/payments/contracts/ChargePayment.schema.json",
                "orders payments",
            ),
            ("functions/inventory/asyncapi.yaml", "inventory orders"),
            ("functions/users/openapi.yaml", "orders users"),
            (
                "functions/users/src/lib.rs functions/inventory/src/lib.rs",
                "inventory users",
            ),
            ("shared-lambda/src/sqs.rs", every_service),
            ("shared-auth/Cargo.toml", every_service),
            ("tests/support/src/lib.rs", every_service),
            // Nothing that is deployed is built from these; the whole check covers them.
            ("tests/system/journeys.rs tests/golden/permissions.txt", ""),
            (
                "tests/simulation/src/lib.rs infra/ops/src/audit.rs infra/xtask/src/ci.rs",
                "",
            ),
            (
                "docs/operate.md README.md docs/pictures/services.svg LICENSE",
                "",
            ),
            ("docs/operate.md functions/users/src/store.rs", "users"),
            ("Cargo.lock", all),
            ("Cargo.toml", all),
            ("rust-toolchain.toml", all),
            ("template.yaml", all),
            ("samconfig.toml", all),
            ("infra/gateway/template.yaml", all),
            (".github/workflows/service.yaml", all),
            ("a-file-of-tomorrow", all),
            ("", ""),
        ] {
            let files = files.split_whitespace();
            let concerned: BTreeSet<String> = files
                .clone()
                .flat_map(|file| workspace.concerned(file))
                .collect();
            let expected = services.split_whitespace().map(str::to_owned).collect();
            assert_eq!(concerned, expected, "{files:?}");
        }
    }

    #[test]
    fn without_a_commit_to_compare_with_all_are_concerned() {
        let project = Project::find().expect("tests run inside the project");
        for base in ["", "0000000000000000000000000000000000000000"] {
            assert_eq!(since(&project, base).expect(base), workspace().all());
        }
        assert_eq!(since(&project, "HEAD").expect("nothing"), BTreeSet::new());
        let error = since(&project, "no-such-commit").expect_err("git refuses it");
        assert!(
            error.to_string().contains("comparing with no-such-commit"),
            "{error}"
        );
    }
}
