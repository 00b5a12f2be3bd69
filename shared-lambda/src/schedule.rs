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
        async move {
            let trace_id = context.trace_id().to_owned();
            handler(context).await.inspect_err(|error| {
                let cause = telemetry::chain(error.as_ref());
                tracing::error!(trace_id, cause, "scheduled run failed");
            })
        }
        .boxed()
    }))
    .await
}
