//! `cargo xtask measure`: runs what has a number and writes docs/measured.md, so that no number is
//! copied by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::emulator;
use crate::error::{Context, Error, Result};
use crate::process;
use crate::project::Project;
use crate::state::Home;
use crate::ui::{say, seconds};

const DOCUMENT: &str = "docs/measured.md";

/// A command with the rows that it fills.
struct Measurement {
    name: &'static str,
    command: &'static str,
    rows: &'static [(&'static str, Seen)],
}

/// How a row's value is found.
enum Seen {
    /// The time that the command takes.
    Time,
    /// The lines of the output that contain these texts.
    Lines(&'static [&'static str]),
}

const SYSTEM: &str = "cargo test --quiet --workspace --test system -- --nocapture";

const MEASUREMENTS: [Measurement; 13] = [
    Measurement {
        name: "first-up",
        command: "rm -rf target/measured && git clone --quiet . target/measured && cd target/measured \
                  && cargo xtask up && cargo xtask down --wipe",
        rows: &[(
            "the first `up` in a fresh clone, tools included",
            Seen::Time,
        )],
    },
    Measurement {
        name: "up",
        command: "cargo xtask up",
        rows: &[("`up` with nothing changed", Seen::Time)],
    },
    Measurement {
        name: "test",
        command: "cargo xtask test",
        rows: &[("every check, after a first build", Seen::Time)],
    },
    Measurement {
        name: "fast",
        command: "cargo xtask test --fast",
        rows: &[("every check that needs no stack", Seen::Time)],
    },
    Measurement {
        name: "api",
        command: "cargo xtask api",
        rows: &[
            ("linters and generated requests, on a new stack", Seen::Time),
            ("generated requests", Seen::Lines(&[" generated, "])),
        ],
    },
    Measurement {
        name: "contention",
        command: "WAYBILL_CLIENTS=50 WAYBILL_ORDERS_EACH=20 SYSTEM contention::",
        rows: &[(
            "1,000 orders by 50 clients on 100 units",
            Seen::Lines(&["orders:"]),
        )],
    },
    Measurement {
        name: "chaos",
        command: "SYSTEM chaos::",
        rows: &[(
            "orders while functions are killed, messages lost and the emulator restarted",
            Seen::Lines(&["orders, all", "functions killed", "messages lost", "in all"]),
        )],
    },
    Measurement {
        name: "matrix",
        command: "SYSTEM matrix::",
        rows: &[(
            "the authorization matrix",
            Seen::Lines(&["authorization matrix:"]),
        )],
    },
    Measurement {
        name: "tokens",
        command: "cargo bench --quiet -p shared-auth && cargo test --quiet --workspace --test shared-auth -- --nocapture",
        rows: &[
            ("checking an access token", Seen::Lines(&["verify:"])),
            (
                "test vectors of signatures",
                Seen::Lines(&["P1363 vectors", "DER vectors"]),
            ),
        ],
    },
    Measurement {
        name: "login",
        command: "WAYBILL_TIMING_TRIES=1000 cargo test --quiet --workspace --test users timing -- --nocapture",
        rows: &[(
            "login, known against unknown address",
            Seen::Lines(&["logins each:"]),
        )],
    },
    Measurement {
        name: "migrate",
        command: "WAYBILL_MIGRATED_ROWS=100000 cargo test --quiet --workspace --test orders migrations:: -- --nocapture",
        rows: &[(
            "a migration under traffic",
            Seen::Lines(&["rows migrated:"]),
        )],
    },
    Measurement {
        name: "sim",
        command: "cargo xtask sim",
        rows: &[(
            "simulation and exhaustive search",
            Seen::Lines(&["states", "worlds", "violations", "hash", "seconds"]),
        )],
    },
    Measurement {
        name: "seed-bugs",
        command: "cargo xtask seed-bugs",
        rows: &[("seeded bugs, each searched for", Seen::Time)],
    },
];

/// Measures what is named, or everything. Rows of the others stay as they are.
///
/// # Errors
///
/// A name that is not known, a stack that is not up, or the first command that fails.
pub fn run(project: &Project, names: &[String]) -> Result<()> {
    let known = MEASUREMENTS.map(|measurement| measurement.name);
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        return Err(Error::new(format!(
            "nothing is called {unknown}; there is {known}"
        )));
    }
    emulator::stack(&Home::developer(project))?;
    let path = project.root().join(DOCUMENT);
    let mut rows = read(&fs::read_to_string(&path).unwrap_or_default());
    let is_asked = |name: &str| names.is_empty() || names.iter().any(|asked| asked == name);
    for measurement in MEASUREMENTS.iter().filter(|one| is_asked(one.name)) {
        measure(project, measurement, &mut rows)?;
        fs::write(&path, written(&rows)).context(DOCUMENT)?;
    }
    Ok(())
}

fn measure(
    project: &Project,
    measurement: &Measurement,
    rows: &mut BTreeMap<String, String>,
) -> Result<()> {
    let command = measurement.command.replace("SYSTEM", SYSTEM);
    say(format_args!("== {command}"));
    let begun = Instant::now();
    let mut shell = Command::new("sh");
    shell.current_dir(project.root()).args(["-c", &command]);
    if measurement.command.contains("SYSTEM") {
        shell.env("WAYBILL_STACK", Home::developer(project).stack());
    }
    let output = process::capture(project.without_cargo_variables(&mut shell))?;
    let time = seconds(begun.elapsed());
    let git = |arguments: &[&str]| {
        process::capture(
            Command::new("git")
                .current_dir(project.root())
                .args(arguments),
        )
    };
    let changed = match git(&["status", "--porcelain", "--", ".", ":!docs"])?.trim() {
        "" => "",
        _ => " with changes",
    };
    let when = format!(
        "{}, {}{changed}, {} cores, {}",
        process::capture(Command::new("date").args(["-u", "+%F"]))?.trim(),
        git(&["rev-parse", "--short", "HEAD"])?.trim(),
        thread::available_parallelism().context("the number of cores")?,
        std::env::consts::ARCH
    );
    for (about, seen) in measurement.rows {
        let seen = match seen {
            Seen::Time => time.clone(),
            Seen::Lines(texts) => {
                let is_kept = |line: &&str| texts.iter().any(|text| line.contains(text));
                let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
                // The dots are libtest's, one for each test.
                let lines = output.lines().filter(is_kept).map(words);
                let lines: Vec<String> = lines
                    .map(|line| line.trim_start_matches('.').to_owned())
                    .collect();
                if lines.is_empty() {
                    return Err(Error::new(format!(
                        "{command} does not print {}",
                        texts.join(", ")
                    )));
                }
                lines.join("; ").replace('|', "/")
            }
        };
        say(format_args!("{about}: {seen}"));
        let command = match measurement.command.contains("SYSTEM") {
            true => format!("cargo xtask measure {}", measurement.name),
            false => command.clone(),
        };
        rows.insert(
            (*about).to_owned(),
            format!("{seen} | `{command}` | {when}"),
        );
    }
    Ok(())
}

/// The rows of the table by their first cell.
fn read(document: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let (about, rest) = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split_once(" | ")?;
        Some((about.to_owned(), rest.to_owned()))
    };
    document.lines().filter_map(row).collect()
}

/// The rows in the order of the measurements.
fn written(rows: &BTreeMap<String, String>) -> String {
    let mut text = "# Measured\n\n\
        For readers who want numbers, and the command that repeats each. `cargo xtask measure` writes this\n\
        page; it needs a running stack. Times depend on the machine. Nothing here was measured on AWS.\n\n\
        | measured | result | command | date, commit, machine |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (about, _) in MEASUREMENTS.iter().flat_map(|measurement| measurement.rows) {
        if let Some(row) = rows.get(*about) {
            let _ = writeln!(text, "| {about} | {row} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_keeps_the_rows_that_are_not_measured_again() {
        let (about, _) = MEASUREMENTS[1].rows[0];
        let rows = BTreeMap::from([(about.to_owned(), "2 s | `up` | today".to_owned())]);
        assert_eq!(read(&written(&rows)).get(about), rows.get(about));
    }

    #[test]
    fn the_document_is_as_the_command_writes_it() {
        let project = Project::find().expect("the project");
        let text = fs::read_to_string(project.root().join(DOCUMENT)).expect("the document");
        assert_eq!(written(&read(&text)), text);
    }
}
