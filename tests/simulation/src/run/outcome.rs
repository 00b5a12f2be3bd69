//! What happened, step by step and in sum.

use std::collections::BTreeMap;

use super::world::World;
use crate::books::{Step, Violation};
use crate::chance::weather;
use crate::clock::Millis;

/// What became of one world.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    /// Orders that were acknowledged.
    pub sagas: usize,
    /// How they ended: the status and the failure's code.
    pub endings: BTreeMap<String, usize>,
    pub troubles: BTreeMap<&'static str, u64>,
    /// Calls to AWS that were let pass.
    pub calls: u64,
    pub messages: u64,
    /// Messages delivered again once everything was at rest, where that was done.
    pub replayed: u64,
    /// Simulated time from the first order to rest.
    pub lasted: Millis,
    /// The hash of everything that happened, in its order.
    pub hash: u64,
    /// Orders whose undoing had to be parked.
    pub parked: usize,
    /// Steps an operator abandoned, by name, as the orders' timelines have it.
    pub abandoned: BTreeMap<&'static str, usize>,
    pub violations: Vec<Violation>,
    /// Every step, if it was asked for.
    pub trace: String,
}

impl World {
    pub(super) fn outcome(self) -> Outcome {
        let mut endings = BTreeMap::new();
        for (_, order) in self.books.orders() {
            let ending = match &order.failure {
                Some(code) => format!("{} {code}", order.state),
                None => order.state.clone(),
            };
            *endings.entry(ending).or_default() += 1;
        }
        let mut abandoned = BTreeMap::new();
        for step in Step::ALL {
            let orders = self.books.orders();
            let count = orders.filter(|(_, order)| order.is_abandoned(step)).count();
            abandoned.insert(step.name(), count);
        }
        let weather = weather(&self.weather);
        Outcome {
            seed: self.plan.seed,
            sagas: self
                .people
                .clients
                .iter()
                .filter(|client| client.acknowledged)
                .count(),
            endings,
            troubles: weather
                .counts()
                .map(|(kind, came)| (kind.name(), came))
                .collect(),
            calls: self.record.calls,
            messages: self.network.history.len() as u64,
            replayed: self.record.replayed,
            parked: self
                .books
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
