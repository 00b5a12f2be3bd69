//! Builds the functions with one `cargo build` and copies them to where the templates expect them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::project::{Project, Service};

pub struct Built {
    pub functions: usize,
    /// How many of them differ from the copies.
    pub changed: usize,
}

/// A line of cargo's `--message-format=json`.
#[derive(Deserialize)]
struct Artifact {
    executable: PathBuf,
    manifest_path: PathBuf,
    profile: Profile,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// A program that cargo built.
pub struct Binary {
    pub path: PathBuf,
    manifest: PathBuf,
    is_test: bool,
}

/// Builds every function and copies those that changed.
pub fn build(project: &Project, services: &[Service]) -> Result<Built> {
    let packages = services
        .iter()
        .flat_map(|service| ["--package", &service.name]);
    let built = compile(project.cargo().args(["build", "--bins"]).args(packages))?;
    lay_out(project, services, &built)
}

/// Runs a build and returns the programs.
pub fn compile(cargo: &mut Command) -> Result<Vec<Binary>> {
    let output = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    match output.status.success() {
        true => Ok(binaries(&String::from_utf8_lossy(&output.stdout))),
        false => Err(Error::new("the build failed")),
    }
}

fn binaries(messages: &str) -> Vec<Binary> {
    let artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let binary = |artifact: Artifact| Binary {
        path: artifact.executable,
        manifest: artifact.manifest_path,
        is_test: artifact.profile.test,
    };
    artifacts.map(binary).collect()
}

/// Copies the functions to where the templates expect them.
pub fn lay_out(project: &Project, services: &[Service], built: &[Binary]) -> Result<Built> {
    // The developer's stack and the tests share the folder, so one process copies at a time.
    fs::create_dir_all(project.bootstraps()).context("target/lambda")?;
    let turn = File::create(project.bootstraps().join(".lock")).context("target/lambda/.lock")?;
    turn.lock().context("target/lambda/.lock")?;
    let is_function = |binary: &&Binary| {
        let folder = binary.manifest.parent();
        let mut folders = services.iter().map(|service| service.template.parent());
        !binary.is_test && folders.any(|service| service == folder)
    };
    let mut laid_out = Built {
        functions: 0,
        changed: 0,
    };
    for binary in built.iter().filter(is_function) {
        laid_out.functions += 1;
        laid_out.changed += usize::from(place(project, &binary.path)?);
    }
    Ok(laid_out)
}

/// Copies a binary unless the same one is there. A release build for AWS differs in size or time.
fn place(project: &Project, binary: &Path) -> Result<bool> {
    let name = binary.file_name().context("a binary without a name")?;
    let folder = project.bootstraps().join(name);
    let bootstrap = folder.join("bootstrap");
    let source = fs::metadata(binary).context(binary.display())?;
    let built = source.modified().context(binary.display())?;
    if let Ok(present) = fs::metadata(&bootstrap)
        && present.len() == source.len()
        && present.modified().is_ok_and(|modified| modified == built)
    {
        return Ok(false);
    }
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(&folder)?;
        // Not inside the folder, which a running deployment may pack.
        let unfinished = folder.with_extension("new");
        fs::copy(binary, &unfinished)?;
        File::options()
            .write(true)
            .open(&unfinished)?
            .set_modified(built)?;
        fs::rename(&unfinished, &bootstrap)
    };
    copy().context(bootstrap.display())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executables_count() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/f/orders/Cargo.toml","#,
            r#""profile":{"test":false},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/f/orders/Cargo.toml","#,
            r#""profile":{"test":false},"executable":"/t/debug/orders-place","fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        let paths: Vec<_> = binaries(messages)
            .into_iter()
            .map(|binary| binary.path)
            .collect();
        assert_eq!(paths, [PathBuf::from("/t/debug/orders-place")]);
    }
}
