//! `cargo xtask sim`: the proof that nothing is lost and nothing happens twice, as long as one likes.

use std::path::Path;
use std::process::Command;

use crate::error::Result;
use crate::process;
use crate::project::Project;
use crate::ui::say;

/// Which of the three ways of proving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    /// The production handlers and stores on a DynamoDB engine in process.
    Engine,
    /// The decisions of all services on rows in memory.
    Pure,
    /// The same decisions in every order there is, for a few orders.
    Exhaustive,
}

/// What to simulate.
#[derive(Debug, PartialEq, Eq, clap::Args)]
pub struct Simulation {
    /// Only this tier
    #[arg(long)]
    pub tier: Option<Tier>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// How many worlds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// What the tier itself takes, to replay and narrow down a failure: `sim --tier engine -- --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, requires = "tier")]
    pub options: Vec<String>,
}

/// The cargo profile of what is run for long.
const PROFILE: &str = "sim";

/// A world of the pure tier costs so much less than one of the engine's.
const PURE_SEEDS_PER_SEED: u64 = 11;

/// The programs of the tiers, in the folder of the profile in a target directory.
pub fn build(project: &Project, target: &Path, profile: &str) -> Result<()> {
    let mut cargo = project.cargo();
    cargo.args(["build", "--quiet", "--profile", profile]);
    cargo.args(["--package", "simulation", "--package", "saga-model"]);
    process::run(cargo.arg("--target-dir").arg(target))
}

pub fn run(project: &Project, simulation: &Simulation) -> Result<()> {
    let target = project.root().join("target");
    build(project, &target, PROFILE)?;
    let tiers = match simulation.tier {
        Some(tier) => vec![tier],
        None => vec![Tier::Exhaustive, Tier::Pure, Tier::Engine],
    };
    for tier in tiers {
        let (program, mut arguments) = match tier {
            Tier::Engine => {
                say("== the production handlers on a DynamoDB engine");
                ("simulation", range(simulation, 1))
            }
            Tier::Pure => {
                say("== the decisions of all services, on rows in memory");
                let mut arguments = vec!["soup".to_owned()];
                // One that is looked at by itself is one.
                let times = match simulation.options.is_empty() && simulation.tier.is_none() {
                    true => PURE_SEEDS_PER_SEED,
                    false => 1,
                };
                arguments.extend(range(simulation, times));
                ("saga-model", arguments)
            }
            Tier::Exhaustive => {
                say("== the decisions of all services, in every order there is");
                ("saga-model", vec!["exhaustive".to_owned()])
            }
        };
        arguments.extend(simulation.options.iter().cloned());
        // As they were built together: `cargo run` would build each with features of its own, and
        // every dependency with it.
        let program = target.join(PROFILE).join(program);
        process::run(Command::new(program).args(arguments))?;
        say("");
    }
    Ok(())
}

fn range(simulation: &Simulation, times: u64) -> Vec<String> {
    vec![
        "--from".to_owned(),
        simulation.from.to_string(),
        "--seeds".to_owned(),
        simulation.seeds.saturating_mul(times).to_string(),
    ]
}
