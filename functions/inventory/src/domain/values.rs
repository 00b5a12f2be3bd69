//! Values shared by items and stock: SKUs and readable texts.

use std::fmt;

use shared_lambda::invisible;

pub const MAX_SKU_CHARS: usize = 64;

/// An item's identifier, which never changes. It is case-sensitive: `ABC` and `abc` are two items.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sku(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a SKU: send 1 to {MAX_SKU_CHARS} letters, digits, dots, underscores or hyphens, beginning with a letter or digit"
)]
pub struct InvalidSku;

impl Sku {
    /// A new item's SKU.
    pub fn parse(text: &str) -> Result<Self, InvalidSku> {
        Self::stored(text)
    }

    /// An existing item's SKU, in a row, a message or a path. It accepts every SKU that `parse` has
    /// ever accepted.
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

/// Whether a text is readable: not blank, not too long, without invisible and control characters.
pub(super) fn is_readable(text: &str, max_chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max_chars && !invisible::is_in(text)
}
