//! What goes wrong with a call, with a function and with the provider: drawn in a fixed order, so that
//! a seed is the same run.

use test_support::{Call, Fault};

use super::outage::Outage;
use super::world::World;
use crate::chance::{Trouble, Weather, weather};
use crate::clock::Millis;
use crate::tables::Tables;

#[derive(Debug)]
pub(super) enum Drawn {
    Fault(Fault),
    Late(Millis),
    Stall,
    Hang,
}

impl World {
    /// Whether a function is broken now, in this of the two ways.
    pub(super) fn is_out(&mut self, function: &str, dies: bool) -> bool {
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
        weather(&self.weather).meets(Trouble::Outage, is_first);
        true
    }

    /// Whether what was drawn for a call changes anything.
    pub(super) fn makes_a_difference(&self, call: &Call, drawn: &Drawn) -> bool {
        match drawn {
            Drawn::Fault(Fault::Stale(writes)) => self.system.aws.would_be_stale(call, *writes),
            Drawn::Fault(_) | Drawn::Late(_) | Drawn::Stall | Drawn::Hang => true,
        }
    }

    /// What a function may fail for has come so often.
    pub(super) fn failures(&self) -> u64 {
        let weather = weather(&self.weather);
        let counts = weather
            .counts()
            .filter(|(kind, _)| befalls_functions(*kind));
        counts.map(|(_, came)| came).sum::<u64>() + weather.lasting_met()
    }
}

/// What befalls a call. Every kind that could is drawn, in a fixed order; the first that comes
/// counts.
pub(super) fn draw(
    weather: &mut Weather,
    call: &Call,
    tables: &Tables,
) -> Option<(Trouble, Drawn)> {
    let mut drawn: Option<(Trouble, Drawn)> = None;
    let mut offer = |weather: &mut Weather, trouble: Trouble, what: Drawn| {
        if weather.brings(trouble) {
            if drawn.is_none() {
                drawn = Some((trouble, what));
            } else {
                weather.take_back(trouble);
            }
        }
    };
    offer(
        weather,
        Trouble::KillBefore,
        Drawn::Fault(Fault::KillBefore),
    );
    offer(weather, Trouble::KillAfter, Drawn::Fault(Fault::KillAfter));
    let stalls = match weather.dice(Trouble::Stall).hits(300) {
        true => Drawn::Hang,
        false => Drawn::Stall,
    };
    offer(weather, Trouble::Stall, stalls);
    offer(weather, Trouble::Throttle, Drawn::Fault(Fault::Throttle));
    offer(
        weather,
        Trouble::LostRequest,
        Drawn::Fault(Fault::BeforeEffect),
    );
    offer(
        weather,
        Trouble::LostAnswer,
        Drawn::Fault(Fault::AfterEffect),
    );
    if call.is_write() {
        let after = *weather
            .dice(Trouble::LateRequest)
            .pick(&[5, 300, 4_000, 60_000, 900_000]);
        offer(weather, Trouble::LateRequest, Drawn::Late(after));
    }
    // Nobody writes orders or payments in a transaction.
    let in_transactions = [&tables.inventory, &tables.users];
    let may_conflict = call.targets.iter().any(|of| in_transactions.contains(&of));
    if may_conflict && Fault::TransactionConflict.can_befall(call) {
        offer(
            weather,
            Trouble::Conflict,
            Drawn::Fault(Fault::TransactionConflict),
        );
    }
    if Fault::Unprocessed.can_befall(call) {
        // Of one key alone a part would be all of it.
        let wholly = weather.dice(Trouble::Unprocessed).hits(250) || asks_for_one(call);
        let fault = match wholly {
            true => Fault::WhollyUnprocessed,
            false => Fault::Unprocessed,
        };
        offer(weather, Trouble::Unprocessed, Drawn::Fault(fault));
    }
    if call.may_be_stale() {
        let writes = *weather.dice(Trouble::StaleRead).pick(&[1, 6, 30, 120]);
        let fault = Fault::Stale(writes);
        offer(weather, Trouble::StaleRead, Drawn::Fault(fault));
    }
    if call.action == "SendMessageBatch" {
        let entries = call.request["Entries"].as_array().map_or(0, Vec::len);
        let dice = weather.dice(Trouble::PartialSend);
        let one = dice.below(entries.max(1) as u64) as usize;
        let refused: Vec<usize> = (0..entries)
            .filter(|entry| *entry == one || dice.hits(500))
            .collect();
        offer(
            weather,
            Trouble::PartialSend,
            Drawn::Fault(Fault::PartialSend(refused)),
        );
    }
    drawn
}

/// Whether a batch names one key of a table, or none.
fn asks_for_one(call: &Call) -> bool {
    let tables = call.request["RequestItems"].as_object();
    let mut tables = tables.into_iter().flat_map(|tables| tables.values());
    tables.all(|asked| asked["Keys"].as_array().is_some_and(|keys| keys.len() < 2))
}

/// What a function may fail for. (Whatever is late, or left where it is, is somebody else's message.)
fn befalls_functions(kind: Trouble) -> bool {
    let late = [Trouble::Delay, Trouble::SweeperLate, Trouble::LeftDead];
    !kind.is_of_people() && !late.contains(&kind)
}
