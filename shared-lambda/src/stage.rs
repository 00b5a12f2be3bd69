//! Which stage a function runs in, for the few things that production alone refuses.

use std::fmt;

/// Where a function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Stage {
    Dev,
    Staging,
    Production,
}

/// A stage nobody knows. Taking it for some stage or other would be a guess about production, so a
/// function does not start with it.
#[derive(thiserror::Error)]
#[error("STAGE is {0:?}; it is one of dev, staging and production")]
pub struct UnknownStage(String);

/// A `main` that fails prints its error's `Debug`: that is what an operator reads.
impl fmt::Debug for UnknownStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Stage {
    /// Reads `STAGE`.
    ///
    /// # Errors
    ///
    /// When it is no known stage.
    pub fn parse(text: &str) -> Result<Self, UnknownStage> {
        match text {
            "dev" => Ok(Self::Dev),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            _ => Err(UnknownStage(text.to_owned())),
        }
    }

    /// Whether something may be made to go wrong on purpose.
    pub fn allows_faults(self) -> bool {
        match self {
            Self::Dev | Self::Staging => true,
            Self::Production => false,
        }
    }
}
