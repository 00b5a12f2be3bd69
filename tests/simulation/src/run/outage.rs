//! Lasting outages of a function or of the payment provider.

use crate::clock::Millis;
use crate::fault_profile::{FaultKind, FaultProfile};
use crate::participants::Queue;

/// An outage of a function.
pub(super) struct Outage {
    pub(super) queue: Queue,
    /// Whether the function crashes at every message; else its table calls fail.
    pub(super) dies: bool,
    pub(super) from: Millis,
    pub(super) until: Millis,
    /// Whether the outage hit a call or message.
    pub(super) met: bool,
}

/// Draws an outage, if any.
pub(super) fn outage(profile: &mut FaultProfile, faults_until: Millis) -> Option<Outage> {
    if !profile.will_occur(FaultKind::Outage) {
        return None;
    }
    let rng = profile.rng(FaultKind::Outage);
    let from = rng.between(0, faults_until);
    let lasts = *rng.pick(&[60_000, 1_800_000, 7_200_000]);
    Some(Outage {
        queue: *rng.pick(&Queue::ALL),
        from,
        until: from + rng.between(1_000, lasts),
        dies: rng.chance(500),
        met: false,
    })
}

/// Plans an outage of the payment provider, if any, and returns its end.
pub(super) fn provider_gone(profile: &mut FaultProfile, faults_until: Millis) -> Millis {
    if !profile.will_occur(FaultKind::ProviderGone) {
        return 0;
    }
    let rng = profile.rng(FaultKind::ProviderGone);
    let from = rng.between(0, faults_until);
    let lasts = *rng.pick(&[300_000, 1_800_000, 1_800_000, 7_200_000]);
    let until = from + rng.between(60_000, lasts);
    profile.plan_provider_outage(from..until);
    until
}
