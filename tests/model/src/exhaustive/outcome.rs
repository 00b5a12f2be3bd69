//! The outcome of a search.

use std::fmt;
use std::time::Duration;

use super::config::Config;
use crate::coverage::CoverageGoal;

#[derive(Clone, Debug)]
pub struct Outcome {
    pub config: Config,
    /// Distinct local states of one order.
    pub locals: usize,
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub time: Duration,
    pub covered: Vec<CoverageGoal>,
    /// Goals that were not reached.
    pub missed: Vec<CoverageGoal>,
    pub counterexample: Option<Counterexample>,
}

/// A shortest path to a violation.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub why: String,
    pub trace: Vec<String>,
}

impl Outcome {
    /// Whether no state violates an invariant and every goal was reached.
    pub fn holds(&self) -> bool {
        self.counterexample.is_none() && self.missed.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.config)?;
        writeln!(
            f,
            "{} states of {}{}, {} transitions, depth {}; {} local states of one order; {:.1} s",
            self.states,
            match self.config.orders {
                1 => "1 order".to_owned(),
                several => format!("{several} orders"),
            },
            if self.config.lossy {
                " with lost messages"
            } else {
                ""
            },
            self.transitions,
            self.depth,
            self.locals,
            self.time.as_secs_f64()
        )?;
        writeln!(f, "{} goals covered", self.covered.len())?;
        match &self.counterexample {
            None => {
                for missed in &self.missed {
                    writeln!(f, "NOT COVERED: {}", missed)?;
                }
                writeln!(f, "0 counterexamples")
            }
            Some(found) => {
                writeln!(f, "COUNTEREXAMPLE: {}", found.why)?;
                for line in &found.trace {
                    writeln!(f, "  {line}")?;
                }
                Ok(())
            }
        }
    }
}
