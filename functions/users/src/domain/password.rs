//! Which passwords may be chosen (NIST SP 800-63B §5.1.1.2): long ones that nobody tries first. No
//! rule asks for digits or symbols; such rules make passwords no harder to guess.

use std::cmp::Ordering;
use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::{Email, UserName};

const MIN_CHARACTERS: usize = 12;

/// Far beyond what anybody types, and short enough that a password is never a burden to hash.
const MAX_CHARACTERS: usize = 128;

/// The commonest passwords of at least the least length, after a header that says where they are
/// from: in the form in which they are looked up, and sorted, so that nothing is read at the start.
const COMMONEST: &str = include_str!("../../data/commonest_passwords.txt");

/// What everybody thinks of here.
const SERVICE: &str = "waybill";

/// What is left of a password without the words that go with its owner and this service has at
/// least so many letters and digits.
const MIN_OF_ITS_OWN: usize = 8;

/// Shorter words of the owner's are in too many others.
const MIN_WORD: usize = 3;

/// A password its owner may have. It is never shown, and kept only as a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why a password may not be chosen. It never says the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsuitablePassword {
    #[error("is shorter than {MIN_CHARACTERS} characters; a few words in a row do well")]
    TooShort,
    #[error("is longer than {MAX_CHARACTERS} characters")]
    TooLong,
    #[error("is one of the passwords that are tried first; choose another")]
    TooCommon,
    #[error("is little more than your name, your e-mail address or waybill; choose another")]
    TooObvious,
}

impl Password {
    /// Every Unicode character counts as one, and none is forbidden or trimmed. It is chosen for
    /// this address and name, unless they are not valid themselves.
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

/// A password as it is measured, kept and compared: any blank is the ordinary one, and the rest is
/// in Unicode's composed form (NFC). So a blank or an é is the same whichever keyboard it comes from
/// (OpaqueString, RFC 8265 §4.2.2; NIST SP 800-63B §5.1.1.2). Nothing is forbidden: OpaqueString
/// would also refuse emoji that are joined, and they make good passwords.
pub fn normalized(text: &str) -> String {
    let blank = |c| if is_blank(c) { ' ' } else { c };
    text.chars().map(blank).nfc().collect()
}

/// The form in which passwords were kept before blanks were mapped.
pub fn normalized_before(text: &str) -> String {
    text.nfc().collect()
}

/// Unicode's space separators (general category Zs).
fn is_blank(c: char) -> bool {
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

/// A binary search over the lines as they stand.
fn is_listed(wanted: &str) -> bool {
    let (_, mut lines) = COMMONEST
        .split_once("\n\n")
        .expect("the list follows its header after an empty line");
    while !lines.is_empty() {
        // The line that has the middle in it.
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

/// Whether hardly anything is left without the service's name and the owner's (NIST SP 800-63B
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
    // The longest first, or a part would spoil the whole.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let rest = words
        .iter()
        .fold(text.clone(), |rest, word| rest.replace(word, " "));
    let left = rest.chars().filter(|c| c.is_alphanumeric()).count();
    rest != text && left < MIN_OF_ITS_OWN
}
