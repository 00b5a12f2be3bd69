//! Runs one world from its seed until it is quiescent, and checks it.

mod actors;
mod delivery;
mod faults;
mod message_checks;
mod outage;
mod outcome;
mod plan;
mod process;
mod quiescence;
mod replay;
mod requests;
mod scheduler;
mod world;

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

pub use outcome::Outcome;
pub use plan::Plan;

use crate::fault_profile::{FaultKind, lock_profile};
use crate::handled::panic_message;
use crate::invariants::Violation;
use replay::is_replayed;
use world::{CURRENCY, MAX_STEPS, World};

/// Runs a future on a paused clock of its own.
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
    // The SDK takes the jitter of its retries from here.
    fastrand::seed(plan.seed);
    on_a_clock_of_its_own(async {
        let mut world = World::new(plan);
        if let Some(violation) = fatal(world.live()).await {
            world.report(violation);
        }
        world.outcome()
    })
}

/// Turns a panic into a violation, so that its seed can be replayed.
pub async fn fatal(life: impl Future<Output = ()>) -> Option<Violation> {
    let panic = AssertUnwindSafe(life).catch_unwind().await.err()?;
    Some(format!("a panic: {}", panic_message(&*panic)))
}

impl World {
    async fn live(&mut self) {
        self.begin().await;
        while self.record.violations.is_empty() && !self.is_quiescent() {
            self.record.steps += 1;
            if self.record.steps > MAX_STEPS {
                self.report(format!(
                    "the world does not become quiescent within {MAX_STEPS} steps"
                ));
                break;
            }
            self.step().await;
        }
        if self.record.violations.is_empty() {
            self.check_quiescence();
        }
        if self.record.violations.is_empty() && is_replayed(self.plan.seed) {
            self.replay_everything().await;
        }
    }

    /// Creates the users and items, and plans the actions of all actors.
    async fn begin(&mut self) {
        let items: Vec<(String, i64, i64)> = self
            .actors
            .skus
            .iter()
            .map(|sku| {
                (
                    sku.clone(),
                    self.rng.between(1, 50) * 100,
                    self.rng.between(0, 25),
                )
            })
            .collect();
        self.pending.open();
        self.system.seed(&self.actors.users, &items).await;
        for ((sku, amount, _), currency) in items.iter().zip(&self.actors.currencies) {
            if *currency != CURRENCY {
                self.system.reprice(sku, *amount, currency).await;
            }
        }
        self.pending.close();
        let of_items = items.iter().map(|(sku, ..)| {
            let table = self.system.tables.inventory.clone();
            (table, format!("ITEM#{sku}"), "ITEM".to_owned())
        });
        let of_users = self.actors.users.iter().map(|user| {
            let table = self.system.tables.users.clone();
            (table, format!("USER#{user}"), "USER".to_owned())
        });
        let keys: Vec<_> = of_items.chain(of_users).collect();
        for key in &keys {
            self.observe(key);
        }
        // Customers cancel early in half of the worlds, else at any time.
        let soon = self.rng.chance(500);
        for number in 0..self.plan.orders {
            let client = self.client(number, &items, soon);
            self.actors.clients.push(client);
        }
        self.plan_admin_tasks();
        let mut profile = lock_profile(&self.profile);
        if profile.occurs(FaultKind::Poison) {
            for _ in 0..profile.rng(FaultKind::Poison).between(1, 4) {
                let at = profile
                    .rng(FaultKind::Poison)
                    .between(0, self.faults_until / 2);
                self.poison.at.push(at);
            }
        }
    }
}
