//! The simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Milliseconds since the simulation began.
pub type Millis = i64;

/// The start of every simulation, in milliseconds since 1970.
const START: i64 = 1_790_000_000_000;

/// The simulated time. Clones share one clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn now(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }

    pub fn timestamp(&self) -> Timestamp {
        timestamp(self.now())
    }

    /// Advances the handlers' clock and their timers.
    pub async fn advance(&self, millis: Millis) {
        self.0.fetch_add(millis, Ordering::Relaxed);
        tokio::time::advance(Duration::from_millis(millis as u64)).await;
    }
}

pub fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(START + at).expect("simulations do not last for millennia")
}

pub fn millis(at: Timestamp) -> Millis {
    at.as_millisecond() - START
}
