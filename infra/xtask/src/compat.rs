//! `cargo xtask compat`: the last release and this code run side by side.
//!
//! The readers of the last release run as its own tests, in a copy of its commit, on the recorded lines of
//! this code. Then the simulation runs in a copy of this code with the last release's services, each on the
//! `shared-lambda` and `shared-auth` of its release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::process;
use crate::project::Project;
use crate::seed_bugs::copy_tree;
use crate::ui::say;

/// Every release, the last one at the end: its version, its commit, and the digest of its recorded lines.
const RELEASES: &str = "contracts/released/RELEASES";

/// A part of the names of the tests that read recorded lines, in each `tests/released.rs`.
const READERS: &str = "of_each_release";

/// Whether this clone has the commit of the last release. A shallow one may lack it.
pub fn is_possible(project: &Project) -> Result<bool> {
    let (_, commit) = last_release(project)?;
    let mut git = Command::new("git");
    git.current_dir(project.root()).args(["cat-file", "-e"]);
    Ok(process::capture(git.arg(format!("{commit}^{{commit}}"))).is_ok())
}

/// Runs each program with `execute`.
pub fn run(project: &Project, execute: impl Fn(&mut Command) -> Result<()>) -> Result<()> {
    let (version, commit) = last_release(project)?;
    let copy = project.root().join("target/released").join(&commit);
    extract(project, &commit, &copy).context(format!("the code of release {version}"))?;
    let copy = Project::at(copy);
    rename(&copy, &format!("c{commit}"))?;
    take_profiles(project, &copy)?;
    let services = copy.services()?;
    for service in &services {
        let name = &service.name;
        drop_programs(&copy.root().join("functions").join(name))?;
        let written = format!("functions/{name}/tests/golden/written.jsonl");
        let (ours, theirs) = (project.root().join(&written), copy.root().join(&written));
        let recorded = format!("contracts/released/{version}/{name}.jsonl");
        let recorded = project.root().join(recorded);
        if fs::read(&theirs).context(theirs.display())? != fs::read(&recorded).unwrap_or_default() {
            return Err(Error::new(format!(
                "{} differs from {written} of commit {commit}; copy that file there",
                recorded.display()
            )));
        }
        let lines = fs::read_to_string(&ours).context(ours.display())?;
        let known = fs::read_to_string(&theirs).context(theirs.display())?;
        fs::write(&theirs, under_known_keys(&lines, &known)).context(theirs.display())?;
    }
    say(format_args!(
        "== release {version} reads what this code writes"
    ));
    let names = services.iter().map(|service| service.name.as_str());
    let of_each = names.clone().flat_map(|name| ["--test", name]);
    execute(&mut tests(project, &copy, of_each, &[READERS])).context(format!(
        "release {version} cannot read what this code writes; first release code that reads it, then \
         code that writes it"
    ))?;
    say(format_args!(
        "== release {version} and this code simulate the same orders"
    ));
    let both = with_released(project, &copy, names)?;
    let feature = ["--features", "simulation/released", "--test", "simulation"];
    execute(&mut tests(
        project,
        &both,
        feature,
        &["worlds::", "every_case"],
    ))
}

/// The messages, and the rows under kinds of keys that the last release knows. It asks for no other key.
fn under_known_keys(lines: &str, known: &str) -> String {
    let key = |line: &str| -> Option<String> {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line["row"]["pk"].as_str()?.split('#').next()?.to_owned())
    };
    let known: Vec<_> = known.lines().map(key).collect();
    let is_known = |line: &&str| key(line).is_none() || known.contains(&key(line));
    lines
        .lines()
        .filter(is_known)
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Dependencies are compiled once for all copies.
fn tests<'a>(
    project: &Project,
    copy: &Project,
    which: impl IntoIterator<Item = &'a str>,
    filters: &[&str],
) -> Command {
    let mut cargo = copy.cargo();
    let programs = copy.root().with_extension("target");
    cargo.args(["test", "--quiet", "--workspace"]).args(which);
    cargo.env("CARGO_BUILD_BUILD_DIR", project.root().join("target"));
    cargo.env("CARGO_TARGET_DIR", programs);
    cargo.arg("--").args(filters);
    cargo
}

/// A copy of this code in which the simulation has the services of both releases. Those of the last
/// release stay members of their own workspace, so they take its `shared-lambda` and its dependencies.
fn with_released<'a>(
    project: &Project,
    released: &Project,
    services: impl Iterator<Item = &'a str>,
) -> Result<Project> {
    let both = Project::at(project.root().join("target/released/both"));
    copy_tree(project, both.root())?;
    let services = services.map(|name| (name, format!("functions/{name}")));
    let shared = ["shared-auth", "shared-lambda"].map(|name| (name, name.to_owned()));
    let mut dependencies = "[dependencies]\n".to_owned();
    // Cargo would optimize crates of another workspace, as it does dependencies.
    let mut profiles = "[profile.dev.package]\n".to_owned();
    for (name, folder) in services.chain(shared) {
        let path = released.root().join(folder);
        dependencies += &format!("{name}-released = {{ package = {name:?}, path = {path:?} }}\n");
        let package = format!("path+file://{}", path.display());
        profiles += &format!("{package:?} = {{ opt-level = 0, debug-assertions = true }}\n");
    }
    replace(
        &both.root().join("Cargo.toml"),
        "[profile.dev.package]\n",
        &profiles,
    )?;
    rename(&both, "both")?;
    let simulation = both.root().join("tests/simulation/Cargo.toml");
    replace(&simulation, "[dependencies]\n", &dependencies)?;
    Ok(both)
}

/// Removes a service's programs, for its tests do not use them.
fn drop_programs(service: &Path) -> Result<()> {
    let manifest = service.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).context(manifest.display())?;
    let sections = text.split("\n[");
    let kept: Vec<_> = sections.filter(|one| !one.starts_with("[bin]]")).collect();
    fs::write(&manifest, kept.join("\n[")).context(manifest.display())?;
    let programs = service.join("src/bin");
    fs::remove_dir_all(&programs).context(programs.display())
}

/// Gives all crates of a copy a version of its own. Otherwise cargo takes them for those of another copy.
fn rename(copy: &Project, name: &str) -> Result<()> {
    let version = format!("\nversion = \"0.0.0-{name}+was.");
    replace(&copy.root().join("Cargo.toml"), "\nversion = \"", &version)
}

/// Gives a copy the profiles of this code, so that both share the compiled dependencies.
fn take_profiles(project: &Project, copy: &Project) -> Result<()> {
    let manifest = |project: &Project| -> Result<(PathBuf, String)> {
        let path = project.root().join("Cargo.toml");
        let text = fs::read_to_string(&path).context(path.display())?;
        Ok((path, text))
    };
    let ((_, ours), (path, theirs)) = (manifest(project)?, manifest(copy)?);
    let at = |text: &str| {
        text.find("\n[profile.")
            .context("Cargo.toml has no profile")
    };
    let text = theirs[..at(&theirs)?].to_owned() + &ours[at(&ours)?..];
    fs::write(&path, text).context(path.display())
}

fn replace(file: &Path, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(file).context(file.display())?;
    fs::write(file, text.replacen(from, to, 1)).context(file.display())
}

fn last_release(project: &Project) -> Result<(String, String)> {
    let text = fs::read_to_string(project.root().join(RELEASES)).context(RELEASES)?;
    let mut words = text.lines().last().unwrap_or_default().split_whitespace();
    match (words.next(), words.next()) {
        (Some(version), Some(commit)) => Ok((version.to_owned(), commit.to_owned())),
        _ => Err(Error::new(format!(
            "{RELEASES}: its last line has no version and commit"
        ))),
    }
}

/// Git gives each file the time of its commit, so cargo builds the copy only once.
fn extract(project: &Project, commit: &str, to: &Path) -> Result<()> {
    fs::create_dir_all(to).context(to.display())?;
    let archive = to.with_extension("tar");
    process::capture(
        Command::new("git")
            .current_dir(project.root())
            .args(["archive", "--format=tar", "--output"])
            .args([archive.as_os_str(), commit.as_ref()]),
    )
    .context("if this clone is shallow, run git fetch --unshallow")?;
    process::run(
        Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .arg("-C")
            .arg(to),
    )?;
    fs::remove_file(&archive).context(archive.display())
}
