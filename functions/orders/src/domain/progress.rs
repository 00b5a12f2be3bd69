//! How an order is carried on: what it owes, and how its attempts, times and timeline change.
//!
//! What an order still owes its participants is a function of its state alone ([`owed`]), which is
//! why there is no outbox: whoever comes upon an order can send what it owes again.

use jiff::{SignedDuration, Timestamp};

use super::faults::Fault;
use super::order::{Draft, Failure, Order};
use super::state::{Ending, State};
use super::step::Command;
use super::timeline::{Entry, TimelineEvent};
use super::values::{MAX_CODE, MAX_DETAIL, bounded};

/// How often a step is asked for before a forward step is given up and a compensation parked.
pub const MAX_ATTEMPTS: u32 = 5;

/// How often a parked compensation is asked for again.
pub const PARKED_RETRY: SignedDuration = SignedDuration::from_hours(1);

/// The timeline stops listing a step's attempts here; a parked order must not grow without bound.
const MAX_LISTED_ATTEMPTS: u32 = 20;

/// From this length on the timeline no longer lists what can happen again and again: attempts, further
/// retries that an operator asks for, being parked once more. The order's item would otherwise grow,
/// retry by retry, to the 400 KB at which nothing about it can be written any more.
pub const MAX_TIMELINE: usize = 200;

/// How long a step may take before it is asked for again; each further wait is twice as long.
#[derive(Clone, Copy, Debug)]
pub struct StepTimeout(pub SignedDuration);

impl StepTimeout {
    pub(super) fn after(self, attempt: u32) -> SignedDuration {
        self.0
            .saturating_mul(1 << attempt.saturating_sub(1).min(16))
    }
}

/// A new order. `verified` says whether users has already been asked and agreed.
pub fn place(draft: Draft, verified: bool, timeout: StepTimeout, now: Timestamp) -> Order {
    let mut order = Order {
        id: draft.id,
        user_id: draft.user_id,
        lines: draft.lines,
        payment_method: draft.payment_method,
        expected_total: draft.expected_total,
        fingerprint: draft.fingerprint,
        faults: draft.faults,
        total: None,
        state: State::Verifying,
        failure: None,
        attempt: 0,
        due_at: None,
        parked: false,
        timeline: Vec::new(),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    order.note(now, TimelineEvent::OrderPlaced, None);
    if let Some(faults) = &order.faults {
        let faults = faults.to_string();
        order.note(now, TimelineEvent::FaultsInjected, Some(&faults));
    }
    if verified {
        order.note(now, TimelineEvent::UserVerified, None);
        order.forward(State::Reserving, timeout, now);
    } else {
        order.forward(State::Verifying, timeout, now);
    }
    order
}

/// What the order's state obliges it to ask for, over and over until the answer comes.
pub fn owed(order: &Order) -> Option<Command> {
    let command = order.state.command()?;
    // An order reaches Charging only by way of its total.
    let is_known = command != Command::ChargePayment || order.total.is_some();
    is_known.then_some(command)
}

/// How the command that the order owes now is to go wrong. Like the command itself it follows from
/// the order alone, so that whoever sends it again sends the same.
pub fn owed_fault(order: &Order) -> Option<Fault> {
    let faults = order.faults.as_ref()?;
    let fault = faults.fault_of(owed(order)?)?;
    let lasts = match fault {
        Fault::Fail | Fault::Timeout | Fault::LostReply => true,
        Fault::FailOnce | Fault::TimeoutOnce | Fault::LostReplyOnce => order.attempt == 1,
    };
    (lasts && !is_mended(order)).then_some(fault)
}

/// An operator who has a step tried again has mended what was wrong, as far as the rehearsal goes:
/// otherwise no order could be got past a fault that lasts.
fn is_mended(order: &Order) -> bool {
    let mut happened = order.timeline.iter().map(|entry| entry.what);
    happened.any(|what| what == TimelineEvent::RetryRequested)
}

impl Order {
    pub(super) fn note(&mut self, at: Timestamp, what: TimelineEvent, detail: Option<&str>) {
        self.timeline.push(Entry {
            at,
            what,
            attempt: None,
            detail: detail.map(|detail| bounded(detail, MAX_DETAIL)),
        });
    }

    /// For what can happen any number of times: the first is always told.
    pub(super) fn note_if_room(&mut self, at: Timestamp, what: TimelineEvent, detail: &str) {
        let is_first = self.timeline.iter().all(|entry| entry.what != what);
        if is_first || self.timeline.len() < MAX_TIMELINE {
            self.note(at, what, Some(detail));
        }
    }

    fn note_attempt(&mut self, at: Timestamp) {
        let Some(command) = self.state.command() else {
            return;
        };
        if self.attempt <= MAX_LISTED_ATTEMPTS && self.timeline.len() < MAX_TIMELINE {
            self.timeline.push(Entry {
                at,
                what: command.action().requested,
                attempt: Some(self.attempt),
                detail: None,
            });
        }
    }

    pub(super) fn fail(&mut self, code: &str, detail: &str) {
        self.failure = Some(Failure {
            code: bounded(code, MAX_CODE),
            detail: bounded(detail, MAX_DETAIL),
        });
    }

    pub(super) fn give_up(&mut self, command: Command, now: Timestamp) {
        let detail = format!(
            "no answer about {} after {} attempts",
            command.step().awaits,
            self.attempt
        );
        self.note(now, TimelineEvent::StepTimedOut, Some(&detail));
        self.fail("timed_out", &detail);
    }

    /// To the next step on the way to Confirmed. `due_at` stays as it is unless that would be too
    /// late: it counts from the placing, and the order that goes well then writes its index entry
    /// once and removes it once.
    pub(super) fn forward(&mut self, state: State, timeout: StepTimeout, now: Timestamp) {
        let latest = now + timeout.after(1);
        self.state = state;
        self.attempt = 1;
        self.due_at = Some(self.due_at.map_or(latest, |due_at| due_at.min(latest)));
        self.note_attempt(now);
    }

    /// To a step on the way back, with its full time.
    pub(super) fn compensate(&mut self, state: State, timeout: StepTimeout, now: Timestamp) {
        self.state = state;
        self.start_over(timeout, now);
    }

    /// The present step's first attempt.
    pub(super) fn start_over(&mut self, timeout: StepTimeout, now: Timestamp) {
        self.attempt = 1;
        self.parked = false;
        self.due_at = Some(now + timeout.after(1));
        self.note_attempt(now);
    }

    pub(super) fn ask_again(&mut self, timeout: StepTimeout, now: Timestamp) {
        self.attempt = self.attempt.saturating_add(1);
        let pause = if self.parked {
            PARKED_RETRY
        } else {
            timeout.after(self.attempt)
        };
        self.due_at = Some(now + pause);
        self.note_attempt(now);
    }

    pub(super) fn end(&mut self, ending: Ending, now: Timestamp) {
        let (state, what) = match ending {
            Ending::Rejected => (State::Rejected, TimelineEvent::OrderRejected),
            Ending::Cancelled => (State::Cancelled, TimelineEvent::OrderCancelled),
        };
        self.state = state;
        self.note(now, what, None);
        self.rest();
    }

    pub(super) fn rest(&mut self) {
        self.attempt = 0;
        self.parked = false;
        self.due_at = None;
    }
}
