//! Payments, with an unreliable provider.

use super::crates::payments::domain::{Charge, ChargeKey, Money, PaymentId, RefundKey, Settlement};
use super::crates::payments::handlers::commands::{self, Commands};
use super::crates::payments::provider::{Provider, ProviderError, Simulator};
use super::release::handler;
use crate::clock::Clock;
use crate::fault_profile::{FaultKind, SharedProfile, lock_profile};
use crate::wiring::{Handler, Wiring};

pub fn commands(wiring: &Wiring) -> Handler {
    let (profile, clock) = (wiring.profile.clone(), wiring.clock.clone());
    let wire = |setup: &_| {
        let wired = commands::wire(setup)?;
        Ok(Commands {
            store: wired.store,
            provider: Unreliable {
                simulator: wired.provider,
                profile,
                clock,
            },
            replies_queue_url: wired.replies_queue_url,
        })
    };
    handler(wiring, "payments-commands", wire, commands::handle)
}

/// The payment simulator behind an unreliable connection.
struct Unreliable {
    simulator: Simulator,
    profile: SharedProfile,
    clock: Clock,
}

impl Unreliable {
    async fn over<T>(
        &self,
        question: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let unknown = |why: &'static str| Err(ProviderError::Unknown(why.into()));
        {
            let mut profile = lock_profile(&self.profile);
            if profile.is_provider_out(self.clock.now()) || profile.occurs(FaultKind::ProviderDown)
            {
                return unknown("the provider cannot be reached");
            }
        }
        let answer = question.await;
        if lock_profile(&self.profile).occurs(FaultKind::ProviderLost) {
            return unknown("the provider's answer was lost");
        }
        answer
    }
}

impl Provider for Unreliable {
    async fn charge(&self, charge: &Charge) -> Result<Settlement, ProviderError> {
        self.over(self.simulator.charge(charge)).await
    }

    async fn cancel(&self, key: &ChargeKey) -> Result<Settlement, ProviderError> {
        self.over(self.simulator.cancel(key)).await
    }

    async fn refund(
        &self,
        key: &RefundKey,
        payment_id: &PaymentId,
        amount: Money,
    ) -> Result<(), ProviderError> {
        self.over(self.simulator.refund(key, payment_id, amount))
            .await
    }
}
