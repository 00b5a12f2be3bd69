//! The settings of one world.

use crate::fault_profile::FaultKind;

/// The settings of one world.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub orders: usize,
    /// Kinds of fault that do not occur.
    pub without: Vec<FaultKind>,
    /// Whether to keep the trace as text.
    pub traced: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            orders: 10,
            without: excluded_kinds(seed),
            traced: false,
        }
    }

    /// The same plan for another seed. The excluded kinds follow the seed, unless they were given.
    pub fn of_seed(&self, seed: u64) -> Self {
        let without = match self.without.as_slice() {
            [] => excluded_kinds(seed),
            kinds => kinds.to_vec(),
        };
        Self {
            seed,
            without,
            ..self.clone()
        }
    }
}

/// In one of ten worlds nothing disturbs the orders, in another only user actions do. The outcome
/// of each order is known there, and no step may need a retry.
const CALM_IN_EVERY: u64 = 10;

/// The kinds that a seed excludes.
fn excluded_kinds(seed: u64) -> Vec<FaultKind> {
    let all = FaultKind::ALL.iter().copied();
    match seed % CALM_IN_EVERY {
        8 => all.collect(),
        9 => all.filter(|kind| !kind.is_user_action()).collect(),
        _ => Vec::new(),
    }
}
