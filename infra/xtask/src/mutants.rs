//! Mutation testing: cargo-mutants changes the code in one place at a time, and a test must fail.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::project::Project;
use crate::tools;
use crate::ui::say;

/// The share of compiling mutants of each crate that the tests must catch, in percent.
const AT_LEAST: u32 = 95;

/// Runs `cargo mutants` with `.cargo/mutants.toml` and prints a line for each crate. It works on a
/// copy, with a target folder of its own.
pub fn run(project: &Project, arguments: &[String]) -> Result<()> {
    let path = project.folder().join("mutants.out/outcomes.json");
    forget(&path)?;
    let program = tools::install_cargo_mutants(project)?;
    let mut command = Command::new(program);
    command
        .arg("mutants")
        .args(arguments)
        .current_dir(project.root())
        .env("CARGO_TARGET_DIR", project.folder().join("mutants-target"));
    let status = project
        .without_cargo_variables(&mut command)
        .status()
        .context("cannot run cargo-mutants")?;
    // 2 and 3: a mutant was missed or timed out, which is counted below. Other codes leave nothing
    // to count.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(Error::new(format!("cargo-mutants failed ({status})")));
    }
    judge(&read(&path)?)
}

/// Deletes the outcomes of an earlier run.
fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(format!("removing {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(path: &Path) -> Result<Report> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).context(path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::new(NOTHING_TRIED)),
        Err(error) => Err(error).context(path.display()),
    }
}

const NOTHING_TRIED: &str = "no mutant was tested: the arguments only list mutants or exclude all";

fn judge(report: &Report) -> Result<()> {
    let tallies = report.tallies();
    say(table(&tallies));
    if tallies.values().all(|tally| tally.judged() == 0) {
        return Err(Error::new(NOTHING_TRIED));
    }
    let short = below_the_mark(&tallies);
    if short.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!(
            "less than {AT_LEAST} % caught in {}: write a test for each mutant in \
             .waybill/mutants.out/missed.txt",
            short.join(", ")
        )))
    }
}

fn table(tallies: &BTreeMap<&str, Tally>) -> String {
    let mut text = format!(
        "\n{:12} {:>8} {:>8} {:>8} {:>8} {:>12}",
        "crate", "mutants", "caught", "missed", "timeout", "not compiled"
    );
    for (name, tally) in tallies {
        text.push_str(&format!(
            "\n{name:12} {:>8} {:>8} {:>8} {:>8} {:>12}  {:.1} %",
            tally.judged() + tally.unviable,
            tally.caught,
            tally.missed,
            tally.timeout,
            tally.unviable,
            tally.percentage()
        ));
    }
    text
}

fn below_the_mark<'a>(tallies: &BTreeMap<&'a str, Tally>) -> Vec<&'a str> {
    tallies
        .iter()
        .filter(|(_, tally)| tally.percentage() < f64::from(AT_LEAST))
        .map(|(name, _)| *name)
        .collect()
}

/// A part of cargo-mutants' `outcomes.json`.
#[derive(Deserialize)]
struct Report {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: Summary,
}

#[derive(Deserialize)]
enum Scenario {
    /// The tests of the unchanged code.
    Baseline,
    Mutant {
        package: String,
    },
}

#[derive(Clone, Copy, Deserialize)]
enum Summary {
    Success,
    Failure,
    CaughtMutant,
    MissedMutant,
    Timeout,
    Unviable,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    caught: u32,
    missed: u32,
    timeout: u32,
    unviable: u32,
}

impl Report {
    fn tallies(&self) -> BTreeMap<&str, Tally> {
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for outcome in &self.outcomes {
            let Scenario::Mutant { package } = &outcome.scenario else {
                continue;
            };
            let tally = tallies.entry(package).or_default();
            match outcome.summary {
                Summary::CaughtMutant => tally.caught += 1,
                Summary::MissedMutant => tally.missed += 1,
                Summary::Timeout => tally.timeout += 1,
                Summary::Unviable => tally.unviable += 1,
                // Only the baseline has these.
                Summary::Success | Summary::Failure => {}
            }
        }
        tallies
    }
}

impl Tally {
    /// Mutants that compile. A timeout does not count as caught.
    fn judged(&self) -> u32 {
        self.caught + self.missed + self.timeout
    }

    fn percentage(&self) -> f64 {
        match self.judged() {
            0 => 100.0,
            judged => 100.0 * f64::from(self.caught) / f64::from(judged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &str) -> Report {
        let baseline = r#"{"scenario": "Baseline", "summary": "Success"}"#;
        serde_json::from_str(&format!(
            r#"{{"outcomes": [{baseline} {outcomes}], "caught": 9}}"#
        ))
        .expect("a report")
    }

    fn outcome(package: &str, summary: &str) -> String {
        format!(
            r#", {{"scenario": {{"Mutant": {{"package": "{package}", "name": "x"}}}},
                   "summary": "{summary}", "log_path": "log/x"}}"#
        )
    }

    #[test]
    fn mutants_are_counted_for_each_crate() {
        let report = report(
            &[
                ("a", "CaughtMutant"),
                ("a", "Unviable"),
                ("b", "MissedMutant"),
                ("a", "Timeout"),
                ("a", "CaughtMutant"),
            ]
            .map(|(package, summary)| outcome(package, summary))
            .concat(),
        );
        let tallies = report.tallies();
        let a = Tally {
            caught: 2,
            missed: 0,
            timeout: 1,
            unviable: 1,
        };
        let b = Tally {
            missed: 1,
            ..Tally::default()
        };
        assert_eq!(tallies, BTreeMap::from([("a", a), ("b", b)]));
    }

    #[test]
    fn a_run_without_mutants_fails() {
        for outcomes in ["", &outcome("a", "Unviable")] {
            let error = judge(&report(outcomes)).expect_err("nothing was tried");
            assert_eq!(error.to_string(), NOTHING_TRIED);
        }
        assert!(judge(&report(&outcome("a", "CaughtMutant"))).is_ok());
    }

    #[test]
    fn earlier_outcomes_are_deleted() {
        let folder = std::env::temp_dir().join(format!("waybill-mutants-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("outcomes.json");
        let earlier = r#"{"outcomes": [{"scenario": {"Mutant": {"package": "a"}},
                          "summary": "CaughtMutant"}]}"#;
        fs::write(&path, earlier).expect("a file");
        assert!(read(&path).is_ok());
        // Twice: deleting a missing file is no error.
        for _ in 0..2 {
            forget(&path).expect("it goes");
            let error = read(&path).err().expect("there is nothing to judge");
            assert_eq!(error.to_string(), NOTHING_TRIED);
        }
        fs::remove_dir_all(&folder).expect("it goes");
    }

    #[test]
    fn nineteen_of_twenty_pass_and_timeouts_count_as_missed() {
        let tally = |caught, missed, timeout| Tally {
            caught,
            missed,
            timeout,
            unviable: 50,
        };
        let tallies = BTreeMap::from([
            ("enough", tally(19, 1, 0)),
            ("missing", tally(18, 1, 0)),
            ("nothing", tally(0, 0, 0)),
            ("stuck", tally(18, 0, 1)),
        ]);
        assert_eq!(below_the_mark(&tallies), ["missing", "stuck"]);
        assert!(
            table(&tallies)
                .ends_with("stuck              69       18        0        1           50  94.7 %")
        );
    }
}
