//! Login throttling: how many tries are free, and how long each further one waits.
//!
//! Three limits stand before a password:
//!
//! - [`ACCOUNT`]: one account tried from one source. Its delays grow with that source's own
//!   failures, so nobody waits for what others do elsewhere. Where the owner has been before, this
//!   is the only limit that can keep the right password out.
//! - [`SOURCE`]: one source, whichever accounts it tries.
//! - [`STRANGERS`]: one account tried from all sources together.
//!
//! A try is counted before it is known whether it fails, so that a thousand tries at once are not a
//! thousand guesses; one that succeeds is taken back. The free tries therefore have room for the
//! failures and for the logins that are under way: an owner who mistyped four times still logs in
//! from eight devices at once.

use jiff::{SignedDuration, Timestamp};

const FIRST_DELAY: SignedDuration = SignedDuration::from_secs(1);

/// How long an account remembers where its owner logged in: three times as long as a session can
/// last, so that whoever goes on using it is still known when the password is due again.
pub const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What is allowed before anybody has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tries that cost no time.
    pub free: u32,
    /// Tries are counted for this long from the first; then the count begins anew.
    pub window: SignedDuration,
    /// However many the tries, nobody waits longer than this for the next.
    pub longest: SignedDuration,
}

/// For one account, known or not, from one source: twenty tries, then 1 s,
/// 2 s, 4 s, ... up to 15 minutes.
pub const ACCOUNT: Policy = Policy {
    free: 20,
    window: SignedDuration::from_hours(24),
    longest: SignedDuration::from_mins(15),
};

/// For one source, whichever accounts it tries: 100 failures in 5 minutes, then growing delays.
/// Many people may share an address.
pub const SOURCE: Policy = Policy {
    free: 100,
    window: SignedDuration::from_mins(5),
    longest: SignedDuration::from_mins(15),
};

/// For registrations from one source, whatever becomes of them: each costs a hash, and its answer
/// tells whether an address is taken. `free` in an hour, then growing delays.
pub const fn registrations(free: u32) -> Policy {
    Policy {
        free,
        window: SignedDuration::from_hours(1),
        longest: SignedDuration::from_mins(15),
    }
}

/// A rate with a burst: the generic cell rate algorithm (ITU-T I.371). Its state is one time, until
/// which the rate is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tries that may follow one another at once, where there were none for a while.
    pub free: i32,
    /// What one try takes up. There is one try in this time, on the whole.
    pub interval: SignedDuration,
}

/// For one account, from all the sources it is not known at.
///
/// NIST SP 800-63B §5.2.2 would have an account refuse its owner after 100 failures in a row, and
/// then anybody could lock anybody out. What is bounded here is the rate of guesses.
pub const STRANGERS: Rate = Rate {
    free: 20,
    interval: SignedDuration::from_mins(1),
};

/// The tries counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    pub failures: u32,
    /// The first of them.
    pub since: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

/// A try that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TooEarly {
    pub wait_seconds: u32,
}

impl TooEarly {
    /// What is refused `now` and may be tried `then`.
    pub fn until(then: Timestamp, now: Timestamp) -> Self {
        let remaining = then.duration_since(now);
        let whole = remaining.as_secs() + i64::from(remaining.subsec_nanos() > 0);
        Self {
            wait_seconds: u32::try_from(whole.max(1)).unwrap_or(u32::MAX),
        }
    }
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
        let end = tally.last + self.delay(tally.failures);
        if now < end {
            return Err(TooEarly::until(end, now));
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

    /// How long after this many tries the next has to wait.
    pub fn delay(&self, failures: u32) -> SignedDuration {
        let Some(beyond) = failures.checked_sub(self.free) else {
            return SignedDuration::ZERO;
        };
        // 2^20 s is longer than any policy's longest, and far from overflowing.
        (FIRST_DELAY * (1 << beyond.min(20))).min(self.longest)
    }
}

impl Rate {
    /// Until when the rate is used up with one try more, or how long that one has to wait.
    pub fn admit(&self, used: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, TooEarly> {
        let after = used.map_or(now, |used| used.max(now)) + self.interval;
        let earliest = after - self.interval * self.free;
        if now < earliest {
            return Err(TooEarly::until(earliest, now));
        }
        Ok(after)
    }

    /// The most tries there can be in a time, from however many sources.
    pub fn most_tries(&self, time: SignedDuration) -> i64 {
        i64::from(self.free) + time.as_secs() / self.interval.as_secs()
    }
}
