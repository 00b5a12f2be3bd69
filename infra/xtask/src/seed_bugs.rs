//! `cargo xtask seed-bugs`: bugs on purpose, one at a time, and whether the simulation finds them.
//!
//! What is planted is data: `tests/simulation/seeded-bugs/NAME.yaml` names a file, a piece of its text
//! and what to put there instead. It is planted in a copy below `target/`, never in the tree itself.

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

/// The cargo profile of what is built for every bug.
const PROFILE: &str = "seeded-bugs";

/// Most bugs are found within as many.
const CONTROL_SEEDS: u64 = 100;

/// What to plant, and how long to look for it.
#[derive(Debug, PartialEq, Eq, clap::Args)]
pub struct SeedBugs {
    /// All of them where none is named
    pub names: Vec<String>,
    /// Only say what there is
    #[arg(long)]
    pub list: bool,
    /// In how many worlds to look for each
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
}

/// A bug, as its file describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bug {
    #[serde(skip)]
    name: String,
    planted: String,
    file: PathBuf,
    find: String,
    put: String,
}

impl Bug {
    /// The text of its file with the bug in it.
    fn plant(&self, text: &str) -> Result<String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.put, 1)),
            count => Err(Error::new(format!(
                "{FOLDER}/{}.yaml: its text is {count} times in {}, which has to be once",
                self.name,
                self.file.display()
            ))),
        }
    }
}

/// Plants them one after another and prints a row for each; an error where one is not found.
pub fn run(project: &Project, asked: &SeedBugs) -> Result<()> {
    let bugs = chosen(bugs(project)?, &asked.names)?;
    if asked.list {
        for bug in bugs {
            say(format_args!("{:24} {}", bug.name, bug.planted));
        }
        return Ok(());
    }
    let folder = project.root().join("target/seeded-bugs");
    fs::create_dir_all(&folder).context(folder.display())?;
    let lock = folder.join("lock");
    let lock = File::create(&lock).context(lock.display())?;
    lock.try_lock()
        .context("another cargo xtask seed-bugs is at work")?;

    let copy = Project::at(folder.join("tree"));
    let target = folder.join("target");
    let built = |what: &str| sim::build(&copy, &target, PROFILE, &["simulation"]).context(what);
    let simulation = target.join(PROFILE).join("simulation");
    copy_tree(project, copy.root())?;
    built("nothing planted")?;
    is_sound(&simulation, asked)?;
    say("| seeded bug | found after | first report |\n| --- | --- | --- |");
    let mut missed = Vec::new();
    for bug in &bugs {
        // Whatever was planted before goes with this, and so does what a kill has left.
        copy_tree(project, copy.root())?;
        let path = copy.root().join(&bug.file);
        let text = fs::read_to_string(&path).context(path.display())?;
        fs::write(&path, bug.plant(&text)?).context(path.display())?;
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
            "planted and not found: {}",
            names.join(", ")
        ))),
    }
}

/// Every bug there is, by name.
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
            "there is no planted bug `{name}`; cargo xtask seed-bugs --list has their names"
        )));
    }
    let is_wanted = |bug: &Bug| names.is_empty() || names.contains(&bug.name);
    Ok(bugs.into_iter().filter(is_wanted).collect())
}

/// Makes a folder what the working tree is, without what git ignores. What is the same already is
/// not touched, so that cargo builds only what was changed.
pub(crate) fn copy_tree(project: &Project, to: &Path) -> Result<()> {
    let listed = process::capture(Command::new("git").current_dir(project.root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let files: Vec<&Path> = listed
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(Path::new)
        .collect();
    copy_files(project.root(), to, &files)
}

fn copy_files(from: &Path, to: &Path, files: &[&Path]) -> Result<()> {
    let mut copied = BTreeSet::new();
    for file in files {
        let (from, to) = (from.join(file), to.join(file));
        // Git still lists what was deleted and not committed.
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

/// What is found where nothing is planted would be found with every bug, and say nothing of it.
fn is_sound(simulation: &Path, asked: &SeedBugs) -> Result<()> {
    match look(simulation, asked.seeds.min(CONTROL_SEEDS))? {
        None => Ok(()),
        Some(Found { said, .. }) => Err(Error::new(format!(
            "the simulation finds something where nothing is planted: {said}; see cargo xtask sim"
        ))),
    }
}

/// What the simulation found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// After so many sagas.
    sagas: u64,
    said: String,
}

/// Runs the simulation until it finds something; nothing where it does not. It runs on one thread,
/// so that the same bug is always found after as many sagas.
fn look(simulation: &Path, seeds: u64) -> Result<Option<Found>> {
    let output = Command::new(simulation)
        .args(["--unshrunk", "--threads", "1"])
        .args(["--from", "0", "--seeds", &seeds.to_string()])
        .output()
        .context(simulation.display())?;
    let told = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => Ok(None),
        Some(1) => match read_report(&told) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::new(format!(
                "the simulation found something and did not say what:\n{}",
                process::last_lines(&told, 40)
            ))),
        },
        _ => Err(Error::new(format!(
            "the simulation ended with {}:\n{}",
            output.status,
            process::last_lines(&String::from_utf8_lossy(&output.stderr), 40)
        ))),
    }
}

/// The report ends with the violations of the world that went wrong.
fn read_report(report: &str) -> Option<Found> {
    let mut lines = report.lines();
    let sagas = sagas(report)?;
    lines.find(|line| line.ends_with("something is wrong:"))?;
    Some(Found {
        sagas,
        said: lines.next()?.trim().to_owned(),
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
        Some(found) => format!("| {} | {} | {} |", bug.planted, found.sagas, found.said),
        None => format!("| {} |  | nothing |", bug.planted),
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
            planted: "a bug".to_owned(),
            file: PathBuf::from("a.rs"),
            find: find.to_owned(),
            put: put.to_owned(),
        }
    }

    #[test]
    fn every_planted_bug_finds_its_text_exactly_once_in_the_code_of_today() {
        let project = project();
        let bugs = bugs(&project).expect("each can be read");
        assert!(bugs.len() >= 16, "{}", bugs.len());
        for bug in bugs {
            let path = project.root().join(&bug.file);
            let text = fs::read_to_string(&path).expect("its file is there");
            let planted = bug.plant(&text).unwrap_or_else(|error| panic!("{error}"));
            assert_ne!(planted, text, "{}", bug.name);
        }
    }

    #[test]
    fn the_proof_page_lists_every_seeded_bug_and_no_other() {
        let project = project();
        let page = fs::read_to_string(project.root().join("docs/proof.md")).expect("it is there");
        let table = page
            .split("| seeded bug | found after |")
            .nth(1)
            .expect("the table of seeded bugs");
        let mut told: Vec<&str> = table
            .lines()
            .skip(2)
            .map_while(|line| line.strip_prefix("| ")?.split(" | ").next())
            .collect();
        let bugs = bugs(&project).expect("each can be read");
        let mut planted: Vec<&str> = bugs.iter().map(|bug| bug.planted.as_str()).collect();
        told.sort_unstable();
        planted.sort_unstable();
        assert_eq!(told, planted);
    }

    #[test]
    fn a_text_that_is_missing_or_there_twice_is_not_planted() {
        let bug = bug("if x", "if !x");
        assert_eq!(bug.plant("a; if x {}").expect("once"), "a; if !x {}");
        for text in ["a; if y {}", "if x {} if x {}"] {
            let refused = bug.plant(text).expect_err("not once").to_string();
            assert!(
                refused.contains("a-bug.yaml") && refused.contains("a.rs"),
                "{refused}"
            );
        }
    }

    #[test]
    fn only_bugs_that_there_are_can_be_chosen() {
        let some = || vec![bug("a", "b")];
        let named = |name: &str| chosen(some(), &[name.to_owned()]).map(|bugs| bugs.len());
        assert_eq!(named("a-bug").expect("it is there"), 1);
        assert_eq!(chosen(some(), &[]).expect("all").len(), 1);
        assert!(named("b-bug").is_err());
    }

    #[test]
    fn the_copy_is_what_the_tree_is_and_what_is_the_same_stays_untouched() {
        let folder = std::env::temp_dir().join(format!("waybill-plant-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("src")).expect("a folder");
        fs::write(from.join("src/a.rs"), "a").expect("a file");
        fs::write(from.join("b.rs"), "b").expect("a file");
        let all = ["src/a.rs", "b.rs", "gone.rs"].map(Path::new);
        copy_files(&from, &to, &all).expect("copied");
        let written = |name: &str| fs::metadata(to.join(name)).and_then(|file| file.modified());
        let before = written("src/a.rs").expect("a time");

        // SeededBug by one who was killed, and something that is no longer in the tree.
        fs::write(to.join("b.rs"), "planted").expect("a file");
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
    fn a_report_says_after_how_many_sagas_it_found_what() {
        let report = "           6  worlds, one for each seed
          38  sagas, every one acknowledged and ended
          12    confirmed
           1  violations

With seed 5 something is wrong:
  order x: from version 2 to 1
  order y is lost
Shrinking ...
";
        let found = Found {
            sagas: 38,
            said: "order x: from version 2 to 1".to_owned(),
        };
        assert_eq!(read_report(report), Some(found));
        assert_eq!(read_report("panicked"), None);
    }

    #[test]
    fn a_bug_is_a_row_of_the_table() {
        let found = Found {
            sagas: 7,
            said: "oversold".to_owned(),
        };
        let bug = bug("a", "b");
        assert_eq!(row(&bug, Some(&found)), "| a bug | 7 | oversold |");
        assert_eq!(row(&bug, None), "| a bug |  | nothing |");
    }
}
