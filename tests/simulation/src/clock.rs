//! The simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Milliseconds since the simulation began.
pub type Millis = i64;

/// When every simulation begins.
const START: i64 = 1_790_000_000_000;

/// The simulated time. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn now(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }

    pub fn timestamp(&self) -> Timestamp {
        timestamp(self.now())
    }

    /// Time passes, for the handlers' clocks and for their timers alike.
    pub async fn pass(&self, millis: Millis) {
        self.0.fetch_add(millis, Ordering::Relaxed);
        tokio::time::advance(Duration::from_millis(millis as u64)).await;
    }
}

/// A moment of the simulation as the handlers see it.
pub fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(START + at).expect("simulations do not last for millennia")
}

/// The other way round.
pub fn millis(at: Timestamp) -> Millis {
    at.as_millisecond() - START
}
