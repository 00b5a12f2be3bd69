//! Random numbers from a seed, and the faults that a seed brings.
//!
//! Each kind of fault has its own random numbers, drawn even if the kind is switched off. So a run
//! without one kind stays close to the original, which lets a failure shrink.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Millis;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). It gives
/// the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        rng.next_u64();
        rng
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: i64, last: i64) -> i64 {
        first + self.below((last - first + 1) as u64) as i64
    }

    /// True with this probability, in thousandths.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub fn pick<'a, T>(&mut self, options: &'a [T]) -> &'a T {
        &options[self.below(options.len() as u64) as usize]
    }
}

macro_rules! fault_kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $highest:literal;)*) => {
        /// A fault, or an action at a bad moment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind { $($(#[$doc])* $kind,)* }

        impl FaultKind {
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The name on the command line and in the report.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The highest probability, in thousandths.
            fn highest(self) -> u64 {
                match self { $(Self::$kind => $highest,)* }
            }
        }
    };
}

fault_kinds! {
    /// A message is delivered up to five times.
    Duplicate "duplicate" 300;
    /// A message is minutes or hours late: longer than DynamoDB keeps a request token (ten minutes)
    /// and than every visibility timeout.
    Delay "delay" 150;
    /// A dead letter is redriven while faults still occur.
    Redrive "redrive" 300;
    /// A dead letter is never redriven.
    LeftDead "left-dead" 900;
    /// A process dies before a request arrives.
    KillBefore "kill-before" 40;
    /// A process dies after a request took effect.
    KillAfter "kill-after" 40;
    /// A request is never answered, or a whole process hangs until its function's timeout.
    Stall "stall" 15;
    /// A request is throttled.
    Throttle "throttle" 80;
    /// A write conflicts with a transaction.
    Conflict "conflict" 150;
    /// A request is lost on its way.
    LostRequest "lost-request" 60;
    /// A request takes effect and its answer is lost.
    LostAnswer "lost-answer" 60;
    /// A request takes effect seconds or minutes after its sender gave up.
    LateRequest "late-request" 40;
    /// A batch of messages is accepted in part.
    PartialSend "partial-send" 100;
    /// A batch of reads is answered in part, or not at all.
    Unprocessed "unprocessed" 200;
    /// An eventually consistent read, as from an index, misses recent writes.
    StaleRead "stale-read" 300;
    /// The payment provider cannot be reached.
    ProviderDown "provider-down" 200;
    /// The payment provider carries out a request and its answer is lost.
    ProviderLost "provider-lost" 200;
    /// The users service cannot be reached over REST.
    UsersDown "users-down" 500;
    /// A message that no handler can parse.
    Poison "poison" 300;
    /// A run of the sweeper is late or does not happen.
    SweeperLate "sweeper-late" 400;
    /// The sweeper runs twice at once, and again early.
    SweeperTwice "sweeper-twice" 300;
    /// A customer cancels.
    Cancel "cancel" 500;
    /// A customer repeats a request that was answered.
    Again "again" 300;
    /// An operator retries an order's step.
    Operator "operator" 300;
    /// A price changes.
    Price "price" 400;
    /// An administrator adjusts the stock.
    Adjustment "adjustment" 400;
    /// A customer is deactivated, and perhaps reactivated.
    Deactivation "deactivation" 200;
    /// A function crashes at every message, or fails at every table call, for minutes or hours.
    /// Forward steps then time out and compensations are parked.
    Outage "outage" 400;
    /// The payment provider cannot be reached for minutes or hours.
    ProviderGone "provider-gone" 300;
    /// An operator abandons a parked refund or release.
    Abandon "abandon" 900;
}

impl FaultKind {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Actions of users and operators, and disturbances that no function may fail for: duplicates,
    /// extra sweeps and poison.
    pub fn is_user_action(self) -> bool {
        matches!(
            self,
            Self::Duplicate
                | Self::Redrive
                | Self::Poison
                | Self::SweeperTwice
                | Self::Cancel
                | Self::Again
                | Self::Operator
                | Self::Price
                | Self::Adjustment
                | Self::Deactivation
                | Self::Abandon
        )
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The probability, random numbers and count of each kind in one world.
///
/// A third of the kinds is absent from each world, and the others differ in strength. So rare
/// combinations occur that an average would never show (Groce et al., Swarm Testing, 2012).
pub struct FaultProfile {
    kinds: Vec<Kind>,
    over: bool,
    provider_outage: Option<ProviderOutage>,
    /// Calls and messages that a lasting fault hit. The fault itself counts once.
    lasting_hits: u64,
}

/// A lasting outage of the payment provider.
struct ProviderOutage {
    during: Range<Millis>,
    was_met: bool,
}

struct Kind {
    per_mille: u64,
    rng: Rng,
    occurred: u64,
}

impl FaultProfile {
    pub fn new(seed: u64, without: &[FaultKind]) -> Self {
        let kinds = FaultKind::ALL
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let mut rng = Rng::new(seed, 1000 + index as u64);
                let present = !rng.chance(333);
                let strength = rng.below(kind.highest()) + 1;
                let on = present && !without.contains(kind);
                Kind {
                    per_mille: if on { strength } else { 0 },
                    rng,
                    occurred: 0,
                }
            })
            .collect();
        Self {
            kinds,
            over: false,
            provider_outage: None,
            lasting_hits: 0,
        }
    }

    /// Draws whether a fault occurs now, and counts it.
    pub fn occurs(&mut self, fault: FaultKind) -> bool {
        let hit = self.will_occur(fault);
        if hit {
            self.count(fault);
        }
        hit
    }

    /// Draws whether a fault occurs later. [`count`](Self::count) counts it then.
    pub fn will_occur(&mut self, fault: FaultKind) -> bool {
        let kind = &mut self.kinds[fault as usize];
        kind.rng.chance(kind.per_mille) && !self.over
    }

    /// Whether the kind can occur in this world.
    pub fn includes(&self, fault: FaultKind) -> bool {
        self.kinds[fault as usize].per_mille > 0
    }

    /// Counts a planned fault that took effect.
    pub fn count(&mut self, fault: FaultKind) {
        self.kinds[fault as usize].occurred += 1;
    }

    pub fn plan_provider_outage(&mut self, during: Range<Millis>) {
        self.provider_outage = Some(ProviderOutage {
            during,
            was_met: false,
        });
    }

    /// Whether the payment provider is out now.
    pub fn is_provider_out(&mut self, now: Millis) -> bool {
        let Some(outage) = &mut self.provider_outage else {
            return false;
        };
        let is_out = outage.during.contains(&now);
        let is_first = is_out && !std::mem::replace(&mut outage.was_met, true);
        if is_out {
            self.count_lasting(FaultKind::ProviderGone, is_first);
        }
        is_out
    }

    /// Counts a call or message that a lasting fault hit; the fault itself at its first hit.
    pub fn count_lasting(&mut self, lasting: FaultKind, is_first: bool) {
        self.lasting_hits += 1;
        if is_first {
            self.count(lasting);
        }
    }

    pub fn lasting_hits(&self) -> u64 {
        self.lasting_hits
    }

    /// The random numbers of one kind, for its details.
    pub fn rng(&mut self, fault: FaultKind) -> &mut Rng {
        &mut self.kinds[fault as usize].rng
    }

    /// Takes back a drawn fault that had no effect.
    pub fn uncount(&mut self, fault: FaultKind) {
        self.kinds[fault as usize].occurred -= 1;
    }

    /// Ends all faults.
    pub fn end(&mut self) {
        self.over = true;
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn counts(&self) -> impl Iterator<Item = (FaultKind, u64)> + '_ {
        FaultKind::ALL
            .iter()
            .zip(&self.kinds)
            .map(|(fault, kind)| (*fault, kind.occurred))
    }
}

/// Shared with the stand-ins beneath the handlers.
pub type SharedProfile = Arc<Mutex<FaultProfile>>;

pub fn lock_profile(profile: &SharedProfile) -> MutexGuard<'_, FaultProfile> {
    profile.lock().unwrap_or_else(PoisonError::into_inner)
}
