//! Runs many worlds, sums up their outcomes and shrinks the first failure.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::fault_profile::FaultKind;
use crate::run::{Outcome, Plan, run};

/// The sum over many worlds.
#[derive(Debug, Default)]
pub struct Report {
    pub worlds: u64,
    pub sagas: usize,
    pub calls: u64,
    pub messages: u64,
    pub replayed: u64,
    pub replayed_worlds: u64,
    pub endings: BTreeMap<String, usize>,
    /// Orders with a parked compensation.
    pub parked: usize,
    /// Abandoned steps, by name.
    pub abandoned: BTreeMap<&'static str, usize>,
    pub faults: BTreeMap<&'static str, u64>,
    /// The sum of the hashes of all traces; independent of their order.
    pub hash: u64,
    /// The violations of each failed world, by seed.
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
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.hash = self.hash.wrapping_add(outcome.hash);
        if !outcome.violations.is_empty() {
            self.failures.insert(outcome.seed, outcome.violations);
        }
    }

    /// The count of injected faults and actions.
    pub fn injected(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Runs a world for each seed until one fails. `template` holds the other settings.
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
                        .expect("no thread panics while it holds the lock")
                        .add(outcome);
                }
            });
        }
    });
    report
        .into_inner()
        .expect("no thread panics while it holds the lock")
}

/// The smallest plan that still fails: without the kinds of fault that are not needed, and with the
/// fewest orders.
pub fn shrink(plan: &Plan) -> Plan {
    let mut smallest = plan.clone();
    let fails = |plan: &Plan| !run(plan).violations.is_empty();
    for fault in FaultKind::ALL {
        if !smallest.without.contains(fault) {
            let mut without = smallest.without.clone();
            without.push(*fault);
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

/// The command that traces one world.
pub fn replay_command(plan: &Plan) -> String {
    let mut command = format!(
        "cargo xtask sim --tier engine --from {} --seeds 1",
        plan.seed
    );
    if plan.orders != Plan::new(0).orders {
        command.push_str(&format!(" --orders {}", plan.orders));
    }
    if !plan.without.is_empty() {
        let names: Vec<&str> = plan.without.iter().map(|fault| fault.name()).collect();
        command.push_str(&format!(" --without {}", names.join(",")));
    }
    command + " --trace"
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  worlds, one for each seed", self.worlds)?;
        writeln!(f, "{:>12}  sagas, all acknowledged and ended", self.sagas)?;
        for (ending, count) in &self.endings {
            writeln!(f, "{count:>12}    {ending}")?;
        }
        writeln!(f, "{:>12}  of them were parked", self.parked)?;
        for (step, count) in &self.abandoned {
            writeln!(f, "{count:>12}    had their {step} abandoned")?;
        }
        writeln!(f, "{:>12}  calls to DynamoDB and SQS", self.calls)?;
        writeln!(f, "{:>12}  messages sent", self.messages)?;
        writeln!(
            f,
            "{:>12}  messages replayed, in {} of the worlds",
            self.replayed, self.replayed_worlds
        )?;
        writeln!(f, "{:>12}  injected faults and actions", self.injected())?;
        for (fault, count) in &self.faults {
            writeln!(f, "{count:>12}    {fault}")?;
        }
        writeln!(f, "{:>12}  violations", self.failures.len())?;
        write!(
            f,
            "{:>12x}  hash of all traces",
            self.hash & 0xffff_ffff_ffff
        )
    }
}
