//! Functions that a timer calls.

use futures_util::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use crate::{Context, Error, Origin, telemetry};

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
