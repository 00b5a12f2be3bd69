//! The orders service: places orders and drives each through its saga.
//!
//! Dependencies point one way: `bin` -> [`handlers`] -> {[`domain`], [`store`], [`messages`],
//! [`users`]} -> the shared crates. `domain` does no I/O and knows no clock.

pub mod domain;
pub mod handlers;
pub mod messages;
pub mod migrations;
pub mod store;
pub mod users;

use domain::StepTimeout;
use jiff::SignedDuration;

/// `ORDERS_STEP_TIMEOUT_SECONDS`: how long a saga step may take before it is asked for again.
pub fn step_timeout_from_env() -> Result<StepTimeout, shared_lambda::Error> {
    const NAME: &str = "ORDERS_STEP_TIMEOUT_SECONDS";
    let text = shared_lambda::env(NAME)?;
    match text.parse::<u32>() {
        Ok(seconds @ 1..=3600) => Ok(StepTimeout(SignedDuration::from_secs(seconds.into()))),
        _ => Err(format!("{NAME} is not a whole number of seconds from 1 to 3600").into()),
    }
}
