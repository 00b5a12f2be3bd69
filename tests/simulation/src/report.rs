//! Many worlds, their sum, and what to do about the one that went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::chance::Trouble;
use crate::run::{Outcome, Plan, run};

/// The sum of many worlds.
#[derive(Debug, Default)]
pub struct Report {
    pub worlds: u64,
    pub sagas: usize,
    pub calls: u64,
    pub messages: u64,
    pub replayed: u64,
    pub replayed_worlds: u64,
    pub endings: BTreeMap<String, usize>,
    /// Orders whose undoing had to be parked.
    pub parked: usize,
    /// Steps an operator abandoned, by name.
    pub abandoned: BTreeMap<&'static str, usize>,
    pub troubles: BTreeMap<&'static str, u64>,
    /// The hashes of all traces together, whatever the order they came in.
    pub hash: u64,
    /// The worlds that went wrong, by seed.
    pub failures: BTreeMap<u64, Vec<String>>,
}

impl Report {
    fn add(&mut self, outcome: Outcome) {
        self.worlds += 1;
        self.sagas += outcome.sagas;
        self.calls += outcome.calls;
        self.messages += outcome.messages;
        self.replayed += outcome.replayed;
        self.replayed_worlds += u64::from(outcome.replayed > 0);
        self.parked += outcome.parked;
        for (ending, count) in outcome.endings {
            *self.endings.entry(ending).or_default() += count;
        }
        for (step, count) in outcome.abandoned {
            *self.abandoned.entry(step).or_default() += count;
        }
        for (trouble, count) in outcome.troubles {
            *self.troubles.entry(trouble).or_default() += count;
        }
        self.hash = self.hash.wrapping_add(outcome.hash);
        if !outcome.violations.is_empty() {
            self.failures.insert(outcome.seed, outcome.violations);
        }
    }

    /// How many things went wrong on purpose.
    pub fn injected(&self) -> u64 {
        self.troubles.values().sum()
    }
}

/// Runs a world for each seed on all cores, until one goes wrong. `template` says what they have
/// in common.
pub fn run_all(seeds: Range<u64>, template: &Plan, threads: usize) -> Report {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let report = Mutex::new(Report::default());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run(&template.of_seed(seed));
                    if !outcome.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    report
                        .lock()
                        .expect("nobody panics holding it")
                        .add(outcome);
                }
            });
        }
    });
    report.into_inner().expect("nobody panics holding it")
}

/// The smallest plan near this one that still goes wrong: without every kind of trouble that has
/// no part in it, and with as few orders as will do.
pub fn shrink(plan: &Plan) -> Plan {
    let mut smallest = plan.clone();
    let fails = |plan: &Plan| !run(plan).violations.is_empty();
    for trouble in Trouble::ALL {
        if !smallest.without.contains(trouble) {
            let mut without = smallest.without.clone();
            without.push(*trouble);
            let smaller = Plan {
                without,
                ..smallest.clone()
            };
            if fails(&smaller) {
                smallest = smaller;
            }
        }
    }
    for orders in 1..smallest.orders {
        let smaller = Plan {
            orders,
            ..smallest.clone()
        };
        if fails(&smaller) {
            return smaller;
        }
    }
    smallest
}

/// The command that shows one world step by step.
pub fn replay_command(plan: &Plan) -> String {
    let mut command = format!(
        "cargo xtask sim --tier engine --from {} --seeds 1",
        plan.seed
    );
    if plan.orders != Plan::new(0).orders {
        command.push_str(&format!(" --orders {}", plan.orders));
    }
    if !plan.without.is_empty() {
        let names: Vec<&str> = plan.without.iter().map(|trouble| trouble.name()).collect();
        command.push_str(&format!(" --without {}", names.join(",")));
    }
    command + " --trace"
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  worlds, one for each seed", self.worlds)?;
        writeln!(
            f,
            "{:>12}  sagas, every one acknowledged and ended",
            self.sagas
        )?;
        for (ending, count) in &self.endings {
            writeln!(f, "{count:>12}    {ending}")?;
        }
        writeln!(f, "{:>12}  of them were parked on the way", self.parked)?;
        for (step, count) in &self.abandoned {
            writeln!(f, "{count:>12}    had their {step} abandoned")?;
        }
        writeln!(f, "{:>12}  calls to DynamoDB and SQS", self.calls)?;
        writeln!(f, "{:>12}  messages sent", self.messages)?;
        writeln!(
            f,
            "{:>12}  messages replayed at rest, in {} of the worlds",
            self.replayed, self.replayed_worlds
        )?;
        writeln!(f, "{:>12}  troubles", self.injected())?;
        for (trouble, count) in &self.troubles {
            writeln!(f, "{count:>12}    {trouble}")?;
        }
        writeln!(f, "{:>12}  violations", self.failures.len())?;
        write!(
            f,
            "{:>12x}  hash of all traces",
            self.hash & 0xffff_ffff_ffff
        )
    }
}
