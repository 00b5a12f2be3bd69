//! The port to the payment provider.
//!
//! Payments relies on one promise of a provider: a key identifies one charge, or one refund, for ever.
//! A second call with the same key gets the first answer and has no effect. After a lost answer,
//! payments therefore calls again instead of guessing.
//!
//! "For ever" is literal: a dead letter comes back after days, and a parked refund is retried every
//! hour. Keys of real providers expire: Stripe may prune them after 24 hours and then treats them as
//! new (Stripe API reference, "Idempotent requests"). An implementation must therefore first look for
//! its earlier call. It needs a lasting value for that: the order's id in the provider's metadata.

mod simulator;

use std::fmt;
use std::time::Duration;

use shared_lambda::{Error, Stage};

use crate::domain::{Charge, ChargeKey, Money, PaymentId, RefundKey, Settlement};

pub use simulator::Simulator;

/// Tries of one call within an invocation.
pub const TRIES: u32 = 2;

/// The timeout of one try. A command makes at most two calls: cancel or charge, then refund. So a slow
/// provider takes less than 9 of the 10 seconds that a handler has.
pub const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The wait before another try.
pub const PAUSE: Duration = Duration::from_millis(200);

/// A provider that charges cards and refunds charges.
pub trait Provider {
    /// Charges once per key. A charge that was cancelled before takes no money and answers
    /// [`Settlement::Cancelled`].
    fn charge(
        &self,
        charge: &Charge,
    ) -> impl Future<Output = Result<Settlement, ProviderError>> + Send;

    /// Prevents any later charge with the key, or returns its earlier settlement.
    fn cancel(
        &self,
        key: &ChargeKey,
    ) -> impl Future<Output = Result<Settlement, ProviderError>> + Send;

    /// Refunds a charge, once per key.
    fn refund(
        &self,
        key: &RefundKey,
        payment_id: &PaymentId,
        amount: Money,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;
}

/// A failed call to the provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The call may have succeeded. Another call with the same key shows it.
    #[error("the payment provider did not answer")]
    Unknown(#[source] Error),
    /// The provider refuses the call for good.
    #[error("the payment provider refuses this call: {0}")]
    Refused(String),
}

/// Repeats a call until the provider answers, up to [`TRIES`], with a timeout for each try.
pub async fn ask<T, F>(question: impl Fn() -> F) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let mut tries_left = TRIES;
    loop {
        let answer = tokio::time::timeout(TRY_TIMEOUT, question())
            .await
            .unwrap_or_else(|elapsed| Err(ProviderError::Unknown(elapsed.into())));
        tries_left -= 1;
        match answer {
            Err(ProviderError::Unknown(_)) if tries_left > 0 => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

/// The values of `PAYMENT_PROVIDER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Simulator,
}

/// A configuration of the provider that stops a function from starting.
#[derive(PartialEq, Eq, thiserror::Error)]
pub enum UnusableProvider {
    #[error("PAYMENT_PROVIDER is {0:?}; the only provider so far is \"simulator\"")]
    Unknown(String),
    #[error("SIMULATOR_IN_PRODUCTION is {0:?}; set it to \"true\" or \"false\"")]
    NotAFlag(String),
    #[error(
        "STAGE is production but PAYMENT_PROVIDER is \"simulator\", which takes no money: orders would be \
         confirmed without payment; set the template's Stage to dev or staging, or, if this is intended, \
         its SimulatorInProduction to \"true\" (the variable SIMULATOR_IN_PRODUCTION)"
    )]
    SimulatorInProduction,
}

/// Operators read this form: a failing `main` prints its error's `Debug`.
impl fmt::Debug for UnusableProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Kind {
    /// The provider with this name, if the stage may use it. `simulator_in_production` allows the
    /// simulator in production.
    pub fn choose(
        name: &str,
        stage: Stage,
        simulator_in_production: &str,
    ) -> Result<Self, UnusableProvider> {
        let is_meant = match simulator_in_production {
            "true" => true,
            "false" => false,
            other => return Err(UnusableProvider::NotAFlag(other.to_owned())),
        };
        match (name, stage) {
            ("simulator", Stage::Production) if !is_meant => {
                Err(UnusableProvider::SimulatorInProduction)
            }
            ("simulator", Stage::Dev | Stage::Staging | Stage::Production) => Ok(Self::Simulator),
            _ => Err(UnusableProvider::Unknown(name.to_owned())),
        }
    }
}
