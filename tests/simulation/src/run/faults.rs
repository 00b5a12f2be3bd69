//! Draws the faults of calls and functions, in a fixed order, so that a seed keeps its run.

use test_support::{Call, Fault};

use super::outage::Outage;
use super::world::World;
use crate::clock::Millis;
use crate::fault_profile::{FaultKind, FaultProfile, lock_profile};
use crate::tables::Tables;

#[derive(Debug)]
pub(super) enum DrawnFault {
    Fault(Fault),
    Late(Millis),
    Stall,
    Hang,
}

impl World {
    /// Whether a function is out now: it crashes (`dies`), or its table calls fail.
    pub(super) fn is_broken(&mut self, function: &str, dies: bool) -> bool {
        let now = self.now();
        let broken = |outage: &&mut Outage| {
            outage.queue.function() == function
                && outage.dies == dies
                && (outage.from..outage.until).contains(&now)
        };
        let Some(outage) = self.outage.as_mut().filter(broken) else {
            return false;
        };
        let is_first = !std::mem::replace(&mut outage.met, true);
        lock_profile(&self.profile).count_lasting(FaultKind::Outage, is_first);
        true
    }

    /// Whether a drawn fault changes the answer.
    pub(super) fn has_effect(&self, call: &Call, drawn: &DrawnFault) -> bool {
        match drawn {
            DrawnFault::Fault(Fault::Stale(writes)) => {
                self.system.aws.would_be_stale(call, *writes)
            }
            DrawnFault::Fault(_) | DrawnFault::Late(_) | DrawnFault::Stall | DrawnFault::Hang => {
                true
            }
        }
    }

    /// The count of faults that a function may fail for.
    pub(super) fn failures(&self) -> u64 {
        let profile = lock_profile(&self.profile);
        let counts = profile
            .counts()
            .filter(|(kind, _)| can_fail_a_function(*kind));
        counts.map(|(_, count)| count).sum::<u64>() + profile.lasting_hits()
    }
}

/// Draws every kind that applies to the call, in a fixed order. The first that occurs counts.
pub(super) fn draw(
    profile: &mut FaultProfile,
    call: &Call,
    tables: &Tables,
) -> Option<(FaultKind, DrawnFault)> {
    let mut drawn: Option<(FaultKind, DrawnFault)> = None;
    let mut offer = |profile: &mut FaultProfile, fault: FaultKind, what: DrawnFault| {
        if profile.occurs(fault) {
            if drawn.is_none() {
                drawn = Some((fault, what));
            } else {
                profile.uncount(fault);
            }
        }
    };
    let crashes = [
        (FaultKind::KillBefore, Fault::KillBefore),
        (FaultKind::KillAfter, Fault::KillAfter),
    ];
    for (kind, fault) in crashes {
        offer(profile, kind, DrawnFault::Fault(fault));
    }
    let stalls = match profile.rng(FaultKind::Stall).chance(300) {
        true => DrawnFault::Hang,
        false => DrawnFault::Stall,
    };
    offer(profile, FaultKind::Stall, stalls);
    let failures = [
        (FaultKind::Throttle, Fault::Throttle),
        (FaultKind::LostRequest, Fault::BeforeEffect),
        (FaultKind::LostAnswer, Fault::AfterEffect),
    ];
    for (kind, fault) in failures {
        offer(profile, kind, DrawnFault::Fault(fault));
    }
    if call.is_write() {
        let after = *profile
            .rng(FaultKind::LateRequest)
            .pick(&[5, 300, 4_000, 60_000, 900_000]);
        offer(profile, FaultKind::LateRequest, DrawnFault::Late(after));
    }
    // No function writes orders or payments in a transaction.
    let in_transactions = [&tables.inventory, &tables.users];
    let may_conflict = call.targets.iter().any(|of| in_transactions.contains(&of));
    if may_conflict && Fault::TransactionConflict.applies_to(call) {
        let fault = DrawnFault::Fault(Fault::TransactionConflict);
        offer(profile, FaultKind::Conflict, fault);
    }
    if Fault::Unprocessed.applies_to(call) {
        // A part of one key would be all of it.
        let wholly = profile.rng(FaultKind::Unprocessed).chance(250) || asks_for_one(call);
        let fault = match wholly {
            true => Fault::WhollyUnprocessed,
            false => Fault::Unprocessed,
        };
        offer(profile, FaultKind::Unprocessed, DrawnFault::Fault(fault));
    }
    if call.may_be_stale() {
        let writes = *profile.rng(FaultKind::StaleRead).pick(&[1, 6, 30, 120]);
        let fault = Fault::Stale(writes);
        offer(profile, FaultKind::StaleRead, DrawnFault::Fault(fault));
    }
    if call.action == "SendMessageBatch" {
        let entries = call.request["Entries"].as_array().map_or(0, Vec::len);
        let rng = profile.rng(FaultKind::PartialSend);
        let one = rng.below(entries.max(1) as u64) as usize;
        let refused: Vec<usize> = (0..entries)
            .filter(|entry| *entry == one || rng.chance(500))
            .collect();
        let fault = DrawnFault::Fault(Fault::PartialSend(refused));
        offer(profile, FaultKind::PartialSend, fault);
    }
    drawn
}

/// Whether a batch names at most one key per table.
fn asks_for_one(call: &Call) -> bool {
    let tables = call.request["RequestItems"].as_object();
    let mut tables = tables.into_iter().flat_map(|tables| tables.values());
    tables.all(|asked| asked["Keys"].as_array().is_some_and(|keys| keys.len() < 2))
}

/// Whether a function may fail for it. Late or dead messages are not an excuse.
fn can_fail_a_function(kind: FaultKind) -> bool {
    let late = [
        FaultKind::Delay,
        FaultKind::SweeperLate,
        FaultKind::LeftDead,
    ];
    !kind.is_user_action() && !late.contains(&kind)
}
