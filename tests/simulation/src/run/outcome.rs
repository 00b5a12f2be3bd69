//! The outcome of a world.

use std::collections::BTreeMap;

use super::world::World;
use crate::clock::Millis;
use crate::fault_profile::lock_profile;
use crate::invariants::{Step, Violation};

/// The outcome of one world.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    /// Acknowledged orders.
    pub sagas: usize,
    /// Counts of orders by final state and failure code.
    pub endings: BTreeMap<String, usize>,
    pub faults: BTreeMap<&'static str, u64>,
    /// Released calls to AWS.
    pub calls: u64,
    pub messages: u64,
    /// Messages replayed at the end, in the worlds that replay.
    pub replayed: u64,
    /// The simulated time of the run.
    pub lasted: Millis,
    /// The hash of the trace.
    pub hash: u64,
    /// Orders with a parked compensation.
    pub parked: usize,
    /// Abandoned steps, by name, from the orders' timelines.
    pub abandoned: BTreeMap<&'static str, usize>,
    pub violations: Vec<Violation>,
    /// The trace, if requested.
    pub trace: String,
}

impl World {
    pub(super) fn outcome(self) -> Outcome {
        let mut endings = BTreeMap::new();
        for (_, order) in self.ledger.orders() {
            let ending = match &order.failure {
                Some(code) => format!("{} {code}", order.state),
                None => order.state.clone(),
            };
            *endings.entry(ending).or_default() += 1;
        }
        let mut abandoned = BTreeMap::new();
        for step in Step::ALL {
            let orders = self.ledger.orders();
            let count = orders.filter(|(_, order)| order.is_abandoned(step)).count();
            abandoned.insert(step.name(), count);
        }
        let profile = lock_profile(&self.profile);
        Outcome {
            seed: self.plan.seed,
            sagas: self
                .actors
                .clients
                .iter()
                .filter(|client| client.acknowledged)
                .count(),
            endings,
            faults: profile
                .counts()
                .map(|(kind, count)| (kind.name(), count))
                .collect(),
            calls: self.record.calls,
            messages: self.network.history.len() as u64,
            replayed: self.record.replayed,
            parked: self
                .ledger
                .orders()
                .filter(|(_, order)| order.was_parked())
                .count(),
            abandoned,
            lasted: self.system.clock.now(),
            hash: self.record.hash,
            violations: self.record.violations,
            trace: self.record.trace,
        }
    }
}
