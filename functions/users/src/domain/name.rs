//! Names of users.

use shared_lambda::invisible;

const MAX_CHARACTERS: usize = 100;

/// A name. A new one is trimmed and has 1 to 100 visible characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("is empty or has only spaces; send a name")]
    Empty,
    #[error("is longer than {MAX_CHARACTERS} characters")]
    TooLong,
    #[error("contains a control character, such as a line break")]
    ControlCharacter,
    #[error(
        "contains an invisible character, such as a zero-width space or a change of the writing \
         direction; remove it"
    )]
    Invisible,
}

impl UserName {
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.chars().count() > MAX_CHARACTERS {
            return Err(InvalidName::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidName::ControlCharacter);
        }
        if invisible::is_in(text) {
            return Err(InvalidName::Invisible);
        }
        Ok(Self(text.to_owned()))
    }

    /// A stored name, without checks: a stricter rule must not make old rows unreadable.
    pub fn from_record(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
