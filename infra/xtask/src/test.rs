//! Every check there is, in the order of their cost; the last one on a stack of its own.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::aws::LOCAL_REGION;
use crate::emulator;
use crate::error::{Context, Result};
use crate::local;
use crate::process;
use crate::project::Project;
use crate::state::Home;
use crate::tools;
use crate::ui::{say, seconds};

/// Runs them until one fails, and says what each took.
pub fn run(project: &Project, fast: bool) -> Result<()> {
    let mut stages = Stages::default();
    let outcome = all(project, fast, &mut stages);
    say("");
    for (name, time) in &stages.done {
        say(format_args!("{name:>10}  passed ({})", seconds(*time)));
    }
    if let Err(error) = &outcome {
        let (name, time) = stages
            .begun
            .map_or(("test", Duration::ZERO), |(name, at)| (name, at.elapsed()));
        say(format_args!(
            "{name:>10}  FAILED ({}): {}",
            seconds(time),
            process::last_lines(&error.to_string(), 1)
        ));
    }
    outcome
}

#[derive(Default)]
struct Stages {
    begun: Option<(&'static str, Instant)>,
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        say(format_args!("\n== {name}"));
        let begun = Instant::now();
        self.begun = Some((name, begun));
        stage()?;
        self.done.push((name, begun.elapsed()));
        Ok(())
    }
}

fn all(project: &Project, fast: bool, stages: &mut Stages) -> Result<()> {
    let cargo = |arguments: &[&str]| process::run(project.cargo().args(arguments));
    stages.run("format", || cargo(&["fmt", "--all", "--check"]))?;
    stages.run("lints", || {
        cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ])
    })?;
    stages.run("tests", || cargo(&["test", "--quiet", "--workspace"]))?;
    stages.run("templates", || validate_templates(project))?;
    if !fast {
        stages.run("system", || system(project))?;
    }
    Ok(())
}

fn validate_templates(project: &Project) -> Result<()> {
    tools::SAM.install(project)?;
    for template in templates(project)? {
        let shown = template
            .strip_prefix(project.root())
            .unwrap_or(&template)
            .display()
            .to_string();
        process::capture(
            Command::new(tools::SAM.program(project, "sam"))
                .current_dir(project.root())
                .args([
                    "validate",
                    "--lint",
                    "--region",
                    LOCAL_REGION,
                    "--template-file",
                ])
                .arg(&template)
                .env("SAM_CLI_TELEMETRY", "0"),
        )
        .context(&shown)?;
        say(format_args!("{shown} is valid"));
    }
    Ok(())
}

/// The root's, and those of every folder in `infra` and `functions`.
fn templates(project: &Project) -> Result<Vec<PathBuf>> {
    let mut templates = vec![project.root().join("template.yaml")];
    for folder in ["infra", "functions"] {
        let folder = project.root().join(folder);
        for entry in std::fs::read_dir(&folder).context(folder.display())? {
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

/// The whole system, deployed on an emulator of its own that no other stack
/// notices and that is gone afterwards, however this ends.
fn system(project: &Project) -> Result<()> {
    let home = Home::test(project);
    let _lock = home.lock()?;
    // What a run that was killed may have left.
    local::down(&home, true)?;
    let guard = Guard::start(&home)?;
    let outcome = local::up(project, &home, Some(emulator::free_port()?)).and_then(|_| {
        process::run(
            project
                .cargo()
                // Of the whole workspace, so that what the tests before have
                // built serves here too.
                .args([
                    "test",
                    "--workspace",
                    "--features",
                    "system-tests/system",
                    "--test",
                    "system",
                ])
                .env("WAYBILL_STACK", home.stack()),
        )
    });
    if outcome.is_err() {
        keep_log(project, &home);
    }
    drop(guard);
    local::down(&home, true)?;
    outcome
}

/// The emulator's log of a failed run outlives its stack.
fn keep_log(project: &Project, home: &Home) {
    let kept = project.folder().join("test-emulator.log");
    if std::fs::rename(home.emulator_log(), &kept).is_ok() {
        say(format_args!(
            "the emulator's log is kept in {}",
            kept.display()
        ));
    }
}

/// Ends the stack's emulator should this program be ended before it can.
struct Guard {
    shell: Child,
    alive: Option<ChildStdin>,
}

impl Guard {
    fn start(home: &Home) -> Result<Self> {
        // A line means that all went well; the end of the input without one
        // that this program is gone.
        let script = r#"read -r line && exit 0
            pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$0") && kill -s KILL -- "-$pid""#;
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .arg(home.emulator())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the guard of the test stack")?;
        let alive = shell.stdin.take();
        Ok(Self { shell, alive })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut alive) = self.alive.take() {
            let _ = writeln!(alive, "done");
        }
        let _ = self.shell.wait();
    }
}
