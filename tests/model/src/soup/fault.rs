//! What can go wrong in the soup, each kind switched and counted by itself.

macro_rules! faults {
    ($($variant:ident => $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($variant,)* }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Fault::$variant => $name,)* }
            }
        }
    };
}

faults! {
    Lost => "message lost",
    Duplicated => "message duplicated",
    Late => "message later than everything",
    DeadLettered => "message dead-lettered",
    CrashBeforeWrite => "crash before a write",
    CrashAfterWrite => "crash after a write",
    CrashBeforeSend => "crash before a send",
    CrashAfterSend => "crash after a send",
    Throttled => "request throttled",
    Declined => "charge declined",
    AnswerLost => "provider's answer lost",
    ProviderDown => "provider down",
    UsersDown => "users service down",
    UserDeactivated => "user deactivated",
    PriceChanged => "price changed",
    StockAdjusted => "stock adjusted",
    CancelRequested => "cancel requested",
    PlacedAgain => "order placed again",
    SweptEarly => "swept early",
    SweptTwice => "swept twice",
    SweptLate => "swept late",
}

/// Which kinds may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults(u32);

impl Faults {
    pub const NONE: Faults = Faults(0);

    pub fn all() -> Self {
        Self((1 << Fault::ALL.len()) - 1)
    }

    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u32)
    }

    #[must_use]
    pub fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u32))
    }

    pub fn contains(self, fault: Fault) -> bool {
        self.0 >> fault as u32 & 1 == 1
    }

    /// As a number, for a command line.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Of a number; bits that stand for nothing are left out.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & Self::all().0)
    }
}

/// How often each kind happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Counts {
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}
