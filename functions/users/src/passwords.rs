//! Passwords at rest: Argon2id, as a PHC string that carries its own parameters and salt.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::{Password, normalized, normalized_before};

/// The floor of the OWASP Password Storage Cheat Sheet for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A hash of the same parameters that no password has: its salt and output are random bytes. An
/// address nobody registered costs as much to try as one somebody did.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$98bwfed+UJdHSHIdq8yTVw$z5/LSSVEZIq+j5wY5y9jCMs/28firSuwqkR5H7+fL3Q";

/// Sixteen bytes nobody can foresee (RFC 9106 §3.1).
#[derive(Clone, Copy)]
pub struct Salt([u8; 16]);

impl Salt {
    /// From the operating system's randomness.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system gives randomness");
        Self(bytes)
    }

    /// The same salt each time, for tests and simulations.
    pub fn fixed(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A password as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct HashedPassword(String);

/// A kept hash that is not a PHC string of Argon2.
#[derive(Debug, thiserror::Error)]
#[error("the password's hash on record cannot be used: {0}")]
pub struct UnusableHash(argon2::password_hash::Error);

impl HashedPassword {
    /// Takes some 30 ms of CPU time and 19 MiB, on purpose.
    pub fn new(password: &Password, salt: Salt) -> Self {
        Self::of(password.as_str(), salt)
    }

    /// The same password's hash with today's parameters, or nothing where it has those already.
    /// `attempt` is known to [fit](Self::fits).
    pub fn renewed(&self, attempt: &str, salt: Salt) -> Option<Self> {
        let hash = phc::PasswordHash::new(&self.0).ok()?;
        let current = Params::try_from(&hash).is_ok_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES)
        });
        let current = current
            && hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && hash.version == Some(Version::V0x13.into());
        (!current).then(|| Self::of(&normalized(attempt), salt))
    }

    fn of(text: &str, salt: Salt) -> Self {
        let hash = argon2id()
            .hash_password_with_salt(text.as_bytes(), &salt.0)
            .expect("fixed parameters, a 16-byte salt and a short password make a hash");
        Self(hash.to_string())
    }

    /// As it was kept.
    pub fn from_record(text: String) -> Self {
        Self(text)
    }

    /// What an attempt is checked against when nobody has the address.
    pub fn nobodys() -> Self {
        Self(NOBODYS.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the hash of `attempt`, whatever parameters it was made with. Costs what
    /// making it did; twice that for an attempt with other blanks than the ordinary one, whose
    /// hash may be older than their mapping. The cost of a wrong attempt depends on the attempt
    /// alone, so it tells no account from another.
    pub fn fits(&self, attempt: &str) -> Result<bool, UnusableHash> {
        let (today, before) = (normalized(attempt), normalized_before(attempt));
        Ok(self.is_of(&today)? || (before != today && self.is_of(&before)?))
    }

    fn is_of(&self, text: &str) -> Result<bool, UnusableHash> {
        let hash = phc::PasswordHash::new(&self.0).map_err(|error| UnusableHash(error.into()))?;
        match argon2id().verify_password(text.as_bytes(), &hash) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(UnusableHash(error)),
        }
    }
}

/// Never shows the hash.
impl fmt::Debug for HashedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedPassword")
    }
}

fn argon2id() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .expect("these parameters are within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}
