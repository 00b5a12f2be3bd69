//! `cargo xtask api`: the linters of the API's documents, and Schemathesis on a stack of its own.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Result;
use crate::guard::Guard;
use crate::local;
use crate::process;
use crate::project::Project;
use crate::stack::Stack;
use crate::state::Home;
use crate::tools::{CLIENTS, NODE, SCHEMATHESIS};

/// For each operation.
const EXAMPLES: u32 = 200;

pub fn run(project: &Project) -> Result<()> {
    lint(project, process::run)?;
    let home = Home::test(project, 0);
    let _lock = home.lock()?;
    local::down(&home, true)?;
    let guard = Guard::start(&home)?;
    let outcome = local::up(project, &home, None)
        .and_then(|stack| process::run(&mut schemathesis(project, &stack, EXAMPLES)?));
    let removed = local::down(&home, true);
    guard.end(removed.is_ok());
    outcome.and(removed)
}

/// An error or a warning of a linter is a failure.
pub fn lint(project: &Project, run: impl Fn(&mut Command) -> Result<()>) -> Result<()> {
    NODE.install(project)?;
    let documents = |name: &str| -> Result<Vec<PathBuf>> {
        let served = project.root().join("functions/site/pages");
        let mut paths = vec![served.join(format!("{name}.json"))];
        for service in project.services()? {
            paths.push(service.template.with_file_name(format!("{name}.yaml")));
        }
        paths.retain(|path| path.is_file());
        Ok(paths)
    };
    let validator = project.root().join(CLIENTS).join("asyncapi.cjs");
    let validator = validator.to_string_lossy();
    for (name, command) in [
        (
            "openapi",
            ["redocly", "lint", "--extends=recommended-strict"],
        ),
        ("openapi", ["spectral", "lint", "--fail-severity=hint"]),
        ("asyncapi", ["node", "--no-warnings", &validator]),
    ] {
        let mut linter = NODE.command(project, command[0])?;
        linter.current_dir(project.root()).args(&command[1..]);
        linter
            .env("REDOCLY_TELEMETRY", "off")
            .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
        run(linter.args(documents(name)?))?;
    }
    Ok(())
}

/// Requests with a fixed seed, so that a failure comes again.
pub fn schemathesis(project: &Project, stack: &Stack, examples: u32) -> Result<Command> {
    SCHEMATHESIS.install(project)?;
    let folder = project.root().join(CLIENTS);
    let mut command = SCHEMATHESIS.command(project, "st")?;
    command
        .current_dir(project.folder())
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", stack.base_url))
        .args(["--url", &stack.base_url])
        .args(["--max-examples", &examples.to_string()])
        .env("PYTHONPATH", &folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("WAYBILL_URL", &stack.base_url)
        .env("WAYBILL_EMAIL", &stack.admin.email)
        .env("WAYBILL_PASSWORD", &stack.admin.password);
    Ok(command)
}
