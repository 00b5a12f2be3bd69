//! `cargo xtask sim`: runs the simulation for as long as wanted.

use std::path::Path;
use std::process::Command;

use crate::error::Result;
use crate::process;
use crate::project::Project;
use crate::ui::say;

/// The two simulations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    /// The production handlers and stores on an in-process DynamoDB engine
    Engine,
    /// The decisions of all services in every order of events, for a few orders
    Exhaustive,
}

#[derive(Debug, PartialEq, Eq, clap::Args)]
pub struct Simulation {
    /// Only this tier
    #[arg(long)]
    pub tier: Option<Tier>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// The number of random runs
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Options of the tier itself, to replay and narrow down a failure: `sim --tier engine --
    /// --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, requires = "tier")]
    pub options: Vec<String>,
}

/// The cargo profile for long runs.
const PROFILE: &str = "sim";

/// Builds the programs of these packages in a target directory.
pub fn build(project: &Project, target: &Path, profile: &str, packages: &[&str]) -> Result<()> {
    let mut cargo = project.cargo();
    cargo.args(["build", "--quiet", "--profile", profile]);
    cargo.args(packages.iter().flat_map(|name| ["--package", name]));
    process::run(cargo.arg("--target-dir").arg(target))
}

pub fn run(project: &Project, simulation: &Simulation) -> Result<()> {
    let target = project.root().join("target");
    build(project, &target, PROFILE, &["simulation", "saga-model"])?;
    let tiers = match simulation.tier {
        Some(tier) => vec![tier],
        None => vec![Tier::Exhaustive, Tier::Engine],
    };
    for tier in tiers {
        let (program, mut arguments) = match tier {
            Tier::Engine => {
                say("== the production handlers on a DynamoDB engine");
                let (from, seeds) = (simulation.from.to_string(), simulation.seeds.to_string());
                let range = ["--from".to_owned(), from, "--seeds".to_owned(), seeds];
                ("simulation", range.to_vec())
            }
            Tier::Exhaustive => {
                say("== the decisions of all services, in every order there is");
                ("saga-model", Vec::new())
            }
        };
        arguments.extend(simulation.options.iter().cloned());
        // `cargo run` would build each with its own features, and every dependency again.
        let program = target.join(PROFILE).join(program);
        process::run(Command::new(program).args(arguments))?;
        say("");
    }
    Ok(())
}
