//! The loop of the Lambda runtime. It takes one type of handler, so that it is compiled once here and not in
//! each function.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::{Error, telemetry};

/// The JSON that a call answers.
pub type Answer = Result<Box<RawValue>, Error>;

/// Calls the handler for each event, until the environment ends.
pub fn serve<'a>(
    handler: &'a dyn Fn(LambdaEvent<Value>) -> LocalBoxFuture<'a, Answer>,
) -> LocalBoxFuture<'a, Result<(), Error>> {
    async move {
        telemetry::init();
        // The runtime logs a failure, once.
        lambda_runtime::run(service_fn(handler)).await
    }
    .boxed_local()
}

pub fn answer(value: &impl Serialize) -> Answer {
    Ok(to_raw_value(value)?)
}
