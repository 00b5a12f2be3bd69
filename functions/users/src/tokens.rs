//! Refresh tokens: 256 bits nobody can guess, behind the id of the session they are of.
//!
//! A successor is computed from the token it replaces and a fresh seed that is kept with the
//! session: HMAC-SHA-256 keyed with the old token's secret. Whoever presents the old token within
//! its grace can be given the very same successor, although nothing from which a token could be
//! had is kept: what is on record is of no use without the old token.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::domain::{Seed, SessionId, TokenHash};

const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const TOKEN_BYTES: usize = ID_BYTES + SECRET_BYTES;

impl Seed {
    /// From the operating system's randomness.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system gives randomness");
        Self(bytes)
    }
}

/// A refresh token, to be given to its client alone.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    id: SessionId,
    secret: [u8; SECRET_BYTES],
}

impl RefreshToken {
    /// The first of a new session.
    pub fn first(seed: Seed) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &seed.0);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hmac::sign(&key, b"session").as_ref()[..ID_BYTES]);
        Self {
            id: SessionId(Uuid::from_bytes(id)),
            secret: mac(&key, b"first token"),
        }
    }

    /// The one that replaces it. The same seed gives the same successor.
    pub fn successor(&self, seed: Seed) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        Self {
            id: self.id,
            secret: mac(&key, &seed.0),
        }
    }

    /// As a client sends it; nothing where it is not of our form, or not in its only spelling.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (id, secret) = bytes[..length].split_at_checked(ID_BYTES)?;
        Some(Self {
            id: SessionId(Uuid::from_slice(id).ok()?),
            secret: secret.try_into().ok()?,
        })
    }

    /// As a client receives it: 64 characters of base64url.
    pub fn reveal(&self) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..ID_BYTES].copy_from_slice(self.id.0.as_bytes());
        bytes[ID_BYTES..].copy_from_slice(&self.secret);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn session(&self) -> SessionId {
        self.id
    }

    /// What is kept of it. A plain hash will do: 256 bits of chance cannot be searched.
    pub fn hash(&self) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.secret).as_ref());
        TokenHash(hash)
    }
}

/// Never shows the token.
impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken")
    }
}

fn mac(key: &hmac::Key, message: &[u8]) -> [u8; SECRET_BYTES] {
    let mut bytes = [0; SECRET_BYTES];
    bytes.copy_from_slice(hmac::sign(key, message).as_ref());
    bytes
}
