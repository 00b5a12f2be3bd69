//! Which passwords may be chosen (NIST SP 800-63B §5.1.1.2): long ones that nobody tries first. No
//! rule asks for digits or symbols; such rules make passwords no harder to guess.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::Email;

const MIN_CHARACTERS: usize = 12;

/// Far beyond what anybody types, and short enough that a password is never a burden to hash.
const MAX_CHARACTERS: usize = 128;

/// The commonest passwords of at least the least length, in lower case. What is shorter is refused
/// for that already.
const COMMONEST: [&str; 47] = [
    "0123456789ab",
    "012345678910",
    "1234567890-=",
    "123456789012",
    "1234567890123",
    "123456789101112",
    "1234567890qwerty",
    "123456789987654321",
    "123456789abc",
    "123456789qwe",
    "123456abcdef",
    "123qweasdzxc",
    "12qwaszx12qwaszx",
    "1q2w3e4r5t6y",
    "1q2w3e4r5t6y7u8i",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "1qazxsw23edc",
    "abc123abc123",
    "abcd1234abcd1234",
    "abcdefghijkl",
    "administrator",
    "adminadminadmin",
    "asdfghjkl123",
    "changemenow!",
    "changeme1234",
    "correcthorsebatterystaple",
    "correct horse battery staple",
    "iloveyou1234",
    "iloveyouforever",
    "letmein12345",
    "letmeinletmein",
    "motherfucker",
    "p@ssw0rd1234",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "q1w2e3r4t5y6",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwertyqwerty",
    "qwertyuiop12",
    "qwertyuiop123",
    "unbelievable",
    "welcome12345",
    "zaq12wsxcde3",
];

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
    #[error("is the e-mail address; choose another")]
    IsTheEmail,
}

impl Password {
    /// Every Unicode character counts as one, and none is forbidden or trimmed. `owner` is the
    /// address it is chosen for, unless that is not valid itself.
    pub fn choose(text: &str, owner: Option<&Email>) -> Result<Self, UnsuitablePassword> {
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
        if owner.is_some_and(|email| email.as_str().eq_ignore_ascii_case(text.trim())) {
            return Err(UnsuitablePassword::IsTheEmail);
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

/// A password as it is measured, kept and compared: in Unicode's composed form (NFC), so that an é
/// is the same whichever keyboard it comes from (NIST SP 800-63B §5.1.1.2).
pub fn normalized(text: &str) -> String {
    text.nfc().collect()
}

fn is_common(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    let one_repeated = characters.all(|c| Some(c) == first);
    one_repeated
        || COMMONEST
            .iter()
            .any(|common| common.eq_ignore_ascii_case(text))
}
