//! The context of a call: its time, a fresh id and its trace.

use std::sync::Arc;

use jiff::{Timestamp, Unit};
use uuid::Uuid;

/// The only source of time and ids a handler has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// When the call began, to the millisecond.
    pub now: Timestamp,
    /// A new UUIDv7, for the record that this call creates.
    pub fresh_id: Uuid,
    /// The W3C trace context of every call and message that this call causes.
    pub traceparent: String,
}

impl Context {
    /// The trace's id: 32 hexadecimal digits, the same in every log line of a request.
    pub fn trace_id(&self) -> &str {
        trace_id(&self.traceparent).unwrap_or_default()
    }
}

/// The trace's id in a `traceparent`.
pub(crate) fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.get(3..35)
}

/// The source of contexts: the system's clock and randomness, or a simulation's.
#[derive(Clone)]
pub struct Origin {
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl Origin {
    /// The system's clock and random ids.
    pub fn system() -> Self {
        Self::new(Timestamp::now, Uuid::now_v7)
    }

    /// A test's clock and ids.
    pub fn new(
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        ids: impl Fn() -> Uuid + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock: Arc::new(clock),
            ids: Arc::new(ids),
        }
    }

    /// The context of a call that begins now. It continues the caller's trace, if there is one.
    pub fn context(&self, traceparent: Option<&str>) -> Context {
        let now = (self.clock)();
        let fresh_id = (self.ids)();
        let span = (self.ids)().as_u128() as u64;
        let traceparent = match traceparent.and_then(trace_of) {
            Some((trace, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
            None => format!("00-{}-{span:016x}-01", (self.ids)().simple()),
        };
        Context {
            now: now.round(Unit::Millisecond).unwrap_or(now),
            fresh_id,
            traceparent,
        }
    }
}

/// The trace id and flags of a `traceparent` (W3C Trace Context §3.2). A broken header gives none,
/// so that the call starts a new trace, as the recommendation asks.
fn trace_of(traceparent: &str) -> Option<(&str, &str)> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Only a newer version may have more parts.
    let is_whole = version != "00" || parts.next().is_none();
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
    let well_formed = is_whole
        && is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && !is_zero(trace)
        && !is_zero(span);
    well_formed.then_some((trace, flags))
}
