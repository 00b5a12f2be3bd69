//! The stage that a function runs in. Production refuses some features.

use std::fmt;

/// A stage of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Stage {
    Dev,
    Staging,
    Production,
}

/// An unknown stage. A function does not start with it, because a guess could be wrong about
/// production.
#[derive(thiserror::Error)]
#[error("STAGE is {0:?}; it is one of dev, staging and production")]
pub struct UnknownStage(String);

/// Operators read this form: a failing `main` prints its error's `Debug`.
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
    /// When the stage is unknown.
    pub fn parse(text: &str) -> Result<Self, UnknownStage> {
        match text {
            "dev" => Ok(Self::Dev),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            _ => Err(UnknownStage(text.to_owned())),
        }
    }

    /// Whether this stage acts on injected faults.
    pub fn allows_faults(self) -> bool {
        match self {
            Self::Dev | Self::Staging => true,
            Self::Production => false,
        }
    }
}
