//! `cargo xtask seed-bugs`: seeds one bug at a time and checks that the simulation finds it.
//!
//! Each bug is a file, `tests/simulation/seeded-bugs/NAME.yaml`: a source file, a piece of its text and
//! the replacement. The bug is seeded in a copy below `target/`, never in the working tree.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::process;
use crate::project::Project;
use crate::sim;
use crate::ui::say;

const FOLDER: &str = "tests/simulation/seeded-bugs";

/// The cargo profile of the simulation that is built for each bug.
const PROFILE: &str = "seeded-bugs";

/// Seeds to try without a bug. Most bugs are found within this many.
const CONTROL_SEEDS: u64 = 100;

#[derive(Debug, PartialEq, Eq, clap::Args)]
pub struct SeedBugs {
    /// The bugs to seed (default: all)
    pub names: Vec<String>,
    /// List the bugs and exit
    #[arg(long)]
    pub list: bool,
    /// Worlds to run for each bug
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
}

/// A bug, as its file describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bug {
    #[serde(skip)]
    name: String,
    bug: String,
    file: PathBuf,
    find: String,
    put: String,
}

impl Bug {
    /// The text of the source file with the bug in it.
    fn seed(&self, text: &str) -> Result<String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.put, 1)),
            count => Err(Error::new(format!(
                "{FOLDER}/{}.yaml: its `find` text occurs {count} times in {}; it must occur once. \
                 Update `find` to match the code",
                self.name,
                self.file.display()
            ))),
        }
    }
}

/// Seeds the bugs one after another and prints a row for each. Fails if one is not found.
pub fn run(project: &Project, asked: &SeedBugs) -> Result<()> {
    let bugs = chosen(bugs(project)?, &asked.names)?;
    if asked.list {
        for bug in bugs {
            say(format_args!("{:24} {}", bug.name, bug.bug));
        }
        return Ok(());
    }
    let folder = project.root().join("target/seeded-bugs");
    fs::create_dir_all(&folder).context(folder.display())?;
    let lock = folder.join("lock");
    let lock = File::create(&lock).context(lock.display())?;
    lock.try_lock()
        .context("another `cargo xtask seed-bugs` is running; wait until it ends")?;

    let copy = Project::at(folder.join("tree"));
    let target = folder.join("target");
    let built = |what: &str| sim::build(&copy, &target, PROFILE, &["simulation"]).context(what);
    let simulation = target.join(PROFILE).join("simulation");
    copy_tree(project, copy.root())?;
    built("no bug seeded")?;
    is_sound(&simulation, asked)?;
    say("| seeded bug | found after | first report |\n| --- | --- | --- |");
    let mut missed = Vec::new();
    for bug in &bugs {
        // Removes the previous bug, even one that a killed run left behind.
        copy_tree(project, copy.root())?;
        let path = copy.root().join(&bug.file);
        let text = fs::read_to_string(&path).context(path.display())?;
        fs::write(&path, bug.seed(&text)?).context(path.display())?;
        built(&bug.name)?;
        let found = look(&simulation, asked.seeds)?;
        say(row(bug, found.as_ref()));
        if found.is_none() {
            missed.push(bug.name.as_str());
        }
    }
    copy_tree(project, copy.root())?;
    match missed.as_slice() {
        [] => Ok(()),
        names => Err(Error::new(format!(
            "seeded but not found: {}",
            names.join(", ")
        ))),
    }
}

/// All bugs, sorted by name.
fn bugs(project: &Project) -> Result<Vec<Bug>> {
    let folder = project.root().join(FOLDER);
    let mut bugs = Vec::new();
    for entry in fs::read_dir(&folder).context(folder.display())? {
        let path = entry.context(folder.display())?.path();
        let text = fs::read_to_string(&path).context(path.display())?;
        let bug: Bug = serde_yaml_ng::from_str(&text).context(path.display())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        bugs.push(Bug {
            name: name.into_owned(),
            ..bug
        });
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

fn chosen(bugs: Vec<Bug>, names: &[String]) -> Result<Vec<Bug>> {
    let is_known = |name: &&String| bugs.iter().any(|bug| bug.name == **name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        return Err(Error::new(format!(
            "there is no bug `{name}`; `cargo xtask seed-bugs --list` lists the names"
        )));
    }
    let is_wanted = |bug: &Bug| names.is_empty() || names.contains(&bug.name);
    Ok(bugs.into_iter().filter(is_wanted).collect())
}

/// Copies the working tree to a folder, without the files that git ignores. Equal files keep their
/// modification time, so that cargo rebuilds only the changed ones.
pub(crate) fn copy_tree(project: &Project, to: &Path) -> Result<()> {
    copy_files(project.root(), to, &listed(project)?)
}

/// The files of a checkout, from its root.
pub(crate) fn listed(project: &Project) -> Result<Vec<PathBuf>> {
    let listed = process::capture(Command::new("git").current_dir(project.root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let names = listed.split('\0').filter(|name| !name.is_empty());
    Ok(names.map(PathBuf::from).collect())
}

pub(crate) fn copy_files(from: &Path, to: &Path, files: &[PathBuf]) -> Result<()> {
    let mut copied = BTreeSet::new();
    for file in files {
        let (from, to) = (from.join(file), to.join(file));
        // Git still lists files whose deletion is not committed.
        if !from.is_file() {
            continue;
        }
        let content = fs::read(&from).context(from.display())?;
        if fs::read(&to).ok().as_ref() != Some(&content) {
            let folder = to.parent().expect("it is below the copy's folder");
            fs::create_dir_all(folder).context(folder.display())?;
            fs::write(&to, content).context(to.display())?;
        }
        copied.insert(to);
    }
    remove_others(to, &copied)
}

fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).context(folder.display())? {
        let path = entry.context(folder.display())?.path();
        if path.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path).context(path.display())?;
        }
    }
    Ok(())
}

/// A finding without a seeded bug would hide every bug.
fn is_sound(simulation: &Path, asked: &SeedBugs) -> Result<()> {
    match look(simulation, asked.seeds.min(CONTROL_SEEDS))? {
        None => Ok(()),
        Some(Found { finding, .. }) => Err(Error::new(format!(
            "the simulation fails without a seeded bug: {finding}; run `cargo xtask sim`"
        ))),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Sagas until the finding.
    sagas: u64,
    finding: String,
}

/// Runs the simulation until its first finding. One thread, so that the count of sagas is the same
/// in every run.
fn look(simulation: &Path, seeds: u64) -> Result<Option<Found>> {
    let output = Command::new(simulation)
        .args(["--unshrunk", "--threads", "1"])
        .args(["--from", "0", "--seeds", &seeds.to_string()])
        .output()
        .context(simulation.display())?;
    let report = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => Ok(None),
        Some(1) => match read_report(&report) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::new(format!(
                "the simulation failed and its report names no violation:\n{}",
                process::last_lines(&report, 40)
            ))),
        },
        _ => Err(Error::new(format!(
            "the simulation ended with {}:\n{}",
            output.status,
            process::last_lines(&String::from_utf8_lossy(&output.stderr), 40)
        ))),
    }
}

/// The report ends with the violations of the first failed world.
fn read_report(report: &str) -> Option<Found> {
    let mut lines = report.lines();
    let sagas = sagas(report)?;
    lines.find(|line| line.starts_with("Violations with seed"))?;
    Some(Found {
        sagas,
        finding: lines.next()?.trim().to_owned(),
    })
}

fn sagas(report: &str) -> Option<u64> {
    report.lines().find_map(|line| {
        let (count, rest) = line.trim_start().split_once(char::is_whitespace)?;
        rest.trim_start().starts_with("sagas").then_some(())?;
        count.parse().ok()
    })
}

/// A row of the table in docs/proof.md.
fn row(bug: &Bug, found: Option<&Found>) -> String {
    match found {
        Some(found) => format!("| {} | {} | {} |", bug.bug, found.sagas, found.finding),
        None => format!("| {} |  | nothing |", bug.bug),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project::find().expect("tests run inside the project")
    }

    fn bug(find: &str, put: &str) -> Bug {
        Bug {
            name: "a-bug".to_owned(),
            bug: "a bug".to_owned(),
            file: PathBuf::from("a.rs"),
            find: find.to_owned(),
            put: put.to_owned(),
        }
    }

    #[test]
    fn every_find_text_occurs_exactly_once_in_its_file() {
        let project = project();
        let bugs = bugs(&project).expect("each can be read");
        assert!(bugs.len() >= 16, "{}", bugs.len());
        for bug in bugs {
            let path = project.root().join(&bug.file);
            let text = fs::read_to_string(&path).expect("its file is there");
            let seeded = bug.seed(&text).unwrap_or_else(|error| panic!("{error}"));
            assert_ne!(seeded, text, "{}", bug.name);
        }
    }

    #[test]
    fn the_proof_page_lists_exactly_the_seeded_bugs() {
        let project = project();
        let page = fs::read_to_string(project.root().join("docs/proof.md")).expect("it is there");
        let table = page
            .split("| seeded bug | found after |")
            .nth(1)
            .expect("the table of seeded bugs");
        let mut listed: Vec<&str> = table
            .lines()
            .skip(2)
            .map_while(|line| line.strip_prefix("| ")?.split(" | ").next())
            .collect();
        let bugs = bugs(&project).expect("each can be read");
        let mut expected: Vec<&str> = bugs.iter().map(|bug| bug.bug.as_str()).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
    }

    #[test]
    fn a_missing_or_repeated_find_text_is_refused() {
        let bug = bug("if x", "if !x");
        assert_eq!(bug.seed("a; if x {}").expect("once"), "a; if !x {}");
        for text in ["a; if y {}", "if x {} if x {}"] {
            let refused = bug.seed(text).expect_err("not once").to_string();
            assert!(
                refused.contains("a-bug.yaml") && refused.contains("a.rs"),
                "{refused}"
            );
        }
    }

    #[test]
    fn an_unknown_bug_cannot_be_chosen() {
        let some = || vec![bug("a", "b")];
        let named = |name: &str| chosen(some(), &[name.to_owned()]).map(|bugs| bugs.len());
        assert_eq!(named("a-bug").expect("it is there"), 1);
        assert_eq!(chosen(some(), &[]).expect("all").len(), 1);
        assert!(named("b-bug").is_err());
    }

    #[test]
    fn the_copy_equals_the_tree_and_keeps_equal_files_untouched() {
        let folder = std::env::temp_dir().join(format!("waybill-seed-bugs-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("src")).expect("a folder");
        fs::write(from.join("src/a.rs"), "a").expect("a file");
        fs::write(from.join("b.rs"), "b").expect("a file");
        let all = ["src/a.rs", "b.rs", "gone.rs"].map(PathBuf::from);
        copy_files(&from, &to, &all).expect("copied");
        let written = |name: &str| fs::metadata(to.join(name)).and_then(|file| file.modified());
        let before = written("src/a.rs").expect("a time");

        // A bug that a killed run left behind, and a file that is no longer in the tree.
        fs::write(to.join("b.rs"), "seeded").expect("a file");
        fs::write(to.join("src/old.rs"), "old").expect("a file");
        copy_files(&from, &to, &all).expect("copied");
        let text = |name: &str| fs::read_to_string(to.join(name)).ok();
        assert_eq!(text("b.rs").as_deref(), Some("b"));
        assert_eq!(text("src/a.rs").as_deref(), Some("a"));
        assert_eq!(text("src/old.rs"), None);
        assert_eq!(written("src/a.rs").expect("a time"), before);
        fs::remove_dir_all(&folder).expect("it was made here");
    }

    #[test]
    fn a_report_gives_the_first_finding_and_its_sagas() {
        let report = "           6  worlds, one for each seed
          38  sagas, all acknowledged and ended
          12    confirmed
           1  violations

Violations with seed 5:
  order x: from version 2 to 1
  order y is lost
Shrinking ...
";
        let found = Found {
            sagas: 38,
            finding: "order x: from version 2 to 1".to_owned(),
        };
        assert_eq!(read_report(report), Some(found));
        assert_eq!(read_report("panicked"), None);
    }

    #[test]
    fn a_bug_is_a_row_of_the_table() {
        let found = Found {
            sagas: 7,
            finding: "oversold".to_owned(),
        };
        let bug = bug("a", "b");
        assert_eq!(row(&bug, Some(&found)), "| a bug | 7 | oversold |");
        assert_eq!(row(&bug, None), "| a bug |  | nothing |");
    }
}
