//! E-mail addresses, in one form for comparisons.

use std::fmt;

/// RFC 5321 §4.5.3.1.3 allows a path of 256 octets, two of which are its angle brackets.
const MAX_BYTES: usize = 254;

/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_PART_BYTES: usize = 64;

/// RFC 1035 §2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// An address, trimmed and in lower case. The standards allow a case-sensitive part before the `@`,
/// but common mail providers ignore case. Without this one person could own two accounts by accident.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    #[error("is longer than {MAX_BYTES} characters")]
    TooLong,
    #[error("is not an e-mail address, for example ada@example.com")]
    NotAnAddress,
}

impl Email {
    /// The form browsers accept for `<input type=email>` (HTML Living Standard, "valid e-mail
    /// address"), with a dot in the domain. Before the `@` it is a dot-string: mail programs send to no
    /// other form without quotes (RFC 5321 §4.1.2). ASCII only, so that no two addresses look alike.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        if text.chars().count() > MAX_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        let (local_part, domain) = text.split_once('@').ok_or(InvalidEmail::NotAnAddress)?;
        if is_local_part(local_part) && is_domain(domain) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidEmail::NotAnAddress)
        }
    }

    /// A stored address, without checks: a stricter rule must not make old rows unreadable.
    pub fn from_record(text: String) -> Self {
        Self(text)
    }

    /// The address for a login. Today's rule does not apply, so that a stricter rule locks no owner
    /// out. `None` where it is longer than any rule has allowed.
    pub fn to_look_up(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() <= MAX_BYTES).then(|| Self(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_local_part(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b);
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(allowed);
    text.len() <= MAX_LOCAL_PART_BYTES && text.split('.').all(is_atom)
}

fn is_domain(text: &str) -> bool {
    text.contains('.') && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
