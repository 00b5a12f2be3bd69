//! Chance from a seed: dice that are independent of each other, and the weather a seed brings.
//!
//! Every kind of trouble has dice of its own, drawn at every occasion whether or not that kind is
//! switched off. Taking one kind away therefore leaves the others much as they were, which is what
//! makes a failure shrink.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Millis;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): enough
/// chance for a simulation, in a dozen instructions, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.roll();
        dice
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// A number from `first` to `last`.
    pub fn between(&mut self, first: i64, last: i64) -> i64 {
        first + self.below((last - first + 1) as u64) as i64
    }

    /// True so many times in a thousand.
    pub fn hits(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub fn pick<'a, T>(&mut self, options: &'a [T]) -> &'a T {
        &options[self.below(options.len() as u64) as usize]
    }
}

macro_rules! troubles {
    ($($(#[$doc:meta])* $kind:ident $name:literal $worst:literal;)*) => {
        /// What can go wrong, or come at a bad moment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Trouble { $($(#[$doc])* $kind,)* }

        impl Trouble {
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// How it is called on the command line and in the report.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// How often it comes at worst, in a thousand occasions.
            fn worst(self) -> u64 {
                match self { $(Self::$kind => $worst,)* }
            }
        }
    };
}

troubles! {
    /// A message comes up to five times.
    Duplicate "duplicate" 300;
    /// A message comes minutes or hours late: past DynamoDB's ten minutes for a request token,
    /// past every visibility timeout.
    Delay "delay" 150;
    /// A message in the dead-letter queue is redriven while the trouble lasts.
    Redrive "redrive" 300;
    /// A message in the dead-letter queue stays there for good.
    LeftDead "left-dead" 900;
    /// A process dies before a request arrives.
    KillBefore "kill-before" 40;
    /// A process dies after a request took effect.
    KillAfter "kill-after" 40;
    /// A request is never answered, or a whole process hangs until its function's timeout.
    Stall "stall" 15;
    /// A request is refused for load.
    Throttle "throttle" 80;
    /// A write meets another transaction.
    Conflict "conflict" 150;
    /// A request is lost on its way.
    LostRequest "lost-request" 60;
    /// A request takes effect and its answer is lost.
    LostAnswer "lost-answer" 60;
    /// A request is given up by its sender and takes effect seconds or minutes later.
    LateRequest "late-request" 40;
    /// A batch of messages is taken in part.
    PartialSend "partial-send" 100;
    /// A batch of reads is answered in part, or not at all.
    Unprocessed "unprocessed" 200;
    /// A read that need not be current, as none of an index is, sees what was there some writes ago.
    StaleRead "stale-read" 300;
    /// The payment provider cannot be reached.
    ProviderDown "provider-down" 200;
    /// The payment provider does as asked and its answer is lost.
    ProviderLost "provider-lost" 200;
    /// The users service cannot be reached over REST.
    UsersDown "users-down" 500;
    /// A message nobody understands.
    Poison "poison" 300;
    /// A run of the sweeper comes late or not at all.
    SweeperLate "sweeper-late" 400;
    /// The sweeper runs twice at once, and again before its time.
    SweeperTwice "sweeper-twice" 300;
    /// A customer cancels.
    Cancel "cancel" 500;
    /// A customer sends the same request again although it was answered.
    Again "again" 300;
    /// An operator asks for an order's step again.
    Operator "operator" 300;
    /// A price changes.
    Price "price" 400;
    /// Stock is found or lost.
    Adjustment "adjustment" 400;
    /// A customer is deactivated, and later perhaps reactivated.
    Deactivation "deactivation" 200;
    /// A function dies at every message, or fails at every call to its table, for minutes or hours:
    /// long enough that forward steps are given up and compensations parked.
    Outage "outage" 400;
    /// The payment provider cannot be reached for minutes or hours.
    ProviderGone "provider-gone" 300;
    /// An operator gives up a refund or a release that is parked.
    Abandon "abandon" 900;
}

impl Trouble {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// What people do or have done: nothing that a function may fail for. Messages that come too
    /// often are not either, nor is a sweeper that does, nor poison to whoever is not given it.
    pub fn is_of_people(self) -> bool {
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

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How bad each trouble is in one world, its dice, and how often it came about.
///
/// A third of the kinds is absent from any world and the others differ in strength, so that rare
/// combinations come about that an average of everything would never show (Groce et al., Swarm
/// Testing, 2012).
pub struct Weather {
    kinds: Vec<Kind>,
    over: bool,
    provider_gone: Option<Absence>,
    /// How often somebody met what lasts, which is counted once.
    lasting_met: u64,
}

/// When the payment provider is not there, and whether anybody has noticed.
struct Absence {
    during: Range<Millis>,
    noticed: bool,
}

struct Kind {
    per_mille: u64,
    dice: Dice,
    came: u64,
}

impl Weather {
    pub fn new(seed: u64, without: &[Trouble]) -> Self {
        let kinds = Trouble::ALL
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let mut dice = Dice::new(seed, 1000 + index as u64);
                let present = !dice.hits(333);
                let strength = dice.below(kind.worst()) + 1;
                let on = present && !without.contains(kind);
                Kind {
                    per_mille: if on { strength } else { 0 },
                    dice,
                    came: 0,
                }
            })
            .collect();
        Self {
            kinds,
            over: false,
            provider_gone: None,
            lasting_met: 0,
        }
    }

    /// Whether it comes now. What comes is counted.
    pub fn brings(&mut self, trouble: Trouble) -> bool {
        let hit = self.plans(trouble);
        if hit {
            self.came_about(trouble);
        }
        hit
    }

    /// Whether it is to come later. It counts once it [has](Weather::came_about), if it does.
    pub fn plans(&mut self, trouble: Trouble) -> bool {
        let kind = &mut self.kinds[trouble as usize];
        kind.dice.hits(kind.per_mille) && !self.over
    }

    /// Whether it can come in this world at all.
    pub fn knows(&self, trouble: Trouble) -> bool {
        self.kinds[trouble as usize].per_mille > 0
    }

    /// What was planned has met somebody.
    pub fn came_about(&mut self, trouble: Trouble) {
        self.kinds[trouble as usize].came += 1;
    }

    /// The payment provider will not be there.
    pub fn provider_will_be_gone(&mut self, during: Range<Millis>) {
        self.provider_gone = Some(Absence {
            during,
            noticed: false,
        });
    }

    /// Whether somebody who asks the payment provider now finds nobody there.
    pub fn provider_is_gone(&mut self, now: Millis) -> bool {
        let Some(absence) = &mut self.provider_gone else {
            return false;
        };
        let gone = absence.during.contains(&now);
        let is_first = gone && !std::mem::replace(&mut absence.noticed, true);
        if gone {
            self.meets(Trouble::ProviderGone, is_first);
        }
        gone
    }

    /// Somebody met a trouble that lasts, which came about when it was first met.
    pub fn meets(&mut self, lasting: Trouble, is_first: bool) {
        self.lasting_met += 1;
        if is_first {
            self.came_about(lasting);
        }
    }

    /// How often somebody met a trouble that lasts.
    pub fn lasting_met(&self) -> u64 {
        self.lasting_met
    }

    /// The dice of one kind, for how it comes.
    pub fn dice(&mut self, trouble: Trouble) -> &mut Dice {
        &mut self.kinds[trouble as usize].dice
    }

    /// What was drawn could not come about after all.
    pub fn take_back(&mut self, trouble: Trouble) {
        self.kinds[trouble as usize].came -= 1;
    }

    /// From now on nothing goes wrong.
    pub fn clear_up(&mut self) {
        self.over = true;
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn counts(&self) -> impl Iterator<Item = (Trouble, u64)> + '_ {
        Trouble::ALL
            .iter()
            .zip(&self.kinds)
            .map(|(trouble, kind)| (*trouble, kind.came))
    }
}

/// Shared with what sits beneath the handlers.
pub type SharedWeather = Arc<Mutex<Weather>>;

pub fn weather(weather: &SharedWeather) -> MutexGuard<'_, Weather> {
    weather.lock().unwrap_or_else(PoisonError::into_inner)
}
