//! Functions that a schedule calls.

use std::time::Duration;

use futures_util::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::Instant;

use crate::{Context, Error, Origin, telemetry};

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
    F: Fn(Context) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value, Error>> + Send,
{
    telemetry::init();
    let (origin, handler) = (Origin::system(), &handler);
    lambda_runtime::run(service_fn(move |_: LambdaEvent<Value>| {
        let context = origin.context(None);
        // The runtime logs a failure, once.
        handler(context).boxed()
    }))
    .await
}
