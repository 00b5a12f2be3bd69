//! Refresh tokens: the id of the session and a secret of 256 random bits.
//!
//! A successor is the HMAC-SHA-256 of a random seed, keyed with the secret of the token it replaces.
//! The session's row stores the seed. So the old token gets the same successor again within its
//! grace. The row alone is useless to a thief.

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
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system gives randomness");
        Self(bytes)
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    id: SessionId,
    secret: [u8; SECRET_BYTES],
}

impl RefreshToken {
    /// The first token of a new session.
    pub fn first(seed: Seed) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &seed.0);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hmac::sign(&key, b"session").as_ref()[..ID_BYTES]);
        Self {
            id: SessionId(Uuid::from_bytes(id)),
            secret: mac(&key, b"first token"),
        }
    }

    /// The token that replaces this one. The same seed gives the same successor.
    pub fn successor(&self, seed: Seed) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        Self {
            id: self.id,
            secret: mac(&key, &seed.0),
        }
    }

    /// Reads a token from a request. `None` unless it is in the form of [`reveal`](Self::reveal).
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (id, secret) = bytes[..length].split_at_checked(ID_BYTES)?;
        Some(Self {
            id: SessionId(Uuid::from_slice(id).ok()?),
            secret: secret.try_into().ok()?,
        })
    }

    /// The token for the client: 64 characters of base64url.
    pub fn reveal(&self) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..ID_BYTES].copy_from_slice(self.id.0.as_bytes());
        bytes[ID_BYTES..].copy_from_slice(&self.secret);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn session(&self) -> SessionId {
        self.id
    }

    /// The stored form. A plain hash is enough, because 256 random bits cannot be searched.
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
