//! Replays every message twice: no row may change.

use serde_json::Value;

use super::world::{MAX_STEPS, World};
use crate::abandonment::Abandoned;

/// Every third world is replayed. A replay takes as long as the run, and shows the same in each
/// world.
const REPLAYED_IN_EVERY: u64 = 3;

pub(super) fn is_replayed(seed: u64) -> bool {
    seed.is_multiple_of(REPLAYED_IN_EVERY)
}

impl World {
    /// Replays every message twice, in any order.
    ///
    /// Dead letters of abandoned steps may go through in the first replay. So rows of abandoned
    /// orders may change in the first replay, but not in the second.
    pub(super) async fn replay_everything(&mut self) {
        let abandoned = Abandoned::of(&self.ledger);
        self.replay_unchanged(&abandoned).await;
        if abandoned.is_any() && self.record.violations.is_empty() {
            self.replay_unchanged(&Abandoned::default()).await;
        }
    }

    /// Replays everything twice and compares all other rows.
    async fn replay_unchanged(&mut self, excluded_kinds: &Abandoned) {
        let rows = |world: &Self| -> Vec<Value> {
            let rows = world.tables().into_iter();
            rows.filter(|row| !excluded_kinds.concerns(row)).collect()
        };
        let before = rows(self);
        self.replay_twice().await;
        let after = rows(self);
        if self.record.violations.is_empty() && after != before {
            let changed = before
                .iter()
                .zip(&after)
                .find(|(before, after)| before != after);
            self.report(format!("the replay changed a row: {changed:?}"));
        }
    }

    async fn replay_twice(&mut self) {
        let history = self.network.history.clone();
        let now = self.now();
        for _ in 0..2 {
            for (queue, body) in &history {
                self.network.replay(*queue, body.clone(), now);
            }
        }
        self.record.replayed += 2 * history.len() as u64;
        self.log("replay", &format_args!("{} messages", history.len()));
        let limit = self.record.steps + MAX_STEPS;
        while !self.is_quiescent() && self.record.violations.is_empty() {
            self.record.steps += 1;
            if self.record.steps > limit {
                self.report("the replay does not become quiescent".to_owned());
            }
            let now = self.now();
            let options = self.options(now);
            if options.is_empty() {
                let until = self.next_event(now);
                self.advance_time(until - now).await;
            } else {
                let choice = *self.rng.pick(&options);
                self.act(choice);
                self.collect_messages();
            }
        }
    }

    fn tables(&self) -> Vec<Value> {
        let tables = self.system.tables.all().into_iter();
        tables
            .flat_map(|table| self.system.aws.dump(table))
            .collect()
    }
}
