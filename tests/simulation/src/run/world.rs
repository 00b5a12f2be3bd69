//! The state of a world.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use aws_lambda_events::event::sqs::SqsBatchResponse;
use shared_lambda::http::Response;
use test_support::Call;
use uuid::Uuid;

use super::actors::{AdminTask, Client};
use super::outage::{Outage, outage, provider_gone};
use super::plan::Plan;
use crate::clock::{Millis, timestamp};
use crate::fault_profile::{FaultProfile, Rng, SharedProfile, lock_profile};
use crate::history::History;
use crate::invariants::{Ledger, Violation};
use crate::network::Network;
use crate::pending_calls::{PendingCalls, ProcessId};
use crate::system::System;
use crate::template_config;

/// A world that takes more steps does not become quiescent. The longest of thousands took 11,269.
pub(super) const MAX_STEPS: u64 = 60_000;

/// The period in which faults occur, in milliseconds.
pub(super) const FAULTS_LAST: (Millis, Millis) = (5_000, 1_500_000);

/// Every order ends within this time after the last fault. A compensation that was parked just
/// before waits for an hour.
pub(super) const PATIENCE: Millis = 3 * 3_600_000;

/// The currency of all items, and of one item in some worlds.
pub(super) const CURRENCY: &str = "USD";
pub(super) const FOREIGN: &str = "EUR";

pub(super) type Running = Pin<Box<dyn Future<Output = Option<Finished>>>>;

pub(super) struct Process {
    pub(super) name: &'static str,
    pub(super) future: Running,
    /// The time at which the function's timeout ends it.
    pub(super) ends_at: Millis,
    /// The request or messages it works on.
    pub(super) job: Job,
    /// The count of faults when it began.
    pub(super) failures_before: u64,
    /// The messages it carried out, by envelope id, and the messages each sent.
    pub(super) done: Vec<(Uuid, Vec<String>)>,
}

#[derive(Clone, Debug)]
pub(super) enum Job {
    Place { client: usize },
    Cancel { client: usize },
    Batch { copies: Vec<u64> },
    Sweep,
    Operate,
    Admin(usize),
}

pub(super) enum Finished {
    Answered(Response),
    Handled(SqsBatchResponse),
    Done(Result<(), String>),
}

/// A request that takes effect after its sender gave up.
pub(super) struct Late {
    pub(super) sent: Millis,
    pub(super) at: Millis,
    pub(super) call: Call,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) pending: PendingCalls,
    pub(super) profile: SharedProfile,
    pub(super) rng: Rng,
    pub(super) system: Rc<System>,
    pub(super) network: Network,
    pub(super) ledger: Ledger,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    pub(super) started: ProcessId,
    pub(super) actors: Actors,
    pub(super) late: Vec<Late>,
    pub(super) next_sweep: Millis,
    pub(super) next_redrive: Millis,
    pub(super) poison: Poison,
    /// The answers that contradict an abandoned step, as the operator saw them.
    pub(super) contradictions: BTreeSet<(String, String)>,
    pub(super) statuses: History<String>,
    pub(super) faults_until: Millis,
    pub(super) outage: Option<Outage>,
    pub(super) record: Record,
}

/// The actors and what they act on.
pub(super) struct Actors {
    pub(super) users: Vec<Uuid>,
    pub(super) skus: Vec<String>,
    pub(super) currencies: Vec<&'static str>,
    pub(super) clients: Vec<Client>,
    pub(super) tasks: Vec<AdminTask>,
}

/// Messages that no handler can parse.
#[derive(Default)]
pub(super) struct Poison {
    pub(super) at: Vec<Millis>,
    pub(super) sent: usize,
    /// The poison found in dead-letter queues.
    pub(super) found: usize,
}

#[derive(Default)]
pub(super) struct Record {
    pub(super) calls: u64,
    pub(super) replayed: u64,
    pub(super) steps: u64,
    pub(super) hash: u64,
    pub(super) trace: String,
    pub(super) violations: Vec<Violation>,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let pending = PendingCalls::default();
        let shared = Arc::new(Mutex::new(FaultProfile::new(plan.seed, &plan.without)));
        let system = Rc::new(System::new(plan.seed, &pending, &shared));
        let mut rng = Rng::new(plan.seed, 1);
        let id = |rng: &mut Rng| {
            let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
            uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
        };
        let users: Vec<Uuid> = (0..rng.between(1, 3)).map(|_| id(&mut rng)).collect();
        let skus: Vec<String> = (0..rng.between(1, 3))
            .map(|number| format!("SKU-{number}"))
            .collect();
        let mut currencies = vec![CURRENCY; skus.len()];
        // A separate generator: other worlds stay the same.
        if skus.len() > 1 && Rng::new(plan.seed, 2).chance(300) {
            currencies[skus.len() - 1] = FOREIGN;
        }
        let faults_until = match rng.below(3) {
            0 => FAULTS_LAST.0,
            1 => rng.between(FAULTS_LAST.0, 120_000),
            _ => rng.between(FAULTS_LAST.0, FAULTS_LAST.1),
        };
        let outage = outage(&mut lock_profile(&shared), faults_until);
        let over = outage.as_ref().map_or(0, |outage| outage.until);
        let back = provider_gone(&mut lock_profile(&shared), faults_until);
        let faults_until = faults_until.max(over).max(back);
        Self {
            plan: plan.clone(),
            pending,
            profile: shared,
            rng,
            system,
            network: Network::default(),
            ledger: Ledger::observing_every_write(),
            processes: BTreeMap::new(),
            started: 0,
            actors: Actors {
                users,
                skus,
                currencies,
                clients: Vec::new(),
                tasks: Vec::new(),
            },
            late: Vec::new(),
            next_sweep: template_config::sweep_every(),
            next_redrive: 0,
            poison: Poison::default(),
            contradictions: BTreeSet::new(),
            statuses: History::default(),
            faults_until,
            outage,
            record: Record {
                hash: 0xcbf2_9ce4_8422_2325,
                ..Record::default()
            },
        }
    }

    pub(super) fn now(&self) -> Millis {
        self.system.clock.now()
    }

    pub(super) fn is_quiescent(&self) -> bool {
        self.processes.is_empty()
            && self.network.is_empty()
            && self.late.is_empty()
            && lock_profile(&self.profile).is_over()
            && !self.network.has_dead()
            && self.actors.clients.iter().all(|client| client.is_done())
            && self.actors.tasks.iter().all(|task| task.at.is_none())
            && self.ledger.orders().all(|(_, order)| order.is_terminal())
    }

    pub(super) fn again_later(&mut self, set: impl FnOnce(&mut Self, Millis)) {
        let wait = *self.rng.pick(&[200, 1_000, 5_000, 30_000]);
        let at = self.now() + wait;
        set(self, at);
    }

    /// Adds an event to the hash, and to the trace if it is kept.
    pub(super) fn log(&mut self, what: &str, details: &std::fmt::Arguments<'_>) {
        let now = self.now();
        let mut hasher = Fnv(self.record.hash);
        let _ = write!(hasher, "{now} {what} {details}");
        self.record.hash = hasher.0;
        if self.plan.traced {
            let _ = writeln!(self.record.trace, "{} {what:12} {details}", timestamp(now));
        }
    }

    pub(super) fn report(&mut self, violation: Violation) {
        self.log("WRONG", &format_args!("{violation}"));
        self.record.violations.push(violation);
    }
}

/// Fowler-Noll-Vo 1a, 64 bits.
struct Fnv(u64);

impl std::fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
