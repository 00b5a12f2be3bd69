//! A world: what there is in it at any moment.

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

use super::actors::{Chore, Client};
use super::outage::{Outage, outage, provider_gone};
use super::plan::Plan;
use crate::books::{Books, Violation};
use crate::chance::{Dice, SharedWeather, Weather, weather};
use crate::clock::{Millis, timestamp};
use crate::gate::{Gate, ProcessId};
use crate::network::Network;
use crate::permissions::Standings;
use crate::system::System;
use crate::template_config;

/// A world comes to rest or something is wrong with it. The longest of thousands took 11,269.
pub(super) const MAX_STEPS: u64 = 60_000;

/// For how long trouble lasts at most.
pub(super) const TROUBLED: (Millis, Millis) = (5_000, 1_500_000);

/// After the trouble every order ends within this: the longest compensation that was parked just
/// before waits for an hour.
pub(super) const PATIENCE: Millis = 3 * 3_600_000;

/// What things are priced in, and one thing in some worlds.
pub(super) const CURRENCY: &str = "USD";
pub(super) const FOREIGN: &str = "EUR";

pub(super) type Running = Pin<Box<dyn Future<Output = Option<Finished>>>>;

pub(super) struct Process {
    pub(super) name: &'static str,
    pub(super) future: Running,
    /// When its function's timeout ends it.
    pub(super) ends_at: Millis,
    /// Whom the answer is for, and what comes back to a queue if there is none.
    pub(super) job: Job,
    /// What had gone wrong in the world when it began.
    pub(super) failures_before: u64,
    /// The messages it has carried out, by their envelopes' ids, and what each led to.
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

/// A request that its sender gave up and that is still on its way.
pub(super) struct Late {
    pub(super) sent: Millis,
    pub(super) at: Millis,
    pub(super) call: Call,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) gate: Gate,
    pub(super) weather: SharedWeather,
    pub(super) dice: Dice,
    pub(super) system: Rc<System>,
    pub(super) network: Network,
    pub(super) books: Books,
    pub(super) processes: BTreeMap<ProcessId, Process>,
    pub(super) started: ProcessId,
    pub(super) people: People,
    pub(super) late: Vec<Late>,
    pub(super) next_sweep: Millis,
    pub(super) next_redrive: Millis,
    pub(super) poison: Poison,
    /// The orders, and the answers, that told an operator of what was done after its undoing had been
    /// abandoned.
    pub(super) news: BTreeSet<(String, String)>,
    /// Which standings the users have had.
    pub(super) standings: Standings,
    pub(super) troubled_until: Millis,
    pub(super) outage: Option<Outage>,
    pub(super) record: Record,
}

/// Who and what there is.
pub(super) struct People {
    pub(super) users: Vec<Uuid>,
    pub(super) skus: Vec<String>,
    /// What each sku is priced in.
    pub(super) currencies: Vec<&'static str>,
    pub(super) clients: Vec<Client>,
    pub(super) chores: Vec<Chore>,
}

/// Messages that nobody can understand.
#[derive(Default)]
pub(super) struct Poison {
    pub(super) at: Vec<Millis>,
    pub(super) sent: usize,
    /// What an operator has seen of it in a dead-letter queue.
    pub(super) found: usize,
}

/// What happened.
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
        let gate = Gate::default();
        let shared = Arc::new(Mutex::new(Weather::new(plan.seed, &plan.without)));
        let system = Rc::new(System::new(plan.seed, &gate, &shared));
        let mut dice = Dice::new(plan.seed, 1);
        let id = |dice: &mut Dice| {
            let bits = u128::from(dice.roll()) << 64 | u128::from(dice.roll());
            uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
        };
        let users: Vec<Uuid> = (0..dice.between(1, 3)).map(|_| id(&mut dice)).collect();
        let skus: Vec<String> = (0..dice.between(1, 3))
            .map(|number| format!("SKU-{number}"))
            .collect();
        let mut currencies = vec![CURRENCY; skus.len()];
        // Dice of its own: the other worlds stay what they were.
        if skus.len() > 1 && Dice::new(plan.seed, 2).hits(300) {
            currencies[skus.len() - 1] = FOREIGN;
        }
        let troubled_until = match dice.below(3) {
            0 => TROUBLED.0,
            1 => dice.between(TROUBLED.0, 120_000),
            _ => dice.between(TROUBLED.0, TROUBLED.1),
        };
        let outage = outage(&mut weather(&shared), troubled_until);
        let over = outage.as_ref().map_or(0, |outage| outage.until);
        let back = provider_gone(&mut weather(&shared), troubled_until);
        let troubled_until = troubled_until.max(over).max(back);
        Self {
            plan: plan.clone(),
            gate,
            weather: shared,
            dice,
            system,
            network: Network::default(),
            books: Books::of_every_write(),
            processes: BTreeMap::new(),
            started: 0,
            people: People {
                users,
                skus,
                currencies,
                clients: Vec::new(),
                chores: Vec::new(),
            },
            late: Vec::new(),
            next_sweep: template_config::sweep_every(),
            next_redrive: 0,
            poison: Poison::default(),
            news: BTreeSet::new(),
            standings: Standings::default(),
            troubled_until,
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

    pub(super) fn is_at_rest(&self) -> bool {
        self.processes.is_empty()
            && self.network.is_empty()
            && self.late.is_empty()
            && weather(&self.weather).is_over()
            && !self.network.has_dead()
            && self.people.clients.iter().all(|client| client.is_done())
            && self.people.chores.iter().all(|chore| chore.at.is_none())
            && self.books.orders().all(|(_, order)| order.is_terminal())
    }

    pub(super) fn again_later(&mut self, set: impl FnOnce(&mut Self, Millis)) {
        let wait = *self.dice.pick(&[200, 1_000, 5_000, 30_000]);
        let at = self.now() + wait;
        set(self, at);
    }

    /// Writes down what happens: into the hash always, as text where somebody wants to read it.
    pub(super) fn note(&mut self, what: &str, details: &std::fmt::Arguments<'_>) {
        let now = self.now();
        let mut hasher = Fnv(self.record.hash);
        let _ = write!(hasher, "{now} {what} {details}");
        self.record.hash = hasher.0;
        if self.plan.traced {
            let _ = writeln!(self.record.trace, "{} {what:12} {details}", timestamp(now));
        }
    }

    pub(super) fn wrong(&mut self, violation: Violation) {
        self.note("WRONG", &format_args!("{violation}"));
        self.record.violations.push(violation);
    }
}

/// Fowler-Noll-Vo 1a, 64 bits: enough to tell two traces apart.
struct Fnv(u64);

impl std::fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
