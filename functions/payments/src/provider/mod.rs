//! The port to whoever moves the money, and how patiently it is asked.
//!
//! Everything here rests on one promise that a provider makes: a key stands for one charge, or one
//! refund, for ever. Asking again under the same key repeats the answer and never the effect, so an
//! answer that was lost is asked for again instead of guessed.
//!
//! "For ever" is meant: a dead letter comes back after days, and a parked refund is asked for every
//! hour. Idempotency keys of real providers do not last so long (Stripe's may be pruned after 24 hours
//! and are then taken for new ones: Stripe API reference, "Idempotent requests"), so an implementation
//! has to find what it did under a key by something that stays, such as the order's id in the
//! metadata of the provider's own object, before it asks anything anew.

mod simulator;

use std::fmt;
use std::time::Duration;

use shared_lambda::{Error, Stage};

use crate::domain::{Charge, ChargeKey, Money, PaymentId, RefundKey, Settlement};

pub use simulator::Simulator;

/// How often one question is put within one invocation.
pub const TRIES: u32 = 2;

/// How long each try may take. A command puts two questions at most (cancel or charge, then
/// refund), so the provider can hold up an invocation for less than 9 of the 10 seconds its handlers have.
pub const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait before asking again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Somebody who charges cards and gives money back.
pub trait Provider {
    /// Takes the money, once for a key. A charge that was cancelled before is
    /// [`Settlement::Cancelled`] and takes nothing.
    fn charge(
        &self,
        charge: &Charge,
    ) -> impl Future<Output = Result<Settlement, ProviderError>> + Send;

    /// Makes any later charge under the key impossible, or says how it had been settled before.
    fn cancel(
        &self,
        key: &ChargeKey,
    ) -> impl Future<Output = Result<Settlement, ProviderError>> + Send;

    /// Gives a charge back, once for a key.
    fn refund(
        &self,
        key: &RefundKey,
        payment_id: &PaymentId,
        amount: Money,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;
}

/// Why the provider's word is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It may have done what it was asked. Asking again, with the same key, tells.
    #[error("the payment provider did not answer")]
    Unknown(#[source] Error),
    /// It will not do it, now or later: what was asked makes no sense to it.
    #[error("the payment provider does not take this: {0}")]
    Refused(String),
}

/// Puts a question until it is answered, with a timeout for each try.
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

/// The providers that can be chosen with `PAYMENT_PROVIDER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Simulator,
}

/// Why a function does not start with the provider it was given.
#[derive(PartialEq, Eq, thiserror::Error)]
pub enum UnusableProvider {
    #[error("PAYMENT_PROVIDER is {0:?}; the one provider there is so far is \"simulator\"")]
    Unknown(String),
    #[error("SIMULATOR_IN_PRODUCTION is {0:?}; it is \"true\" or \"false\"")]
    NotAFlag(String),
    #[error(
        "STAGE is production and PAYMENT_PROVIDER is \"simulator\", which takes no money: orders would be \
         confirmed that nobody has paid; set the template's Stage to dev or staging, or, if this is meant, \
         its SimulatorInProduction to \"true\" (the variable SIMULATOR_IN_PRODUCTION)"
    )]
    SimulatorInProduction,
}

/// A `main` that fails prints its error's `Debug`: that is what an operator reads.
impl fmt::Debug for UnusableProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Kind {
    /// The provider of this name, if the stage may use it. `simulator_in_production` says whether the
    /// simulator is meant there.
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
