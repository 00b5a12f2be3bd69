//! The base of every function, with recorded events, failing calls and paused time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod aws;
mod conditional;
mod context;
mod cursor;
mod envelope;
mod events;
mod fault;
mod front;
mod http;
mod logs;
mod migrate;
mod object;
mod prefer;
mod problem;
mod rest;
mod sqs;
mod table;
mod telemetry;

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use shared_lambda::{Context, Origin};
use uuid::Uuid;

/// The first id of every [`origin`]; the others count up from it.
const FIRST_ID: u128 = 0x0190_0000_0000_7000_8000_0000_0000_0000;

/// The trace id that an [`origin`] gives its first call without one.
const TRACE_ID: &str = "01900000000070008000000000000002";

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// A clock that stands still and ids that count up.
fn origin() -> Origin {
    let next = AtomicU64::new(0);
    Origin::new(now, move || {
        Uuid::from_u128(FIRST_ID + u128::from(next.fetch_add(1, Ordering::Relaxed)))
    })
}

fn context() -> Context {
    origin().context(None)
}
