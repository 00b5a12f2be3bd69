//! Functions that are called by name, with `lambda:InvokeFunction`: no route leads to them.

use futures_util::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use crate::{Context, Error, Origin, telemetry};

/// Runs a function on each call. What it returns is the invocation's answer.
pub async fn run<F, Fut>(handler: F) -> Result<(), Error>
where
    F: Fn(Context, Value) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value, Error>> + Send,
{
    telemetry::init();
    let (origin, handler) = (Origin::system(), &handler);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let context = origin.context(None);
        // A failure is logged by the runtime, once.
        handler(context, event.payload).boxed()
    }))
    .await
}
