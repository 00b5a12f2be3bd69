//! What one world is made from.

use crate::chance::Trouble;

/// What one world is made from besides the code.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How many orders are placed.
    pub orders: usize,
    /// Kinds of trouble that stay away.
    pub without: Vec<Trouble>,
    /// Whether every step is written down, for somebody to read.
    pub traced: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            orders: 10,
            without: left_out(seed),
            traced: false,
        }
    }

    /// The same with another seed. What stays away goes by the seed, unless somebody said.
    pub fn of_seed(&self, seed: u64) -> Self {
        let without = match self.without.as_slice() {
            [] => left_out(seed),
            kinds => kinds.to_vec(),
        };
        Self {
            seed,
            without,
            ..self.clone()
        }
    }
}

/// Of so many worlds one is quiet, and in one more nothing goes wrong but what people do: there it is
/// known what must become of each order, and what must not have been needed.
const CALM_IN_EVERY: u64 = 10;

/// What stays away from the world of a seed.
fn left_out(seed: u64) -> Vec<Trouble> {
    let all = Trouble::ALL.iter().copied();
    match seed % CALM_IN_EVERY {
        8 => all.collect(),
        9 => all.filter(|kind| !kind.is_of_people()).collect(),
        _ => Vec::new(),
    }
}
