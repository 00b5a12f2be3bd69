//! Against guessing: how many tries are free, how long each further one waits, and that whoever
//! knows the password gets in all the same.
//!
//! Three limits stand before a password, each with a reason of its own:
//!
//! - [`ACCOUNT`]: one account tried from one source. Its delays grow with that source's own
//!   failures, so nobody waits for what others do elsewhere. Where the owner has been before, this
//!   is all that is asked.
//! - [`SOURCE`]: one source, whichever accounts it tries.
//! - [`STRANGERS`]: one account tried from all the sources together that it is not known at. It
//!   spreads the tries over time: each source is given a place, in the order in which they ask, and
//!   a place is its own. However many guess, it is once a minute for all or once an hour for each,
//!   whichever is more, and an owner at a new address gets in within [`Ceiling::longest`] of asking.
//!
//! A try is counted before it is known whether it fails, so that a thousand tries at once are not a
//! thousand guesses; one that succeeds is taken back. A try that comes too early is refused
//! unread and counts nowhere.

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

/// For one account, known or not, from one source, and for one session: ten failures, then 1 s,
/// 2 s, 4 s, ... up to 15 minutes.
pub const ACCOUNT: Policy = Policy {
    free: 10,
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

/// How tries from many sources are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Tries that may follow one another at once, where there were none for a while.
    pub free: i32,
    /// What one try takes up. There is one try in this time, on the whole.
    pub interval: SignedDuration,
    /// No place is further away than this, however many have asked before.
    pub longest: SignedDuration,
}

/// For one account, from all the sources it is not known at.
///
/// That a wait has an end for somebody who has nothing but the password means that it ends for
/// every guessing source as well: once an hour for each. NIST SP 800-63B §5.2.2 would have an
/// account refuse its owner after 100 failures in a row; what is bounded here is the rate, and
/// [`Ceiling::most_tries`] says by how much.
pub const STRANGERS: Ceiling = Ceiling {
    free: 10,
    interval: SignedDuration::from_mins(1),
    longest: SignedDuration::from_hours(1),
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

/// What an account has on record about one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub tally: Option<Tally>,
    /// Until when the owner is known to have been here.
    pub known_until: Option<Timestamp>,
    /// From when on a try from here may be made.
    pub place: Option<Timestamp>,
}

/// A try that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Ceiling {
    /// When a try may be made that is asked for now, where it takes the account's time up to
    /// `spent` (the generic cell rate algorithm, ITU-T I.371: one time says all there is to know).
    pub fn place(&self, spent: Timestamp, now: Timestamp) -> Timestamp {
        (spent - self.interval * self.free).clamp(now, now + self.longest)
    }

    /// When so much time is taken that whoever asks now waits the longest, and takes no more of it.
    pub fn full(&self, now: Timestamp) -> Timestamp {
        now + self.interval * self.free + self.longest
    }

    /// A place is kept this long, and good for one try.
    pub fn is_good(&self, place: Timestamp, now: Timestamp) -> bool {
        place <= now && now < place + self.longest
    }

    /// An upper bound of the tries in a time, from so many sources: those that are spread, those
    /// whose places were kept from before, and one in [`Ceiling::longest`] for each source.
    pub fn most_tries(&self, sources: i64, time: SignedDuration) -> i64 {
        let seconds = |duration: SignedDuration| duration.as_secs();
        let spread = (seconds(time) + seconds(self.longest)) / seconds(self.interval);
        let each = seconds(time) / seconds(self.longest) + 1;
        i64::from(self.free) + spread + sources * each
    }
}

impl Standing {
    /// Whether the owner has been here.
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.known_until.is_some_and(|until| now < until)
    }

    /// Nothing, or how long a try from here has to wait by what is on record.
    pub fn admit(&self, now: Timestamp) -> Result<(), TooEarly> {
        ACCOUNT.admit(self.tally.as_ref(), now)?;
        match self.place {
            Some(place) if now < place && !self.is_known(now) => Err(TooEarly::until(place, now)),
            Some(_) | None => Ok(()),
        }
    }

    /// The place that a try from here may be made at now.
    pub fn good_place(&self, now: Timestamp) -> Option<Timestamp> {
        self.place.filter(|place| STRANGERS.is_good(*place, now))
    }
}
