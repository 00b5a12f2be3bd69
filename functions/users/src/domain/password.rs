//! The rules for new passwords (NIST SP 800-63B §5.1.1.2): long, not common, not about the owner.
//! No rule asks for digits or symbols, because such rules do not make passwords harder to guess.

use std::cmp::Ordering;
use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::{Email, UserName};

const MIN_CHARACTERS: usize = 12;

/// Longer than any typed password, and short enough to hash quickly.
const MAX_CHARACTERS: usize = 128;

/// The most common passwords of the minimum length or more, after a header that names the source.
/// They are normalized and sorted, so a lookup needs no preparation at cold start.
const COMMONEST: &str = include_str!("../../data/commonest_passwords.txt");

const SERVICE: &str = "waybill";

/// The letters and digits that must remain without the owner's words and the service's name.
const MIN_OWN_CHARACTERS: usize = 8;

/// Shorter words of the owner occur in too many other words.
const MIN_WORD: usize = 3;

/// A password that meets the rules. It is never logged, and stored only as a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Its texts never contain the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsuitablePassword {
    #[error("is shorter than {MIN_CHARACTERS} characters; use a few words in a row")]
    TooShort,
    #[error("is longer than {MAX_CHARACTERS} characters")]
    TooLong,
    #[error("is one of the most common passwords; choose another")]
    TooCommon,
    #[error("is mostly your name, your e-mail address or the word waybill; choose another")]
    TooObvious,
}

impl Password {
    /// Every Unicode character counts as one; none is forbidden or trimmed. An invalid `email` or
    /// `name` is `None`.
    pub fn choose(
        text: &str,
        email: Option<&Email>,
        name: Option<&UserName>,
    ) -> Result<Self, UnsuitablePassword> {
        let text = normalized(text);
        let text = text.as_str();
        let length = text.chars().count();
        if length < MIN_CHARACTERS {
            return Err(UnsuitablePassword::TooShort);
        }
        if length > MAX_CHARACTERS {
            return Err(UnsuitablePassword::TooLong);
        }
        if is_common(text) {
            return Err(UnsuitablePassword::TooCommon);
        }
        if is_obvious(text, email, name) {
            return Err(UnsuitablePassword::TooObvious);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Never shows the password.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// The form in which a password is measured, hashed and compared: every space becomes U+0020, and
/// the rest is composed (NFC). So all keyboards give the same space and the same é (OpaqueString,
/// RFC 8265 §4.2.2; NIST SP 800-63B §5.1.1.2). Unlike OpaqueString it allows joined emoji.
pub fn normalized(text: &str) -> String {
    let space = |c| if is_space(c) { ' ' } else { c };
    text.chars().map(space).nfc().collect()
}

/// The form that old hashes were made of, before spaces were mapped.
pub fn normalized_legacy(text: &str) -> String {
    text.nfc().collect()
}

/// Unicode's space separators (general category Zs).
fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{A0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}'
    )
}

fn is_common(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    let one_repeated = characters.all(|c| Some(c) == first);
    one_repeated || is_listed(&normalized(&text.to_lowercase()))
}

/// A binary search over the lines of the file.
fn is_listed(wanted: &str) -> bool {
    let (_, mut lines) = COMMONEST
        .split_once("\n\n")
        .expect("the list follows its header after an empty line");
    while !lines.is_empty() {
        // The bounds of the line in the middle.
        let middle = lines.len() / 2;
        let bytes = lines.as_bytes();
        let from = bytes[..middle].iter().rposition(|b| *b == b'\n');
        let from = from.map_or(0, |before| before + 1);
        let to = bytes[middle..].iter().position(|b| *b == b'\n');
        let to = to.map_or(lines.len(), |length| middle + length);
        match wanted.cmp(&lines[from..to]) {
            Ordering::Equal => return true,
            Ordering::Less => lines = &lines[..from],
            Ordering::Greater => lines = lines.get(to + 1..).unwrap_or_default(),
        }
    }
    false
}

/// Whether too little remains without the service's name and the owner's words (NIST SP 800-63B
/// §5.1.1.2: "context-specific words").
fn is_obvious(text: &str, email: Option<&Email>, name: Option<&UserName>) -> bool {
    let text = text.to_lowercase();
    let email = email.map(|email| email.as_str()).unwrap_or_default();
    let name = name.map(|name| normalized(&name.as_str().to_lowercase()));
    let owners = [email, name.as_deref().unwrap_or_default()];
    let parts = owners
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
    let mut words: Vec<&str> = owners.into_iter().chain(parts).chain([SERVICE]).collect();
    words.retain(|word| word.chars().count() >= MIN_WORD);
    // The longest first: otherwise a part is removed and the whole no longer matches.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let rest = words
        .iter()
        .fold(text.clone(), |rest, word| rest.replace(word, " "));
    let left = rest.chars().filter(|c| c.is_alphanumeric()).count();
    rest != text && left < MIN_OWN_CHARACTERS
}
