//! Functions that a schedule calls.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::Instant;

use crate::runtime::{answer, serve};
use crate::{Context, Error, Origin};

/// The time after which a run starts no more work. It uses tokio's clock, which a simulation
/// controls, and not the time of day.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit(Instant);

impl TimeLimit {
    /// Starts now.
    pub fn of(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Whether the run must start no more work.
    pub fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Runs a function on each tick of its schedule. Its value is the invocation's answer, for an
/// operator who calls the function by hand.
pub async fn run<F, Fut>(handler: F) -> Result<(), Error>
where
    F: Fn(Context) -> Fut,
    Fut: Future<Output = Result<Value, Error>>,
{
    let origin = Origin::system();
    serve(&|_| {
        let call = handler(origin.context(None));
        async { answer(&call.await?) }.boxed_local()
    })
    .await
}
