//! Sessions: the rules for a presented refresh token (RFC 9700 §4.14).
//!
//! A session is one login on one device: a family of refresh tokens of which one is current. The
//! rules, in order:
//!
//! 1. After its idle or absolute lifetime a session refuses every token.
//! 2. The current token is exchanged: it is retired, and its successor becomes current.
//! 3. The token before it gets the *same* successor again, within [`GRACE`] of its retirement and
//!    until its successor is used. So a client can repeat a request whose answer was lost. Two tabs
//!    that refresh at the same time get the same token.
//! 4. Any other token was retired earlier or is forged, so two parties hold tokens of this family.
//!    The session ends for both.
//!
//! At most one token is current at any time, and the grace never creates a second one.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Status, User};

/// How long after a refresh the old token gets the same answer again.
pub const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// A session ends this long after its last refresh.
pub const IDLE_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A session ends this long after its login.
pub const ABSOLUTE_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The random id of a family of refresh tokens. It appears only in the tokens themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub Uuid);

/// The SHA-256 of a refresh token's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// Random bytes. A successor is computed from the seed and the token that it replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

/// One family of refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: Uuid,
    /// The user's generation at login. The session ends when the user's generation grows.
    pub generation: u64,
    pub current: TokenHash,
    pub retired: Option<Retired>,
    pub started_at: Timestamp,
    pub refreshed_at: Timestamp,
}

/// The token that was current before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    pub hash: TokenHash,
    pub at: Timestamp,
    /// The seed of its successor.
    pub seed: Seed,
}

/// The decision about a presented token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The current token: replace it by a successor.
    Rotate,
    /// A token in its grace: answer with the successor of this seed again.
    Repeat(Seed),
    /// A token that was used before: end the session.
    Reused,
    /// The session's lifetime is over.
    Expired,
}

impl Session {
    /// A session of a new login.
    pub fn start(
        id: SessionId,
        user_id: Uuid,
        generation: u64,
        first: TokenHash,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            user_id,
            generation,
            current: first,
            retired: None,
            started_at: now,
            refreshed_at: now,
        }
    }

    pub fn judge(&self, presented: &TokenHash, now: Timestamp) -> Verdict {
        if now >= self.expires_at() {
            return Verdict::Expired;
        }
        if *presented == self.current {
            return Verdict::Rotate;
        }
        match &self.retired {
            Some(retired) if retired.hash == *presented && now < retired.at + GRACE => {
                Verdict::Repeat(retired.seed)
            }
            Some(_) | None => Verdict::Reused,
        }
    }

    /// Whether a token is the current one or the one before. Older hashes are not stored.
    pub fn has_token(&self, presented: &TokenHash) -> bool {
        let retired = self.retired.as_ref().map(|retired| &retired.hash);
        *presented == self.current || Some(presented) == retired
    }

    /// The session after its current token is exchanged for `successor`, made from `seed`.
    pub fn rotate(&self, successor: TokenHash, seed: Seed, now: Timestamp) -> Self {
        Self {
            current: successor,
            retired: Some(Retired {
                hash: self.current,
                at: now,
                seed,
            }),
            refreshed_at: now,
            ..self.clone()
        }
    }

    pub fn expires_at(&self) -> Timestamp {
        (self.started_at + ABSOLUTE_LIFETIME).min(self.refreshed_at + IDLE_LIFETIME)
    }

    /// Whether its user is active and has not been deactivated or changed the password since.
    pub fn is_valid_for(&self, user: Option<&User>) -> bool {
        user.is_some_and(|user| match user.status {
            Status::Active => user.generation == self.generation,
            Status::Deactivated => false,
        })
    }
}

/// Never shows the seed.
impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}
