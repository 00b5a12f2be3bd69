//! Against guessing: how many failures are free, and how long each further one makes wait.
//!
//! A try is counted before it is known whether it fails, so that a thousand tries at once are not a
//! thousand guesses; one that succeeds is taken back. A try that comes too early is refused
//! unread and does not count, so nobody can push another's waiting time ahead of them for ever.

use jiff::{SignedDuration, Timestamp};

const FIRST_DELAY: SignedDuration = SignedDuration::from_secs(1);

/// What is allowed before anybody has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures that cost no time.
    pub free: u32,
    /// Failures are counted for this long from the first; then the count begins anew.
    pub window: SignedDuration,
    /// However many the failures, nobody waits longer than this for the next try.
    pub longest: SignedDuration,
}

/// For one account, known or not: ten failures, then 1 s, 2 s, 4 s, ... up to 15 minutes. Some 115
/// guesses a day, of which NIST SP 800-63B §5.2.2 allows 100 in a row.
pub const ACCOUNT: Policy = Policy {
    free: 10,
    window: SignedDuration::from_hours(24),
    longest: SignedDuration::from_mins(15),
};

/// For one source address, whichever accounts it tries: 100 failures in 5 minutes, then growing
/// delays. Many people may share an address.
pub const SOURCE: Policy = Policy {
    free: 100,
    window: SignedDuration::from_mins(5),
    longest: SignedDuration::from_mins(15),
};

/// The failures counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    pub failures: u32,
    /// The first of them.
    pub since: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

/// A try that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooEarly {
    pub wait_seconds: u32,
}

impl Policy {
    /// The tally with one try more, or how long that one has to wait.
    pub fn admit(&self, tally: Option<&Tally>, now: Timestamp) -> Result<Tally, TooEarly> {
        let first = Tally {
            failures: 1,
            since: now,
            last: now,
        };
        let Some(tally) = tally else {
            return Ok(first);
        };
        let remaining = (tally.last + self.delay(tally.failures)).duration_since(now);
        if remaining.is_positive() {
            let whole = remaining.as_secs() + i64::from(remaining.subsec_nanos() > 0);
            return Err(TooEarly {
                wait_seconds: u32::try_from(whole).unwrap_or(u32::MAX),
            });
        }
        if now >= tally.since + self.window {
            return Ok(first);
        }
        Ok(Tally {
            failures: tally.failures.saturating_add(1),
            since: tally.since,
            last: now,
        })
    }

    /// How long after this many failures the next try has to wait.
    pub fn delay(&self, failures: u32) -> SignedDuration {
        let Some(beyond) = failures.checked_sub(self.free) else {
            return SignedDuration::ZERO;
        };
        // 2^20 s is longer than any policy's longest, and far from overflowing.
        (FIRST_DELAY * (1 << beyond.min(20))).min(self.longest)
    }
}
