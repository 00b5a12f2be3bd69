//! Functions that a caller invokes by name (`lambda:InvokeFunction`). They have no route.

use futures_util::FutureExt;
use serde_json::Value;

use crate::runtime::{answer, serve};
use crate::{Context, Error, Origin};

/// Runs a function on each call and returns its value to the caller.
pub async fn run<F, Fut>(handler: F) -> Result<(), Error>
where
    F: Fn(Context, Value) -> Fut,
    Fut: Future<Output = Result<Value, Error>>,
{
    let origin = Origin::system();
    serve(&|event| {
        let call = handler(origin.context(None), event.payload);
        async { answer(&call.await?) }.boxed_local()
    })
    .await
}
