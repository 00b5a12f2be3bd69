//! The error of both programs: a sentence for the operator.

use std::fmt;

/// The exit code of a command that did not run.
pub const NOT_RUN: u8 = 3;

pub type Result<T> = std::result::Result<T, Error>;

/// The message names the problem and, if there is one, the next step.
#[derive(Debug)]
pub struct Error {
    message: String,
    meaning: Meaning,
}

/// Decides the exit code.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    Failed,
    Undecided,
    NotRun,
}

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            meaning: Meaning::Failed,
        }
    }

    /// The result is neither good nor bad.
    pub fn undecided(message: impl Into<String>) -> Self {
        Self {
            meaning: Meaning::Undecided,
            ..Self::new(message)
        }
    }

    /// The command did not run.
    pub fn not_run(self) -> Self {
        Self {
            meaning: Meaning::NotRun,
            ..self
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self.meaning {
            Meaning::Failed => 1,
            Meaning::Undecided => 2,
            Meaning::NotRun => NOT_RUN,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Adds the failed action to an error.
pub trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::new(format!("{doing}: {error}")))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, missing: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::new(missing.to_string()))
    }
}
