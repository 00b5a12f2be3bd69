//! What a search did and found.

use std::fmt;
use std::time::Duration;

use super::config::Config;
use crate::situation::Situation;

/// What a search did and found.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub config: Config,
    /// Distinct conditions a single order can be in, messages included.
    pub shares: usize,
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub time: Duration,
    pub seen: Vec<Situation>,
    /// What should have been seen and was not.
    pub missed: Vec<Situation>,
    pub counterexample: Option<Counterexample>,
}

/// A shortest way to something that must not be.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub why: String,
    pub trace: Vec<String>,
}

impl Outcome {
    /// Nothing that must not be, and everything that must be seen.
    pub fn holds(&self) -> bool {
        self.counterexample.is_none() && self.missed.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.config)?;
        writeln!(
            f,
            "{} states, {} transitions, depth {}; {} conditions of one order; {:.1} s",
            self.states,
            self.transitions,
            self.depth,
            self.shares,
            self.time.as_secs_f64()
        )?;
        writeln!(f, "{} situations seen", self.seen.len())?;
        match &self.counterexample {
            None => {
                for missed in &self.missed {
                    writeln!(f, "NOT SEEN: {}", missed.as_str())?;
                }
                writeln!(f, "0 counterexamples")
            }
            Some(found) => {
                writeln!(
                    f,
                    "COUNTEREXAMPLE, at which the search ended: {}",
                    found.why
                )?;
                for line in &found.trace {
                    writeln!(f, "  {line}")?;
                }
                Ok(())
            }
        }
    }
}
