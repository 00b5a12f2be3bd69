//! Starts, updates and stops a local stack.

use std::path::Path;
use std::thread;

use crate::aws::{Aws, LOCAL_REGION};
use crate::build::{self, Built};
use crate::deploy::{Deployer, Plan, Template};
use crate::emulator::{self, Condition, Emulator};
use crate::error::{Context, Error, Result};
use crate::keys::{self, Names, Pair};
use crate::project::{Project, Service};
use crate::samconfig;
use crate::seed;
use crate::stack::{LOCAL_PREFIX, Stack, base_url, endpoint};
use crate::state::Home;
use crate::tools::{self, Tool};
use crate::ui::{Step, count, say};

/// Updates the stack in `home` from the sources. The caller holds the lock.
pub fn up(project: &Project, home: &Home, asked_port: Option<u16>) -> Result<Stack> {
    let services = project.services()?;
    prepare(project, &[], || build::build(project, &services))?;
    start(project, home, asked_port, &services)
}

/// Starts a stack whose functions are built.
pub fn start(
    project: &Project,
    home: &Home,
    asked_port: Option<u16>,
    services: &[Service],
) -> Result<Stack> {
    let emulator = run_emulator(project, home, asked_port)?;
    let endpoint = endpoint(emulator.port);
    let aws = Aws::local(&endpoint);
    let key_set = ensure_keys(&aws)?;
    let stack = Stack {
        prefix: LOCAL_PREFIX.to_owned(),
        region: LOCAL_REGION.to_owned(),
        port: emulator.port,
        endpoint: endpoint.clone(),
        // The gateway's template uses the prefix as the API's id.
        api_id: LOCAL_PREFIX.to_owned(),
        base_url: base_url(emulator.port, LOCAL_PREFIX),
        admin: seed::account(&aws)?,
        deployed: false,
    };
    // Written before the deployment, so that a failed one can be inspected.
    stack.write(&home.stack())?;
    deploy(project, &aws, &stack, services, &key_set)?;
    let step = Step::begin("seed");
    let seeded = seed::seed(&aws, &stack)?;
    step.end(if seeded {
        "demo items and a demo admin"
    } else {
        "as before"
    });
    Ok(stack)
}

/// Stops the stack in `home`. The caller holds the lock.
pub fn down(home: &Home, wipe: bool) -> Result<()> {
    let step = Step::begin("emulator");
    match emulator::condition(home) {
        Condition::Running(emulator) if wipe => {
            emulator.kill(home);
            step.end("stopped");
        }
        Condition::Running(emulator) => {
            step.note("saving its state and stopping");
            emulator.stop(home)?;
            step.end("stopped; cargo xtask up continues from here");
        }
        Condition::Lost(emulator) => {
            emulator.kill(home);
            std::fs::remove_file(home.emulator()).context(home.emulator().display())?;
            step.end("had ended before; its processes were stopped");
        }
        Condition::Stopped => step.end("is not running"),
    }
    if wipe {
        home.wipe()?;
        say(format_args!("{:>10}  forgotten", "state"));
    }
    Ok(())
}

/// Installs missing tools while `functions` builds: those of every stack, and `more`.
pub fn prepare(
    project: &Project,
    more: &[Tool],
    functions: impl FnOnce() -> Result<Built>,
) -> Result<()> {
    let needed = [tools::SAM, tools::MINISTACK];
    let missing: Vec<Tool> = needed
        .iter()
        .chain(more)
        .copied()
        .filter(|tool| !tool.is_installed(project))
        .collect();
    if missing
        .iter()
        .any(|tool| tool.pin() == tools::MINISTACK.pin())
        && let Condition::Running(_) = emulator::condition(&Home::developer(project))
    {
        return Err(Error::new(
            "the emulator's version changes; run cargo xtask down first",
        ));
    }
    if !missing.is_empty() {
        // Fails before minutes are spent on the build.
        tools::find_python()?;
    }
    thread::scope(|scope| {
        let installing: Vec<_> = missing
            .iter()
            .map(|tool| {
                scope.spawn(|| {
                    let step = Step::begin("tools");
                    step.note(format!("installing {}", tool.pin()));
                    tool.install(project)?;
                    step.end(tool.pin());
                    Ok(())
                })
            })
            .collect();
        let step = Step::begin("build");
        step.note("the functions");
        let built = functions();
        if let Ok(built) = &built {
            step.end(format!(
                "{}, {} changed",
                count(built.functions, "function"),
                built.changed
            ));
        }
        for thread in installing {
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::new("the installation of a tool crashed")))?;
        }
        built.map(|_| ())
    })
}

fn run_emulator(project: &Project, home: &Home, asked_port: Option<u16>) -> Result<Emulator> {
    let step = Step::begin("emulator");
    match emulator::condition(home) {
        Condition::Running(running) => {
            if let Some(port) = asked_port.filter(|port| *port != running.port) {
                return Err(Error::new(format!(
                    "the stack is running on port {}; run cargo xtask down before choosing port \
                     {port}",
                    running.port
                )));
            }
            step.end(format!("already on port {}", running.port));
            return Ok(running);
        }
        Condition::Lost(lost) => {
            step.note("it had ended without `down`; continuing from the last saved state");
            lost.kill(home);
        }
        Condition::Stopped => {}
    }
    let last_port = Stack::read(&home.stack()).ok().map(|stack| stack.port);
    let port = emulator::choose_port(asked_port, last_port)?;
    if let Some(last) = last_port.filter(|last| *last != port) {
        emulator::move_state(home, last, port)?;
    }
    home.delete_log()?;
    let started = emulator::start(&tools::MINISTACK.program(project, "python"), home, port)?;
    step.end(format!("on port {port}"));
    Ok(started)
}

fn ensure_keys(aws: &Aws) -> Result<String> {
    let step = Step::begin("keys");
    let names = Names::own(LOCAL_PREFIX);
    step.end(match keys::ensure(aws, &names, None)? {
        Pair::Made => "a new signing key",
        Pair::Kept => "as before",
    });
    keys::key_set(aws, &names)?.context("the key set is gone from the parameter store")
}

/// Deploys the gateway first, because the services add routes to it; then the services in parallel.
fn deploy(
    project: &Project,
    aws: &Aws,
    stack: &Stack,
    services: &[Service],
    key_set: &str,
) -> Result<()> {
    let plan = |name: &str, template: &Path| part(stack, name, template, key_set);
    let deployer = Deployer::new(project, aws, &stack.endpoint)?;
    let gateway = plan("gateway", &project.gateway_template())?;
    deployer.prepare()?;
    deploy_one(&deployer, &gateway)?;
    thread::scope(|scope| {
        let running: Vec<_> = services
            .iter()
            .map(|service| {
                let plan = &plan;
                let deployer = &deployer;
                scope.spawn(move || deploy_one(deployer, &plan(&service.name, &service.template)?))
            })
            .collect();
        // Joins all threads, so that one failure does not hide another.
        let outcomes: Vec<_> = running
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Error::new("a deployment crashed")))
            })
            .collect();
        let failures: Vec<String> = outcomes
            .into_iter()
            .filter_map(|outcome| outcome.err().map(|error| error.to_string()))
            .collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::new(failures.join("\n\n")))
        }
    })
}

/// A service alone, or the gateway.
pub fn part(stack: &Stack, name: &str, template: &Path, key_set: &str) -> Result<Plan> {
    Plan::new(
        &stack.name(name),
        Template::read(template)?,
        &values(stack)?,
        key_set,
    )
}

/// The whole installation from the root template, as on AWS. `up` deploys its parts instead and
/// skips unchanged ones.
pub fn root(project: &Project, stack: &Stack, key_set: &str) -> Result<Plan> {
    let template = Template::read(&project.root().join("template.yaml"))?;
    let mut values = values(stack)?.to_vec();
    // The root template derives these itself, as on AWS.
    values.retain(|(name, _)| !name.starts_with("Auth"));
    Plan::new(&stack.prefix, template, &values, key_set)
}

/// The values for the templates' parameters.
pub fn values(stack: &Stack) -> Result<[(&'static str, String); 11]> {
    let names = Names::own(&stack.prefix);
    Ok([
        ("Prefix", stack.prefix.clone()),
        ("AuthJwks", names.set),
        ("AuthSigningKeyParameter", names.signing),
        ("AuthKmsKeyArn", names.kms_key),
        ("AuthIssuer", keys::issuer(&stack.prefix)),
        ("ApiId", stack.api_id.clone()),
        ("ApiUrl", stack.base_url.clone()),
        ("AllowedOrigins", allowed_origins()?),
        ("Architecture", architecture()?.to_owned()),
        // Allows fault injection.
        ("Stage", "dev".to_owned()),
        // The seed, the demo and all tests register from one address.
        ("RegistrationsPerSource", "1000000".to_owned()),
    ])
}

/// The origins of usual development servers, as in the stage dev.
fn allowed_origins() -> Result<String> {
    let mut dev = samconfig::parameters(&Project::find()?, "dev")?;
    dev.remove("AllowedOrigins")
        .context("samconfig.toml: AllowedOrigins")
}

fn deploy_one(deployer: &Deployer<'_>, plan: &Plan) -> Result<()> {
    let step = Step::begin("deploy");
    if deployer.is_current(plan)? {
        step.end(format!("{} as before", plan.stack));
        return Ok(());
    }
    step.note(&plan.stack);
    deployer.deploy(plan)?;
    step.end(match plan.functions() {
        0 => plan.stack.clone(),
        functions => format!("{}, {}", plan.stack, count(functions, "function")),
    });
    Ok(())
}

/// The emulator runs functions as processes of this machine.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x86_64"),
        "aarch64" => Ok("arm64"),
        other => Err(Error::new(format!(
            "Lambda has no {other} functions, so this machine cannot run them"
        ))),
    }
}
