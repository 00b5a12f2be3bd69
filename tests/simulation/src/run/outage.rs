//! What is broken for minutes or hours: a function, or the payment provider.

use crate::chance::{Trouble, Weather};
use crate::clock::Millis;
use crate::participants::Queue;

/// A function that is broken for a while.
pub(super) struct Outage {
    pub(super) queue: Queue,
    /// Whether it dies at every message; else every call it makes to its table fails.
    pub(super) dies: bool,
    pub(super) from: Millis,
    pub(super) until: Millis,
    /// Whether it has met a message.
    pub(super) met: bool,
}

/// Which function is broken, and when, if any is.
pub(super) fn outage(weather: &mut Weather, troubled_until: Millis) -> Option<Outage> {
    if !weather.plans(Trouble::Outage) {
        return None;
    }
    let dice = weather.dice(Trouble::Outage);
    let from = dice.between(0, troubled_until);
    let lasts = *dice.pick(&[60_000, 1_800_000, 7_200_000]);
    Some(Outage {
        queue: *dice.pick(&Queue::ALL),
        from,
        until: from + dice.between(1_000, lasts),
        dies: dice.hits(500),
        met: false,
    })
}

/// Lets the payment provider go, where it does, and says when it is back.
pub(super) fn provider_gone(weather: &mut Weather, troubled_until: Millis) -> Millis {
    if !weather.plans(Trouble::ProviderGone) {
        return 0;
    }
    let dice = weather.dice(Trouble::ProviderGone);
    let from = dice.between(0, troubled_until);
    let lasts = *dice.pick(&[300_000, 1_800_000, 1_800_000, 7_200_000]);
    let until = from + dice.between(60_000, lasts);
    weather.provider_will_be_gone(from..until);
    until
}
