//! Injected faults: a command can name a fault in its envelope.
//!
//! The queue's runner acts on the fault around the handler, which does not know of it. Each function
//! checks its own [`Stage`](crate::Stage), because a message can come from anywhere.

use jiff::SignedDuration;

/// A fault expires this long after its command was sent. The command reaches the dead-letter queue
/// within seconds, so a later redrive succeeds.
pub const FAULT_LIFETIME: SignedDuration = SignedDuration::from_mins(2);

/// An injected fault of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Each delivery fails, so the command reaches the dead-letter queue.
    Fail,
    /// The runner acknowledges the command but does not handle or answer it.
    Timeout,
    /// The handler runs, but its answer is not sent.
    LostReply,
}

impl Fault {
    /// All faults: the name in the contract, the kind, and whether only the first delivery fails.
    pub const ALL: [(&str, Self, bool); 6] = [
        ("fail", Self::Fail, false),
        ("fail_once", Self::Fail, true),
        ("timeout", Self::Timeout, false),
        ("timeout_once", Self::Timeout, true),
        ("lost_reply", Self::LostReply, false),
        ("lost_reply_once", Self::LostReply, true),
    ];
}
