//! One world from its seed to its rest: who acts next, what befalls them, and what is wrong then.

mod actors;
mod at_rest;
mod delivery;
mod faults;
mod messages;
mod outage;
mod outcome;
mod people;
mod plan;
mod process;
mod replay;
mod scheduler;
mod world;

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

pub use outcome::Outcome;
pub use plan::Plan;

use crate::books::Violation;
use crate::chance::{Trouble, weather};
use crate::handled::said;
use replay::is_replayed;
use world::{CURRENCY, MAX_STEPS, World};

/// Runs this where time goes on only when everything waits for it.
pub fn on_a_clock_of_its_own<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    runtime.block_on(tokio::task::unconstrained(future))
}

/// Runs a world to its end.
pub fn run(plan: &Plan) -> Outcome {
    // The jitter of the SDK's own retries.
    fastrand::seed(plan.seed);
    on_a_clock_of_its_own(async {
        let mut world = World::new(plan);
        if let Some(violation) = fatal(world.live()).await {
            world.wrong(violation);
        }
        world.outcome()
    })
}

/// A panic ends a world, and is a violation like others: a seed is told and can be replayed.
pub async fn fatal(life: impl Future<Output = ()>) -> Option<Violation> {
    let panic = AssertUnwindSafe(life).catch_unwind().await.err()?;
    Some(format!("a panic: {}", said(&*panic)))
}

impl World {
    async fn live(&mut self) {
        self.begin().await;
        while self.record.violations.is_empty() && !self.is_at_rest() {
            self.record.steps += 1;
            if self.record.steps > MAX_STEPS {
                self.wrong("the world does not come to rest".to_owned());
                break;
            }
            self.step().await;
        }
        if self.record.violations.is_empty() {
            self.check_rest();
        }
        if self.record.violations.is_empty() && is_replayed(self.plan.seed) {
            self.replay_everything().await;
        }
    }

    /// What is there before the first order, and what everybody has in mind.
    async fn begin(&mut self) {
        let items: Vec<(String, i64, i64)> = self
            .people
            .skus
            .iter()
            .map(|sku| {
                (
                    sku.clone(),
                    self.dice.between(1, 50) * 100,
                    self.dice.between(0, 25),
                )
            })
            .collect();
        self.gate.open();
        self.system.seed(&self.people.users, &items).await;
        for ((sku, amount, _), currency) in items.iter().zip(&self.people.currencies) {
            if *currency != CURRENCY {
                self.system.reprice(sku, *amount, currency).await;
            }
        }
        self.gate.close();
        let of_items = items.iter().map(|(sku, ..)| {
            let table = self.system.tables.inventory.clone();
            (table, format!("ITEM#{sku}"), "ITEM".to_owned())
        });
        let of_users = self.people.users.iter().map(|user| {
            let table = self.system.tables.users.clone();
            (table, format!("USER#{user}"), "USER".to_owned())
        });
        let keys: Vec<_> = of_items.chain(of_users).collect();
        for key in &keys {
            self.observe(key);
        }
        // Whoever cancels at once and whoever cancels much later.
        let soon = self.dice.hits(500);
        for number in 0..self.plan.orders {
            let client = self.client(number, &items, soon);
            self.people.clients.push(client);
        }
        self.plan_chores();
        let mut weather = weather(&self.weather);
        if weather.brings(Trouble::Poison) {
            for _ in 0..weather.dice(Trouble::Poison).between(1, 4) {
                let at = weather
                    .dice(Trouble::Poison)
                    .between(0, self.troubled_until / 2);
                self.poison.at.push(at);
            }
        }
    }
}
