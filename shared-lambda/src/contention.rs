//! Retries of writes that compete for the same rows.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

/// Enough for ten writers on one row. All waits together stay under a second, so that ten messages
/// in sequence stay within their handlers' time.
const TRIES: u32 = 8;
const FIRST_WAIT_MS: u64 = 10;
const LONGEST_WAIT_MS: u64 = 160;

/// A bounded number of tries with a growing, jittered wait before each but the first. The call's
/// fresh id sets the jitter, so that a simulation can repeat it.
#[derive(Clone, Debug)]
pub struct Tries {
    chance: u64,
    made: u32,
}

impl Tries {
    /// Tries of the call with this fresh id.
    pub fn new(fresh_id: Uuid) -> Self {
        Self {
            // The random part of a UUIDv7 (RFC 9562 §5.7) without its variant bits.
            chance: fresh_id.as_u128() as u64 & (u64::MAX >> 2),
            made: 0,
        }
    }

    /// Waits for the next try. Returns false when none is left.
    pub async fn next(&mut self) -> bool {
        if self.made == TRIES {
            return false;
        }
        if self.made > 0 {
            sleep(self.wait()).await;
        }
        self.made += 1;
        true
    }

    fn wait(&self) -> Duration {
        let ceiling = (FIRST_WAIT_MS << (self.made - 1)).min(LONGEST_WAIT_MS);
        let share = self.chance.rotate_right(7 * self.made) % (ceiling * 1000);
        Duration::from_micros(share)
    }
}
