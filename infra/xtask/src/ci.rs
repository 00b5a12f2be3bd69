//! `cargo xtask ci`: the steps of a service's pipeline, which the workflows run one by one.

pub mod stage;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, Subcommand, ValueEnum};

use crate::error::{Context, Error, Result};
use crate::project::{GATEWAY, Project, Service};
use crate::state::Home;
use crate::ui::{put, say};
use crate::{build, changed, check, compat, deploy, functions, process};
use stage::{Installation, Stage};

/// The modules of the system tests that use a stack over HTTP alone.
const OVER_HTTP: [&str; 4] = ["access::", "bad_input::", "catalogue::", "journeys::"];

#[derive(Debug, PartialEq, Eq, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Ci {
    #[command(subcommand)]
    question: Option<Question>,
    #[command(flatten)]
    run: Option<Run>,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
enum Question {
    /// Print the services that changed files concern, one on a line
    Changed {
        /// Paths from the project's root
        files: Vec<String>,
        /// Take the files that differ from this commit; an empty text means all services
        #[arg(long, conflicts_with = "files")]
        base: Option<String>,
    },
}

#[derive(Debug, PartialEq, Eq, Args)]
struct Run {
    /// A folder below functions/, or gateway
    service: String,
    step: Step,
    /// dev, staging, production, or pr-NUMBER for a stage that is thrown away
    #[arg(required_if_eq_any([("step", "deploy"), ("step", "system-test"), ("step", "remove")]))]
    stage: Option<Stage>,
    /// Work in the AWS account whose keys are in the environment, not on the local stack
    #[arg(long)]
    aws: bool,
    /// Build for the local stack, not for AWS
    #[arg(long)]
    local: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Check the format, the lints and the rules
    Check,
    /// Run the tests of the service and of the services that use its contracts, and `compat`
    Test,
    /// Build the functions once and put them with their template into target/ci/SERVICE.tar.gz
    Build,
    /// Deploy the built archive to a stage
    Deploy,
    /// Run the system tests that need HTTP alone on a stage that is thrown away
    SystemTest,
    /// Delete a stage that is thrown away, with its tables
    Remove,
}

pub fn run(project: &Project, home: &Home, ci: &Ci) -> Result<()> {
    if let Some(Question::Changed { files, base }) = &ci.question {
        let services = match base {
            Some(base) => changed::since(project, base)?,
            None => {
                let workspace = changed::Workspace::read(project)?;
                files
                    .iter()
                    .flat_map(|file| workspace.concerned(file))
                    .collect()
            }
        };
        put(services.into_iter().collect::<Vec<_>>().join("\n"));
        return Ok(());
    }
    let run = ci
        .run
        .as_ref()
        .context("a service and a step are missing")?;
    let service = service(project, &run.service).map_err(Error::not_run)?;
    let stage = run.stage.as_ref();
    let installation = || -> Result<Installation> {
        let stage = stage
            .context("the step needs a stage")
            .map_err(Error::not_run)?;
        Installation::find(project, home, &service.name, stage, run.aws)
    };
    match run.step {
        Step::Check => checked(project, &service),
        Step::Test => tested(project, &service),
        Step::Build => built(project, &service, run.local),
        Step::Deploy => installation()?.deploy(&unpacked(project, &service)?),
        Step::SystemTest => {
            let mut cargo = project.cargo();
            cargo.args(["test", "--quiet", "--workspace", "--test", "system", "--"]);
            installation()?.system_test(cargo.args(OVER_HTTP))
        }
        Step::Remove => installation()?.remove(),
    }
}

/// A service, or the gateway, which is deployed like one.
pub fn service(project: &Project, name: &str) -> Result<Service> {
    if name == GATEWAY {
        let template = project.gateway_template();
        return Ok(Service {
            name: GATEWAY.to_owned(),
            template,
        });
    }
    check::known(project, name)?;
    let mut services = project.services()?.into_iter();
    services.find(|service| service.name == name).context(name)
}

fn checked(project: &Project, service: &Service) -> Result<()> {
    process::run(project.cargo().args(["fmt", "--all", "--check"]))?;
    if service.name != GATEWAY {
        let mut clippy = project.cargo();
        clippy.args([
            "clippy",
            "--quiet",
            "--all-targets",
            "--package",
            &service.name,
        ]);
        process::run(clippy.args(["--", "-D", "warnings"]))?;
    }
    let rules = ["test", "--quiet", "--workspace", "--test", "rules"];
    process::run(project.cargo().args(rules))
}

fn tested(project: &Project, service: &Service) -> Result<()> {
    let mut tests = changed::Workspace::read(project)?.consumers(&service.name);
    if service.name != GATEWAY {
        tests.insert(service.name.clone());
    }
    if tests.is_empty() {
        say("the gateway has no code to test");
        return Ok(());
    }
    let named = tests.iter().flat_map(|name| ["--test", name]);
    process::run(
        project
            .cargo()
            .args(["test", "--quiet", "--workspace"])
            .args(named),
    )?;
    let recorded = format!("functions/{}/tests/golden/written.jsonl", service.name);
    match project.root().join(recorded).is_file() {
        true => compat::run(project, process::run),
        false => Ok(()),
    }
}

/// The folder of archives.
pub fn folder(project: &Project) -> PathBuf {
    project.root().join("target/ci")
}

fn archive(project: &Project, service: &Service) -> PathBuf {
    folder(project).join(format!("{}.tar.gz", service.name))
}

fn built(project: &Project, service: &Service, local: bool) -> Result<()> {
    let services = std::slice::from_ref(service);
    if service.name != GATEWAY && local {
        build::build(project, services)?;
    } else if service.name != GATEWAY {
        functions::bundle(project, services, false)?;
    }
    pack(project, service)
}

/// Packs the template and the built functions that it names, at their places in the project. A tar
/// archive keeps the permission to execute, which an artifact of GitHub loses.
pub fn pack(project: &Project, service: &Service) -> Result<()> {
    let template = deploy::Template::read(&service.template)?;
    let root = project.root().canonicalize().context("the project")?;
    let archive = archive(project, service);
    fs::create_dir_all(folder(project)).context("target/ci")?;
    let mut tar = Command::new("tar");
    tar.current_dir(&root).arg("-czf").arg(&archive);
    for file in template.code().iter().chain([&service.template]) {
        let file = file
            .canonicalize()
            .context(format!("{} is not built", file.display()))?;
        tar.arg(file.strip_prefix(&root).unwrap_or(&file));
    }
    process::run(&mut tar)?;
    say(format_args!("built {}", archive.display()));
    Ok(())
}

/// The template of the unpacked archive.
pub fn unpacked(project: &Project, service: &Service) -> Result<PathBuf> {
    let (archive, name) = (archive(project, service), &service.name);
    if !archive.is_file() {
        return Err(Error::new(format!(
            "{} is missing; run cargo xtask ci {name} build first",
            archive.display()
        )));
    }
    let folder = folder(project).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).context(folder.display())?;
    }
    fs::create_dir_all(&folder).context(folder.display())?;
    process::run(
        Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(&folder),
    )?;
    let template = service.template.strip_prefix(project.root());
    Ok(folder.join(template.unwrap_or(&service.template)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_step_that_deploys_needs_a_stage() {
        let parsed = |line: &str| Cli::try_parse_from(line.split_whitespace());
        for line in [
            "xtask ci changed",
            "xtask ci changed --base origin/main",
            "xtask ci changed functions/orders/src/lib.rs",
            "xtask ci orders check",
            "xtask ci orders build --local",
            "xtask ci orders deploy pr-7 --aws",
            "xtask ci gateway deploy staging",
        ] {
            parsed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for line in [
            "xtask ci",
            "xtask ci orders",
            "xtask ci orders deploy",
            "xtask ci orders system-test",
            "xtask ci orders remove",
            "xtask ci orders deploy pr-x",
            "xtask ci orders deploy prod",
            "xtask ci orders fly",
        ] {
            parsed(line).expect_err(line);
        }
    }

    #[test]
    fn an_unknown_service_is_refused_with_the_known_ones() {
        let project = Project::find().expect("tests run inside the project");
        let error = service(&project, "paymnets").expect_err("it is misspelt");
        assert!(
            error
                .to_string()
                .contains("inventory, orders, payments, site, users"),
            "{error}"
        );
        assert_eq!(
            service(&project, GATEWAY).expect("it is there").name,
            GATEWAY
        );
    }
}
