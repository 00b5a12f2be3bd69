//! What items and their stock are described with alike: SKUs, and texts that people read.

use std::fmt;

use shared_lambda::invisible;

pub const MAX_SKU_CHARS: usize = 64;

/// What an item is known by, chosen by whoever creates it and never changed. Capitals count: `ABC` and
/// `abc` are two items.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sku(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a SKU: 1 to {MAX_SKU_CHARS} letters, digits, dots, underscores or hyphens, beginning with a letter or digit"
)]
pub struct InvalidSku;

impl Sku {
    /// Of a new item.
    pub fn parse(text: &str) -> Result<Self, InvalidSku> {
        Self::stored(text)
    }

    /// Of an item that exists: in a row, a message or a path. Takes whatever `parse` has ever taken.
    pub fn stored(text: &str) -> Result<Self, InvalidSku> {
        let mut bytes = text.bytes();
        let begins_well = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let goes_on_well =
            bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if begins_well && goes_on_well && text.len() <= MAX_SKU_CHARS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSku)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is something a person can read: not blank, not too long, and nothing in it that
/// cannot be seen, control characters included.
pub(super) fn is_readable(text: &str, max_chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max_chars && !invisible::is_in(text)
}
