//! The one error of this tool: a sentence for the person at the terminal.

use std::fmt;

/// A program's exit code where it was not carried out.
pub const NOT_CARRIED_OUT: u8 = 3;

pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong and, where there is one, what to do about it.
#[derive(Debug)]
pub struct Error {
    message: String,
    meaning: Meaning,
}

/// What its exit code tells a script.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    Failed,
    Undecided,
    NotCarriedOut,
}

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            meaning: Meaning::Failed,
        }
    }

    /// Nothing is known to be wrong, but it could not be told.
    pub fn undecided(message: impl Into<String>) -> Self {
        Self {
            meaning: Meaning::Undecided,
            ..Self::new(message)
        }
    }

    /// What was to be found out could not even be looked for.
    pub fn not_carried_out(self) -> Self {
        Self {
            meaning: Meaning::NotCarriedOut,
            ..self
        }
    }

    /// What this program ends with.
    pub fn exit_code(&self) -> u8 {
        match self.meaning {
            Meaning::Failed => 1,
            Meaning::Undecided => 2,
            Meaning::NotCarriedOut => NOT_CARRIED_OUT,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Says what was being done when something failed.
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
