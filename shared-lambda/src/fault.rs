//! Faults that a command carries on purpose, so that somebody can rehearse what happens then.
//!
//! Whoever sends a command says in its envelope how it is to go wrong; the queue's runner makes it
//! so, around the handler, which knows nothing of it. Each function asks its own
//! [`Stage`](crate::Stage) whether it may: a message can come from anywhere.

use jiff::SignedDuration;

/// For how long after it was sent a command goes wrong. It is in the dead-letter queue within
/// seconds, and whoever sends it back from there later is to see it carried out.
pub const FAULT_LIFETIME: SignedDuration = SignedDuration::from_mins(2);

/// How a command goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its delivery fails, so in the end it goes to the dead-letter queue.
    Fail,
    /// It is taken, and nothing is done or answered.
    Timeout,
    /// It is carried out, and its answer is not sent.
    LostReply,
}

impl Fault {
    /// Each by its name in the messages' contract, and whether it befalls the first delivery alone.
    pub const ALL: [(&str, Self, bool); 6] = [
        ("fail", Self::Fail, false),
        ("fail_once", Self::Fail, true),
        ("timeout", Self::Timeout, false),
        ("timeout_once", Self::Timeout, true),
        ("lost_reply", Self::LostReply, false),
        ("lost_reply_once", Self::LostReply, true),
    ];
}
