//! Sessions: what a presented refresh token is worth, and how long (RFC 9700 §4.14).
//!
//! A session is one login on one device: a family of refresh tokens of which one is current. Using
//! it retires it and makes its successor current. The rules, in the order they are applied:
//!
//! 1. Past its idle or absolute lifetime a session gives nothing, whatever is presented.
//! 2. The current token is exchanged: it is retired, and its successor is current.
//! 3. The token before it, within [`GRACE`] of its retirement and as long as its successor has not
//!    been used, gets that *same* successor again. So a lost answer is asked for again, and two
//!    tabs that refresh at once end up with one and the same token, in whichever order their
//!    answers arrive.
//! 4. Any other token of the family was retired longer ago, or was never ours: whoever presents it
//!    is not the one who was given its successor. The session ends, for both of them.
//!
//! At every moment one value at most is current, and the grace never makes a second.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Status, User};

/// How long the answer to a refresh may be asked for again.
pub const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// A session that is not refreshed ends after this time.
pub const IDLE_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A session ends after this time, however much it is used: then the password is due again.
pub const ABSOLUTE_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Which family a refresh token is of. It is shown nowhere but in the tokens themselves, and nobody
/// can guess one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub Uuid);

/// What is kept of a refresh token: the SHA-256 of its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// Chance from which, together with the token it replaces, a successor is made. Alone it is of no
/// use to anybody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

/// One family of refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: Uuid,
    /// The user's generation when the session began; it is over once theirs has moved on.
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
    /// What its successor was made from.
    pub seed: Seed,
}

/// What a presented token is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is current: retire it for a successor.
    Rotate,
    /// Its successor was made from this, and is given again.
    Repeat(Seed),
    /// Somebody else has had it: end the session.
    Reused,
    /// The session has ended by itself.
    Expired,
}

impl Session {
    /// Begins with a login.
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

    /// What a token of this family is worth now.
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

    /// Whether a token is the current one or the one before; of older ones nothing is kept.
    pub fn knows(&self, presented: &TokenHash) -> bool {
        let retired = self.retired.as_ref().map(|retired| &retired.hash);
        *presented == self.current || Some(presented) == retired
    }

    /// The session once its current token has been exchanged for `successor`, made from `seed`.
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

    /// When it ends by itself.
    pub fn expires_at(&self) -> Timestamp {
        (self.started_at + ABSOLUTE_LIFETIME).min(self.refreshed_at + IDLE_LIFETIME)
    }

    /// Whether its user may go on with it: still there and active, and neither deactivated nor
    /// given another password since it began.
    pub fn is_upheld_by(&self, user: Option<&User>) -> bool {
        user.is_some_and(|user| match user.status {
            Status::Active => user.generation == self.generation,
            Status::Deactivated => false,
        })
    }
}

/// Never shows the chance.
impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}
