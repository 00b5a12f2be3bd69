//! Functions that a caller invokes by name (`lambda:InvokeFunction`). They have no route.

use futures_util::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use crate::{Context, Error, Origin, telemetry};

/// Runs a function on each call and returns its value to the caller.
pub async fn run<F, Fut>(handler: F) -> Result<(), Error>
where
    F: Fn(Context, Value) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Value, Error>> + Send,
{
    telemetry::init();
    let (origin, handler) = (Origin::system(), &handler);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let context = origin.context(None);
        // The runtime logs a failure, once.
        handler(context, event.payload).boxed()
    }))
    .await
}
