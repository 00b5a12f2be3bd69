//! Login throttling: the number of free attempts, and the delay before each further one.
//!
//! Three limits apply before a password is accepted:
//!
//! - [`ACCOUNT`]: one account from one source. Its delays grow with the failures of that source
//!   alone. At a known source, where the owner has logged in before, only this limit can delay the
//!   right password.
//! - [`SOURCE`]: one source, for all accounts together.
//! - [`UNKNOWN_SOURCES`]: one account, from all unknown sources together.
//!
//! An attempt is counted before the password is checked, so a thousand parallel attempts are not a
//! thousand guesses. The count of a successful attempt is taken back. There are enough free attempts for
//! parallel logins: after four mistakes an owner can still log in from eight devices at once.

use jiff::{SignedDuration, Timestamp};

const FIRST_DELAY: SignedDuration = SignedDuration::from_secs(1);

/// How long a source stays known: three times the longest session, so a device in use is still
/// known at its next login.
pub const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A limit with growing delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts without a delay.
    pub free: u32,
    /// The count restarts this long after its first attempt.
    pub window: SignedDuration,
    pub max_delay: SignedDuration,
}

/// One account from one source: 20 attempts a day, then delays of 1 s, 2 s, 4 s, ... up to
/// 15 minutes.
pub const ACCOUNT: Policy = Policy {
    free: 20,
    window: SignedDuration::from_hours(24),
    max_delay: SignedDuration::from_mins(15),
};

/// One source, for all accounts together. The limit is high because many people may share an
/// address.
pub const SOURCE: Policy = Policy {
    free: 100,
    window: SignedDuration::from_mins(5),
    max_delay: SignedDuration::from_mins(15),
};

/// Registrations from one source, successful or not: each costs a hash, and its answer shows whether
/// an address is taken.
pub const fn registrations(free: u32) -> Policy {
    Policy {
        free,
        window: SignedDuration::from_hours(1),
        max_delay: SignedDuration::from_mins(15),
    }
}

/// A rate with a burst: the generic cell rate algorithm (ITU-T I.371). Its whole state is the time
/// until which the rate is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Attempts in a burst after an idle time.
    pub free: i32,
    /// The mean time between attempts.
    pub interval: SignedDuration,
}

/// One account, from all sources where it is not known.
///
/// NIST SP 800-63B §5.2.2 would lock an account after 100 failures in a row, so any client could lock
/// out any owner. This rate bounds the guesses instead.
pub const UNKNOWN_SOURCES: Rate = Rate {
    free: 20,
    interval: SignedDuration::from_mins(1),
};

/// The attempts counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCount {
    pub failures: u32,
    /// The time of the first attempt.
    pub since: Timestamp,
    /// The time of the last attempt.
    pub last: Timestamp,
}

/// A refused attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TooEarly {
    pub wait_seconds: u32,
}

impl TooEarly {
    /// Rounds up to whole seconds, and to at least one.
    pub fn until(then: Timestamp, now: Timestamp) -> Self {
        let remaining = then.duration_since(now);
        let whole = remaining.as_secs() + i64::from(remaining.subsec_nanos() > 0);
        Self {
            wait_seconds: u32::try_from(whole.max(1)).unwrap_or(u32::MAX),
        }
    }
}

impl Policy {
    /// The count with one more attempt, or the time to wait.
    pub fn admit(
        &self,
        count: Option<&FailureCount>,
        now: Timestamp,
    ) -> Result<FailureCount, TooEarly> {
        let first = FailureCount {
            failures: 1,
            since: now,
            last: now,
        };
        let Some(count) = count else {
            return Ok(first);
        };
        let end = count.last + self.delay(count.failures);
        if now < end {
            return Err(TooEarly::until(end, now));
        }
        if now >= count.since + self.window {
            return Ok(first);
        }
        Ok(FailureCount {
            failures: count.failures.saturating_add(1),
            last: now,
            ..*count
        })
    }

    /// The delay after this many attempts.
    pub fn delay(&self, failures: u32) -> SignedDuration {
        let Some(beyond) = failures.checked_sub(self.free) else {
            return SignedDuration::ZERO;
        };
        // 2^20 s exceeds every policy's longest delay and cannot overflow.
        (FIRST_DELAY * (1 << beyond.min(20))).min(self.max_delay)
    }
}

impl Rate {
    /// The time until which one more attempt uses up the rate, or the time to wait.
    pub fn admit(&self, used: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, TooEarly> {
        let after = used.map_or(now, |used| used.max(now)) + self.interval;
        let earliest = after - self.interval * self.free;
        if now < earliest {
            return Err(TooEarly::until(earliest, now));
        }
        Ok(after)
    }

    /// The largest number of attempts in a time, from any number of sources.
    pub fn max_attempts(&self, time: SignedDuration) -> i64 {
        i64::from(self.free) + time.as_secs() / self.interval.as_secs()
    }
}
