//! Functions that a timer calls.

use std::time::Duration;

use futures_util::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::Instant;

use crate::{Context, Error, Origin, telemetry};

/// For how long a run takes anything on. It is measured by the timers' clock, which a simulation
/// holds as it holds all timers, and never by the time of day.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit(Instant);

impl TimeLimit {
    /// From now on.
    pub fn of(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Whether nothing more is to be taken on.
    pub fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Runs a function on each tick of its schedule. What it returns goes into the invocation's
/// answer, which an operator who calls the function by hand can read.
pub async fn run<F, Fut>(handler: F) -> Result<(), Error>
where
    F: Fn(Context) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value, Error>> + Send,
{
    telemetry::init();
    let (origin, handler) = (Origin::system(), &handler);
    lambda_runtime::run(service_fn(move |_: LambdaEvent<Value>| {
        let context = origin.context(None);
        // A failure is logged by the runtime, once.
        handler(context).boxed()
    }))
    .await
}
