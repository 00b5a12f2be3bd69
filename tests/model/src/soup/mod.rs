//! The fast tier: from each seed a world in which everything goes wrong that can.
//!
//! [`run`] is production; [`try_services`] takes any [`Services`], which is how tests see that
//! planted faults are found. A violation is shrunk to the smallest world that shows it and told
//! step by step.

mod fault;
mod invariants;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub use fault::{Counts, Fault, Faults};
pub use invariants::{INVARIANTS, Violation};

use crate::chance::mix;
use crate::services::{Production, Services};
use crate::situation::{Situation, Situations};
use world::Account;

/// How many orders contend in one world.
pub const ORDERS: usize = 10;

/// How many seeds one thread takes at a time.
const SEEDS_AT_ONCE: u64 = 64;

/// How many seeds of a smaller world are tried for the same violation.
const SHRINK_SEEDS: u64 = 100;

/// A run stops looking for more after so many.
const MAX_FOUND: usize = 5;

/// What a world is like, besides its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub orders: usize,
    pub faults: Faults,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            orders: ORDERS,
            faults: Faults::all(),
        }
    }
}

/// What a run did and found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub worlds: u64,
    /// Orders that were placed and driven to their end.
    pub sagas: u64,
    pub steps: u64,
    pub sent: u64,
    pub delivered: u64,
    /// Conditional writes that met somebody else's.
    pub conflicts: u64,
    pub faults: Counts,
    pub endings: BTreeMap<&'static str, u64>,
    pub situations: Situations,
    /// Of every step of every world, whatever thread it ran on.
    pub hash: u64,
    pub found: Vec<Found>,
}

/// A violation. A report's first one is in the smallest world that was found to show it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it was seen first.
    pub first_seed: u64,
    pub seed: u64,
    pub scenario: Scenario,
    pub violation: Violation,
    pub trace: Vec<String>,
}

/// Production under every fault, on all cores.
pub fn run(seeds: Range<u64>) -> Report {
    try_services(&Production, seeds, Scenario::default())
}

/// The same of any services and any scenario.
pub fn try_services<S: Services>(services: &S, seeds: Range<u64>, scenario: Scenario) -> Report {
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(Report::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Report::default();
                while mine.found.len() < MAX_FOUND {
                    let from = next.fetch_add(SEEDS_AT_ONCE, Ordering::Relaxed);
                    if from >= seeds.end {
                        break;
                    }
                    for seed in from..seeds.end.min(from + SEEDS_AT_ONCE) {
                        mine.take(seed, scenario, world::run(services, seed, scenario, false));
                        if mine.found.len() >= MAX_FOUND {
                            break;
                        }
                    }
                }
                report
                    .lock()
                    .expect("no thread panics holding it")
                    .merge(mine);
            });
        }
    });
    let mut report = report.into_inner().expect("no thread panics holding it");
    report.found.sort_by_key(|found| found.first_seed);
    report.found.truncate(MAX_FOUND);
    if let Some(first) = report.found.first_mut() {
        *first = shrink(services, first);
    }
    report
}

/// The first violation in the order of the seeds, as it is, and after how many sagas it came.
pub fn first_violation<S: Services>(
    services: &S,
    seeds: Range<u64>,
    scenario: Scenario,
) -> Option<(u64, Found)> {
    let mut report = Report::default();
    for seed in seeds {
        report.take(seed, scenario, world::run(services, seed, scenario, false));
        if let Some(found) = report.found.pop() {
            return Some((report.sagas, found));
        }
    }
    None
}

/// One seed, with what happened in it step by step.
pub fn replay<S: Services>(services: &S, seed: u64, scenario: Scenario) -> (Vec<String>, Report) {
    let mut account = world::run(services, seed, scenario, true);
    let narration = std::mem::take(&mut account.narration);
    let mut report = Report::default();
    report.take(seed, scenario, account);
    (narration, report)
}

/// Fewer orders, then fewer kinds of faults, as long as some seed still breaks an invariant; of the
/// seeds of the smallest such world, the one that breaks one first. It may be another invariant
/// than before: one fault breaks several, and the one that breaks soonest is nearest to the cause.
pub fn shrink<S: Services>(services: &S, found: &Found) -> Found {
    let again = |scenario: Scenario| {
        let tried = (0..SHRINK_SEEDS).map(|more| found.first_seed.wrapping_add(more));
        tried
            .filter_map(|seed| {
                let violation = world::run(services, seed, scenario, false).violation?;
                Some((seed, violation))
            })
            .min_by_key(|(_, violation)| violation.step)
            .map(|(seed, violation)| Found {
                seed,
                scenario,
                violation,
                ..found.clone()
            })
    };
    let mut best = found.clone();
    for orders in 1..best.scenario.orders {
        if let Some(smaller) = again(Scenario {
            orders,
            ..best.scenario
        }) {
            best = smaller;
            break;
        }
    }
    for fault in Fault::ALL {
        let faults = best.scenario.faults.without(*fault);
        if let Some(smaller) = again(Scenario {
            faults,
            ..best.scenario
        }) {
            best = smaller;
        }
    }
    best.trace = replay(services, best.seed, best.scenario).0;
    best
}

impl Report {
    fn take(&mut self, seed: u64, scenario: Scenario, account: Account) {
        self.worlds += 1;
        self.sagas += account.sagas;
        self.steps += account.steps;
        self.sent += account.sent;
        self.delivered += account.delivered;
        self.conflicts += account.conflicts;
        self.faults.merge(&account.faults);
        self.situations.merge(&account.situations);
        for (ending, count) in account.endings {
            *self.endings.entry(ending).or_default() += count;
        }
        self.hash = self.hash.wrapping_add(mix(account.hash ^ mix(seed)));
        if let Some(violation) = account.violation {
            self.found.push(Found {
                first_seed: seed,
                seed,
                scenario,
                violation,
                trace: Vec::new(),
            });
        }
    }

    fn merge(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.sagas += other.sagas;
        self.steps += other.steps;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.conflicts += other.conflicts;
        self.faults.merge(&other.faults);
        self.situations.merge(&other.situations);
        for (ending, count) in other.endings {
            *self.endings.entry(ending).or_default() += count;
        }
        self.hash = self.hash.wrapping_add(other.hash);
        self.found.extend(other.found);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} sagas in {} worlds: {} steps, {} messages sent, {} delivered, {} writes overtaken",
            self.sagas, self.worlds, self.steps, self.sent, self.delivered, self.conflicts
        )?;
        writeln!(f, "{} faults:", self.faults.total())?;
        for fault in Fault::ALL {
            writeln!(f, "{:>12}  {}", self.faults.of(*fault), fault.as_str())?;
        }
        writeln!(f, "endings:")?;
        for (ending, count) in &self.endings {
            writeln!(f, "{count:>12}  {ending}")?;
        }
        writeln!(f, "situations:")?;
        for situation in Situation::ALL {
            let count = self.situations.of(*situation);
            if count > 0 {
                writeln!(f, "{count:>12}  {}", situation.as_str())?;
            }
        }
        writeln!(f, "trace {:016x}", self.hash)?;
        writeln!(f, "{} violations", self.found.len())?;
        for found in &self.found {
            write!(f, "\n{found}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\"{}\" does not hold: {} (order {}, step {}; first seen under seed {})",
            self.violation.invariant,
            self.violation.detail,
            self.violation.order,
            self.violation.step,
            self.first_seed,
        )?;
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(
            f,
            "again: cargo xtask sim --tier pure --from {} --seeds 1 --orders {} --faults {:#x} --trace",
            self.seed,
            self.scenario.orders,
            self.scenario.faults.bits(),
        )
    }
}
