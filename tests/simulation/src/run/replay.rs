//! Every message that was ever sent, delivered twice more: nothing may change.

use serde_json::Value;

use super::world::{MAX_STEPS, World};
use crate::abandoning::Abandoned;

/// In every third world everything is delivered again once it is at rest. It takes as long as all
/// that went before, and what it shows it shows of every world alike.
const REPLAYED_IN_EVERY: u64 = 3;

/// Whether everything is delivered again in the world of this seed.
pub(super) fn is_replayed(seed: u64) -> bool {
    seed.is_multiple_of(REPLAYED_IN_EVERY)
}

impl World {
    /// Every message that was ever sent comes twice more, in any order; then nothing has changed.
    ///
    /// What an operator gave up may still be lying in a dead-letter queue and go through now, for
    /// the orders it is about. They are held to this once it has.
    pub(super) async fn replay_everything(&mut self) {
        let abandoned = Abandoned::of(&self.books);
        self.replay_unchanged(&abandoned).await;
        if abandoned.is_any() && self.record.violations.is_empty() {
            self.replay_unchanged(&Abandoned::default()).await;
        }
    }

    /// Delivers everything twice; no row has changed but those left out.
    async fn replay_unchanged(&mut self, left_out: &Abandoned) {
        let rows = |world: &Self| -> Vec<Value> {
            let rows = world.tables().into_iter();
            rows.filter(|row| !left_out.concerns(row)).collect()
        };
        let before = rows(self);
        self.replay_twice().await;
        let after = rows(self);
        if self.record.violations.is_empty() && after != before {
            let changed = before
                .iter()
                .zip(&after)
                .find(|(before, after)| before != after);
            self.wrong(format!(
                "replaying every message changed a row: {changed:?}"
            ));
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
        self.note("replay", &format_args!("{} messages", history.len()));
        let limit = self.record.steps + MAX_STEPS;
        while !self.is_at_rest() && self.record.violations.is_empty() {
            self.record.steps += 1;
            if self.record.steps > limit {
                self.wrong("the replay does not come to rest".to_owned());
            }
            let now = self.now();
            let options = self.options(now);
            if options.is_empty() {
                let until = self.next_event(now);
                self.pass(until - now).await;
            } else {
                let choice = *self.dice.pick(&options);
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
