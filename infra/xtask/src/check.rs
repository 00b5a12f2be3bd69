//! The quick checks, for one service or for the packages with uncommitted changes.

use std::collections::BTreeSet;
use std::process::Command;

use crate::changed::Workspace;
use crate::error::{Error, Result};
use crate::process;
use crate::project::Project;
use crate::test;
use crate::ui::say;

/// Checks the format, the lints, the rules between templates, contracts and code, and the tests of
/// the changed packages, except the long one of the scaffolds.
pub fn run(project: &Project, service: Option<&str>) -> Result<()> {
    let workspace = Workspace::read(project)?;
    let packages = match service {
        Some(service) => BTreeSet::from([known(project, service)?]),
        None => changed_packages(project, &workspace)?,
    };
    process::run(project.cargo().args(["fmt", "--all", "--check"]))?;
    test::lint(project, process::run)?;
    // With `--workspace`, the tests use the dependencies that `cargo xtask test` has compiled.
    let mut tests = project.cargo();
    tests.args(["test", "--quiet", "--workspace", "--test=rules"]);
    tests.args(workspace.tests(&packages));
    process::run(tests.args(["--", "--skip", test::SCAFFOLD_TEST]))?;
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    say(match names.join(", ").as_str() {
        "" => "no package has uncommitted changes; format, lints and rules hold".to_owned(),
        names => format!("{names}: checked; cargo xtask test checks everything"),
    });
    Ok(())
}

pub fn known(project: &Project, service: &str) -> Result<String> {
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

fn changed_packages(project: &Project, workspace: &Workspace) -> Result<BTreeSet<String>> {
    let status = "status --porcelain --untracked-files=all --no-renames -z".split(' ');
    let status = process::capture(Command::new("git").current_dir(project.root()).args(status))?;
    Ok(owners(workspace, &status))
}

/// The packages of the files that `git status --porcelain -z` lists.
fn owners(workspace: &Workspace, status: &str) -> BTreeSet<String> {
    let files = status.split('\0').filter_map(|line| line.get(3..));
    files
        .filter_map(|file| workspace.owner(file))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_belongs_to_the_nearest_package() {
        let project = Project::find().expect("tests run inside the project");
        let workspace = Workspace::read(&project).expect("the workspace is readable");
        let status = " M functions/orders/src/store.rs\0?? tests/model/src/new.rs\0 M README.md\0";
        let changed = owners(&workspace, status);
        assert_eq!(
            changed,
            BTreeSet::from(["orders".to_owned(), "saga-model".to_owned()])
        );
    }
}
