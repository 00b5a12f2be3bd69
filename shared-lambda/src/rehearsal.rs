//! Faults that a command carries on purpose, so that somebody can rehearse what happens then.
//!
//! Whoever sends a command says in its envelope how it is to go wrong; the queue's runner makes it
//! so, around the handler, which knows nothing of it. Each function asks its own [`Stage`] whether
//! it may: a message can come from anywhere.

use jiff::SignedDuration;

/// For how long after it was sent a command goes wrong. It is in the dead-letter queue within
/// seconds, and whoever sends it back from there later is to see it carried out.
pub const FAULT_LIFETIME: SignedDuration = SignedDuration::from_mins(2);

macro_rules! faults {
    ($($(#[$said:meta])* $variant:ident => $name:literal,)*) => {
        /// How a command goes wrong. The names are part of the messages' contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$said])* $variant,)* }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Fault::$variant => $name,)* }
            }
        }
    };
}

faults! {
    /// Every delivery fails, so it goes to the dead-letter queue.
    Fail => "fail",
    /// The first delivery fails and the queue brings it back.
    FailOnce => "fail_once",
    /// It is taken, and nothing is done or answered.
    Timeout => "timeout",
    /// It is carried out, and its answer is not sent.
    LostReply => "lost_reply",
    /// It is carried out once and answered twice.
    AnswerTwice => "answer_twice",
}

impl Fault {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|fault| fault.as_str() == name)
    }
}
