//! Every check there is. The system tests wait most of their time, so three stacks share them.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api;
use crate::aws::LOCAL_REGION;
use crate::build;
use crate::compat;
use crate::emulator;
use crate::error::{Context, Error, Result};
use crate::guard::Guard;
use crate::lanes::in_parallel;
use crate::local;
use crate::process;
use crate::project::{Project, Service};
use crate::state::Home;
use crate::tools::{self, Tool};
use crate::ui::{put, say, seconds};

/// How many stacks the system tests share: three keep two cores busy.
const STACKS: usize = 3;

/// Lints everything. `--all-targets` leaves out what `cargo test` leaves out: the system tests.
pub fn lint(project: &Project, run: impl Fn(&mut Command) -> Result<()>) -> Result<()> {
    for targets in [&["--all-targets"][..], &["--test", "system"]] {
        let mut clippy = project.cargo();
        clippy
            .args(["clippy", "--quiet", "--workspace"])
            .args(targets);
        run(clippy.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Checks a copy of the workspace for a minute: it runs beside the system tests, after the lints have
/// compiled what it needs.
pub const SCAFFOLD_TEST: &str = "a_copy_with_scaffolds_keeps_the_rules";

/// Only checks need these.
const TOOLS: [Tool; 4] = [
    tools::NODE,
    tools::PYTHON_CLIENT,
    tools::SCHEMATHESIS,
    tools::ZIZMOR,
];

/// Changes everything that an administrator may, so only the last module runs on its stack afterwards.
const FUZZING_MODULE: &str = "fuzzing";

/// Reads the logs that the tests before it left on the same stack.
const LAST_MODULE: &str = "secrets";

/// Modules with many clients. Two at once would take all processors for so long that calls run out of time.
const HEAVY_MODULES: [&str; 2] = ["chaos", "contention"];

/// Modules that take about a minute or more, the longest first. They start first, so that the stacks end
/// together.
const LONG_MODULES: [&str; 5] = [
    "chaos",
    "operators",
    "rotation",
    "fault_injection",
    "canary",
];

/// Runs all checks, or without `system` those that need no stack, and prints a table of times.
///
/// # Errors
///
/// That of the first check that failed. Checks that had begun by then run to their end.
pub fn run(project: &Project, fast: bool) -> Result<()> {
    let begun = Instant::now();
    let logs = project.folder().join("checks");
    fs::create_dir_all(&logs).context(logs.display())?;
    let stages = Stages {
        logs,
        done: Mutex::default(),
    };
    let outcome = all(project, fast, &stages);
    let done = std::mem::take(&mut *stages.done());
    say("");
    for Stage { name, time, error } in &done {
        let verdict = error.as_ref().map_or("passed", |_| "FAILED");
        say(format_args!(
            "{name:>24}  {verdict}  {:>10}",
            seconds(*time)
        ));
    }
    say(format_args!(
        "{:>24}          {:>10}",
        "in all",
        seconds(begun.elapsed())
    ));
    // A check that was not begun because of this error has an error of its own.
    done.into_iter()
        .find_map(|stage| stage.error)
        .map_or(outcome, Err)
}

/// The results so far.
struct Stages {
    /// Each check's output is a file here.
    logs: PathBuf,
    done: Mutex<Vec<Stage>>,
}

struct Stage {
    name: String,
    time: Duration,
    error: Option<Error>,
}

impl Stages {
    fn done(&self) -> MutexGuard<'_, Vec<Stage>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one check, unless another has failed. Its output is printed when it ends, so that the
    /// outputs of checks that run side by side do not mix.
    fn run(&self, name: &str, check: impl FnOnce(&Log) -> Result<()>) -> Result<()> {
        if self.done().iter().any(|stage| stage.error.is_some()) {
            return Err(Error::new(format!(
                "{name} was not run: another check had failed"
            )));
        }
        say(format_args!("== {name} ..."));
        let log = Log(self
            .logs
            .join(format!("{}.log", name.replace([' ', ':'], "-"))));
        File::create(&log.0).context(log.0.display())?;
        let begun = Instant::now();
        let error = check(&log).context(name).err();
        let time = begun.elapsed();
        let verdict = error.as_ref().map_or("passed", |_| "FAILED");
        let output = fs::read(&log.0).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        put(format_args!(
            "{}== {name} {verdict} ({})",
            output.trim_start(),
            seconds(time)
        ));
        let failed = error.as_ref().map(|_| Error::new(format!("{name} failed")));
        self.done().push(Stage {
            name: name.to_owned(),
            time,
            error,
        });
        failed.map_or(Ok(()), Err)
    }
}

/// Where a check's programs print to.
struct Log(PathBuf);

impl Log {
    fn run(&self, command: &mut Command) -> Result<()> {
        let open = || File::options().append(true).open(&self.0);
        let (out, errors) = (
            open().context(self.0.display())?,
            open().context(self.0.display())?,
        );
        process::run(command.stdout(out).stderr(errors))
    }
}

fn all(project: &Project, fast: bool, stages: &Stages) -> Result<()> {
    stages.run("format", |log| {
        log.run(project.cargo().args(["fmt", "--all", "--check"]))
    })?;
    // Cargo compiles for one lane at a time. Meanwhile the others run what is compiled.
    let compiled = || scaffolds(project, stages).and_then(|()| documentation(project, stages));
    let others = || {
        templates_and_documents(project, stages)?;
        releases(project, stages)
    };
    if fast {
        lints(project, stages)?;
        let tests = || tests(project, stages);
        let lanes: [Lane<'_>; 3] = [Box::new(tests), Box::new(compiled), Box::new(others)];
        return in_parallel(lanes);
    }
    let system_tests = system_tests(project, stages)?;
    tests(project, stages)?;
    // The system tests wait most of their time. The checks beside them take what the stacks leave.
    let lanes: [Lane<'_>; 3] = [
        Box::new(|| system(project, &system_tests, stages)),
        Box::new(|| lints(project, stages).and_then(|()| compiled())),
        Box::new(others),
    ];
    in_parallel(lanes)
}

type Lane<'a> = Box<dyn FnOnce() -> Result<()> + Send + 'a>;

fn lints(project: &Project, stages: &Stages) -> Result<()> {
    stages.run("lints", |log| {
        lint(project, |clippy| log.run(&mut nice(clippy)))
    })
}

fn tests(project: &Project, stages: &Stages) -> Result<()> {
    stages.run("tests", |log| {
        let all = ["test", "--quiet", "--workspace", "--"];
        log.run(project.cargo().args(all).args(["--skip", SCAFFOLD_TEST]))
    })
}

fn scaffolds(project: &Project, stages: &Stages) -> Result<()> {
    stages.run("scaffolds", |log| {
        let mut cargo = project.cargo();
        cargo.args([
            "test",
            "--quiet",
            "--workspace",
            "--lib",
            "--",
            SCAFFOLD_TEST,
        ]);
        log.run(&mut nice(&cargo))
    })
}

fn templates_and_documents(project: &Project, stages: &Stages) -> Result<()> {
    stages.run("templates", |log| validate_templates(project, log))?;
    stages.run("documents", |log| {
        api::lint(project, |linter| log.run(&mut nice(linter)))
    })?;
    stages.run("workflows", |log| {
        tools::ZIZMOR.install(project)?;
        let mut zizmor = Command::new(tools::ZIZMOR.program(project, "zizmor"));
        zizmor.current_dir(project.root());
        log.run(zizmor.args(["--offline", "--quiet", ".github/workflows"]))
    })
}

fn documentation(project: &Project, stages: &Stages) -> Result<()> {
    stages.run("documentation", |log| {
        // The libraries: for the binaries, which have one line each, cargo checks all crates once more.
        let documented = [
            "doc",
            "--quiet",
            "--workspace",
            "--lib",
            "--no-deps",
            "--document-private-items",
        ];
        let mut rustdoc = project.cargo();
        rustdoc.args(documented).env("RUSTDOCFLAGS", "-D warnings");
        log.run(&mut nice(&rustdoc))
    })
}

/// As `cargo xtask compat`.
fn releases(project: &Project, stages: &Stages) -> Result<()> {
    if !compat::is_possible(project)? {
        say(
            "== compat: not run, because this clone lacks the last release; git fetch --unshallow gets it",
        );
        return Ok(());
    }
    stages.run("compat", |log| {
        compat::run(project, |tests| log.run(&mut nice(tests)))
    })
}

/// The same program at the lowest priority.
fn nice(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        nice.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice
}

/// `sam validate` looks at one template at a time and takes seconds to start: both cores share them.
fn validate_templates(project: &Project, log: &Log) -> Result<()> {
    tools::SAM.install(project)?;
    let queue = Mutex::new(VecDeque::from(templates(project)?));
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let lane = || -> Result<()> {
        while let Some(template) = next() {
            let mut sam = Command::new(tools::SAM.program(project, "sam"));
            sam.current_dir(project.root())
                .args(["validate", "--lint", "--region", LOCAL_REGION])
                .arg("--template-file")
                .arg(&template)
                .env("SAM_CLI_TELEMETRY", "0");
            log.run(&mut nice(&sam)).context(template.display())?;
        }
        Ok(())
    };
    in_parallel([lane, lane])
}

/// The root's, and those of every folder in `infra` and `functions`.
fn templates(project: &Project) -> Result<Vec<PathBuf>> {
    let mut templates = vec![project.root().join("template.yaml")];
    for folder in ["infra", "functions"] {
        let folder = project.root().join(folder);
        for entry in fs::read_dir(&folder).context(folder.display())? {
            let template = entry
                .context(folder.display())?
                .path()
                .join("template.yaml");
            if template.is_file() {
                templates.push(template);
            }
        }
    }
    templates.sort();
    Ok(templates)
}

/// The program that holds the system tests, and their modules.
struct SystemTests {
    program: PathBuf,
    folder: PathBuf,
    modules: BTreeSet<String>,
    services: Vec<Service>,
}

/// Builds everything first, also the functions: built together with the tests, they share all
/// dependencies.
fn system_tests(project: &Project, stages: &Stages) -> Result<SystemTests> {
    let mut program = None;
    let services = project.services()?;
    stages.run("build", |_| {
        local::prepare(project, &TOOLS, || {
            let mut all = project.cargo();
            all.args(["test", "--quiet", "--workspace", "--no-run"]);
            let built = build::compile(&mut all)?;
            let mut system = project.cargo();
            system.args(["test", "--workspace", "--test", "system", "--no-run"]);
            program = build::compile(&mut system)?.pop();
            build::lay_out(project, &services, &built)
        })
    })?;
    let program = program
        .context("cargo names no program of the system tests")?
        .path;
    let folder = project.root().join("tests");
    let listed = process::capture(
        Command::new(&program)
            .current_dir(&folder)
            .args(["--list", "--format", "terse"]),
    )?;
    let module = |line: &str| {
        let (module, _) = line
            .split_once("::")
            .context(format!("{line} is in no module"))?;
        Ok(module.to_owned())
    };
    let modules = listed
        .lines()
        .map(module)
        .collect::<Result<BTreeSet<_>>>()?;
    let named = [FUZZING_MODULE, LAST_MODULE].into_iter();
    for named in named.chain(HEAVY_MODULES).chain(LONG_MODULES) {
        if !modules.contains(named) {
            return Err(Error::new(format!(
                "no module of the system tests is called {named}"
            )));
        }
    }
    Ok(SystemTests {
        modules,
        program,
        folder,
        services,
    })
}

/// The whole system, deployed on stacks that exist for these tests only and are gone afterwards,
/// however this ends. Each stack takes the next module of tests as soon as it is free.
fn system(project: &Project, tests: &SystemTests, stages: &Stages) -> Result<()> {
    let homes: Vec<Home> = (1..=STACKS)
        .map(|number| Home::test(project, number))
        .collect();
    let _locks = homes.iter().map(Home::lock).collect::<Result<Vec<_>>>()?;
    let is_free = |module: &&String| ![FUZZING_MODULE, LAST_MODULE].contains(&module.as_str());
    let mut waiting: Vec<&String> = tests.modules.iter().filter(is_free).collect();
    let rank = |module: &String| LONG_MODULES.iter().position(|long| long == module);
    waiting.sort_by_key(|module| rank(module).unwrap_or(LONG_MODULES.len()));
    let queue = Mutex::new(waiting);
    let fuzzing = Mutex::new(Some(FUZZING_MODULE));
    // The guard of a heavy module is held while it runs.
    let heavy = Mutex::new(());
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let is_heavy = |module: &String| HEAVY_MODULES.contains(&module.as_str());
        let alone = heavy.try_lock().ok();
        let at = queue
            .iter()
            .position(|module| alone.is_some() || !is_heavy(module))?;
        let module = queue.remove(at);
        Some((module, alone.filter(|_| is_heavy(module))))
    };
    let guards = homes
        .iter()
        .map(|home| {
            // A killed run may have left stacks.
            local::down(home, true)?;
            Guard::start(home)
        })
        .collect::<Result<Vec<_>>>()?;
    let ports = emulator::free_ports(STACKS)?;
    let lanes = homes
        .iter()
        .zip(ports)
        .enumerate()
        .map(|(number, (home, port))| {
            let (next, fuzzing) = (&next, &fuzzing);
            move || {
                stages.run(&format!("system {}: up", number + 1), |_| {
                    local::start(project, home, Some(port), &tests.services).map(drop)
                })?;
                let module = |module: &str| {
                    stages.run(&format!("system {}: {module}", number + 1), |log| {
                        log.run(
                            Command::new(&tests.program)
                                .current_dir(&tests.folder)
                                .arg(format!("{module}::"))
                                .env("WAYBILL_STACK", home.stack()),
                        )
                    })
                };
                while let Some((next, _alone)) = next() {
                    module(next)?;
                }
                let first = fuzzing
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                if let Some(fuzzing) = first {
                    module(fuzzing)?;
                }
                module(LAST_MODULE)
            }
        });
    let outcome = in_parallel(lanes);
    if outcome.is_err() {
        for home in &homes {
            keep_log(home, &stages.logs);
        }
    }
    // Each is tried, also where another cannot be removed.
    let removed: Vec<_> = homes.iter().map(|home| local::down(home, true)).collect();
    for (guard, removed) in guards.into_iter().zip(&removed) {
        guard.end(removed.is_ok());
    }
    outcome.and(removed.into_iter().collect())
}

/// The emulator's log of a failed run outlives its stack.
fn keep_log(home: &Home, logs: &Path) {
    let name = home
        .folder()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let kept = logs.join(format!("emulator-{name}.log"));
    if fs::rename(home.emulator_log(), &kept).is_ok() {
        say(format_args!(
            "an emulator's log is kept in {}",
            kept.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_test_of_the_scaffolds_has_the_name_that_is_run() {
        let name = format!("fn {}()", super::SCAFFOLD_TEST);
        assert!(include_str!("new/tests.rs").contains(&name));
    }
}
