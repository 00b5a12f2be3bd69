//! Password hashes: Argon2id, as PHC strings that contain their parameters and salt.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::{Password, normalized, normalized_legacy};

/// The minimum of the OWASP Password Storage Cheat Sheet for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A hash with the same parameters and random output, which no password matches. A login with an
/// unknown address checks it, so it takes as long as a login with a known one.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$98bwfed+UJdHSHIdq8yTVw$z5/LSSVEZIq+j5wY5y9jCMs/28firSuwqkR5H7+fL3Q";

/// Sixteen random bytes (RFC 9106 §3.1).
#[derive(Clone, Copy)]
pub struct Salt([u8; 16]);

impl Salt {
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system gives randomness");
        Self(bytes)
    }

    /// For tests and simulations.
    pub fn fixed(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A stored password hash.
#[derive(Clone, PartialEq, Eq)]
pub struct HashedPassword(String);

/// A stored hash that is not a PHC string of Argon2.
#[derive(Debug, thiserror::Error)]
#[error("the stored password hash is not an Argon2 hash: {0}")]
pub struct UnusableHash(argon2::password_hash::Error);

impl HashedPassword {
    /// Takes about 30 ms of CPU time and 19 MiB, on purpose.
    pub fn new(password: &Password, salt: Salt) -> Self {
        Self::of(password.as_str(), salt)
    }

    /// A hash of the same password with today's parameters; `None` where it has them already.
    /// Requires that `attempt` [verifies](Self::verify).
    pub fn rehash(&self, attempt: &str, salt: Salt) -> Option<Self> {
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

    pub fn from_record(text: String) -> Self {
        Self(text)
    }

    /// The hash to verify against when the address is unknown.
    pub fn dummy() -> Self {
        Self(DUMMY.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the hash of `attempt`, with any parameters. Costs one hash, or two for an
    /// attempt with unusual spaces, because old hashes were made before spaces were mapped. The cost
    /// of a wrong attempt depends only on the attempt, so it does not show whether an account exists.
    pub fn verify(&self, attempt: &str) -> Result<bool, UnusableHash> {
        let (today, legacy) = (normalized(attempt), normalized_legacy(attempt));
        Ok(self.matches(&today)? || (legacy != today && self.matches(&legacy)?))
    }

    fn matches(&self, text: &str) -> Result<bool, UnusableHash> {
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
